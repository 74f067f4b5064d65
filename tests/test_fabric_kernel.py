"""Fabrics for real: flows on equal paths, cables cut, daemons dead; after each step verify."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from callers import ROOT
from waiting import until

from emulator import Cluster, topo
from emulator.place import Place
from emulator.spec import load, load_text
from emulator.spec.resolved import Bfd, Bgp, ResolvedSpec

pytestmark = pytest.mark.kernel

TWO_GATEWAYS = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: two-gateways}
spec:
  network: {plugin: flannel}
  underlay:
    routing: bgp
    segments:
      rack-a: {cidr: 192.168.1.0/24}
      middle: {cidr: 192.168.2.0/24}
      rack-b: {cidr: 192.168.3.0/24}
    routers:
      one: {segments: [rack-a, middle]}
      two: {segments: [rack-a, middle]}
      far: {segments: [middle, rack-b]}
  nodes: {count: 2, spread: [rack-a, rack-b]}
  pods: {perNode: 1}
"""


def topology(name: str) -> ResolvedSpec:
    return load(ROOT / "topologies" / f"{name}.yaml", topo=topo.read)


@pytest.fixture
def up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[ResolvedSpec], Cluster]]:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with ExitStack() as stack:
        yield lambda spec: stack.enter_context(Cluster(spec, spec.name))


def reached(cluster: Cluster) -> bool:
    """Whether every pod reaches every pod, all being as predicted."""
    report = cluster.verify()
    found = [*report.deviations, *report.differences, *report.processes]
    assert report.good, f"under {cluster.facts().faults}:\n" + "\n".join(found)
    return all(s.holds for s in report.statements if s.number == "M3")


def sessions(router: Place) -> dict[str, str]:
    """What BIRD says of each session of BGP: ``Established``, or how far it is and why it ended."""
    rows = (row.split(maxsplit=5) for row in birdc(router, "show", "protocols"))
    return {row[0]: row[5].strip() for row in rows if row[1] == "BGP" and len(row) == 6}


def watched(router: Place) -> dict[str, tuple[str, str]]:
    """By neighbour, the state of the session of BFD, and the seconds until silence is an end."""
    rows = (row.split() for row in birdc(router, "show", "bfd", "sessions"))
    return {row[0]: (row[2], row[5]) for row in rows if len(row) == 6 and row[1] == "eth0"}


def birdc(router: Place, *words: str) -> list[str]:
    done = router.run(["birdc", *words], timeout_s=5.0)
    return [row for row in done.stdout.decode().splitlines()[1:] if row]


def ended(router: Place, session: str) -> str:
    """Why it has ended; empty while it has not."""
    return sessions(router)[session].partition("Error: ")[2].strip()


def test_static_routes_spread_flows_and_do_not_turn_away(
    up: Callable[[ResolvedSpec], Cluster],
) -> None:
    lab = up(topology("leaf-spine"))
    leaf = lab.place("leaf1")
    before = [leaf.counters(f"eth{i}")["tx_packets"] for i in (1, 2)]
    assert reached(lab)
    spread = [
        leaf.counters(f"eth{i}")["tx_packets"] - n for i, n in zip((1, 2), before, strict=True)
    ]
    assert all(spread), spread
    for kind in ("link", "interface"):
        lab.fail(kind, "spine1:eth0")
        reached(lab)  # or not: the hash of each flow decides
        lab.heal()
        assert reached(lab)
    lab.fail("interface", "leaf1:eth1")
    lab.fail("link", "leaf1:eth2")
    assert not reached(lab)
    lab.heal("interface", "leaf1:eth1")
    reached(lab)
    lab.heal()
    assert reached(lab)


def test_bgp_turns_away(up: Callable[[ResolvedSpec], Cluster]) -> None:
    lab = up(topology("leaf-spine-bgp"))
    assert reached(lab)
    for kind, target in (("link", "spine1:eth0"), ("interface", "leaf2:eth1")):
        lab.fail(kind, target)
        assert reached(lab)
    lab.fail("link", "leaf1:eth2")
    assert not reached(lab)
    lab.heal()
    assert reached(lab)
    lab.fail("daemon", "spine1:bird")
    assert reached(lab)
    lab.fail("daemon", "leaf1:bird")
    assert not reached(lab)
    lab.heal()
    assert reached(lab)
    static = lab.spec._replace(routing="static")
    lab.apply(static)
    assert reached(lab)
    lab.apply(topology("leaf-spine-bgp"))
    assert reached(lab)


def test_both_families_turn_away(up: Callable[[ResolvedSpec], Cluster]) -> None:
    ranges = {
        "leaves": 2,
        "spines": 2,
        "rackCIDR": ["192.168.0.0/16", "fd00:192:168::/48"],
        "linkCIDR": ["172.16.0.0/16", "fd00:172:16::/64"],
    }
    lab = up(load(ROOT / "topologies" / "leaf-spine-bgp.yaml", {"spec.underlay.leafSpine": ranges}))
    assert reached(lab)
    lab.fail("link", "spine1:eth0")
    assert reached(lab)
    lab.fail("interface", "leaf2:eth1")
    assert reached(lab)
    lab.fail("interface", "leaf2:eth2")
    assert not reached(lab)
    lab.heal()
    assert reached(lab)


def test_bgp_finds_out_what_no_cable_tells(up: Callable[[ResolvedSpec], Cluster]) -> None:
    """Behind a switch nobody sees that a neighbour has lost its cable: the session times out, or
    BFD has missed the neighbour long before."""
    lab = up(load_text(TWO_GATEWAYS))
    far = lab.place("far")
    assert reached(lab)
    lab.fail("link", "two:eth1")
    assert until(lambda: ended(far, "two-middle"), "far gives two up", 30.0) == "Hold timer expired"
    assert reached(lab)
    lab.fail("daemon", "one:bird")
    assert not reached(lab)
    lab.heal()
    lab.apply(lab.spec._replace(bgp=Bgp(90, Bfd(180, 5))))
    within_a_second = dict.fromkeys(("192.168.2.1", "192.168.2.2"), ("Up", "0.900"))
    until(lambda: watched(far) == within_a_second, "BFD sees both gateways", 30.0)
    both = {"one-middle": "Established", "two-middle": "Established"}
    until(lambda: sessions(far) == both, "both sessions are established", 30.0)
    assert reached(lab)
    lab.fail("link", "two:eth1")
    assert until(lambda: ended(far, "two-middle"), "far gives two up", 30.0) == "BFD session down"
    assert reached(lab)
    until(lambda: watched(far)["192.168.2.1"] == ("Up", "0.900"), "BFD sees the other one", 30.0)


def test_a_tree_of_switches(up: Callable[[ResolvedSpec], Cluster]) -> None:
    lab = up(topology("tree-topo"))
    assert reached(lab)
    assert lab.inside(lambda net: net.pingAll()) == 0.0
    lab.fail("link", "s3")
    assert not reached(lab)
    lab.heal()
    assert reached(lab)
