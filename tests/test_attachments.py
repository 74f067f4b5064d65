"""What is taken for the binaries' own, and what a result of ADD promises."""

from __future__ import annotations

import json

import pytest

from emulator.attachments import broken, left
from emulator.conflist import results
from emulator.degrade import degraded, mended
from emulator.faults import Fault
from emulator.plan import Plan
from emulator.plan.plan import Entry
from emulator.plan.resources import (
    Addr,
    Attachment,
    Bridge,
    Interface,
    Netns,
    Resource,
    Route,
    Sysctl,
    Veth,
    veth,
)

BRIDGE = Bridge("n1", "cni0")
PAIR = veth("n1", "veth1", "n1-p1", "eth0")
NEAR = Interface("n1", "veth1", True, 1500, "02:00:00:00:00:01", "cni0")
ETH0 = Interface("n1-p1", "eth0", True, 1400, "02:00:00:00:00:02")
ADDRESS = Addr("n1-p1", "eth0", "10.1.0.2/24")
WAY = Route("n1-p1", "default", "10.1.0.1", "eth0")
OTHER = Interface("n1", "eth0", True, 1500)
THEIRS: tuple[Resource, ...] = (BRIDGE, PAIR, NEAR, ETH0, ADDRESS, WAY)


def state(*resources: Resource) -> dict[tuple[str, str, str], Resource]:
    return {r.key: r for r in resources}


def test_what_appears_or_changes_is_theirs_and_nothing_else() -> None:
    sysctl, netns = Sysctl("n1", "net/ipv4/ip_forward", "1"), Netns("n1-p1")
    lower = OTHER._replace(mtu=1400)
    found = left({}, state(OTHER), state(lower, sysctl, netns, *THEIRS))
    assert found == state(lower, *THEIRS)
    assert left({}, state(OTHER), state(OTHER)) == {}


def test_what_they_take_back_is_theirs_no_more() -> None:
    before = state(OTHER, *THEIRS)
    assert left(state(*THEIRS), before, state(OTHER, BRIDGE), {"n1-p1"}) == state(BRIDGE)


def test_what_somebody_else_has_removed_is_still_expected() -> None:
    known = state(*THEIRS)
    now = state(OTHER, BRIDGE, PAIR, NEAR, ETH0)
    assert left(known, now, now) == known


def test_what_somebody_else_has_removed_of_a_pod_that_goes_is_forgotten() -> None:
    known = state(*THEIRS)
    now = state(OTHER, BRIDGE)
    assert left(known, now, now, {"n1-p1"}) == state(BRIDGE)


A = Attachment("n1", "n1-p1", "eth0", "net", "{}", (), (), "{}", 30)
RESULT = {
    "cniVersion": "1.1.0",
    "interfaces": [
        {"name": "cni0"},
        {"name": "eth0", "mac": ETH0.mac, "mtu": 1400, "sandbox": "/run/netns/n1-p1"},
    ],
    "ips": [{"address": "10.1.0.2/24", "interface": 1}],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "0.0.0.0/0"}],
}
CNI0 = Interface("n1", "cni0", True, 1500)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ((CNI0, ETH0, ADDRESS, WAY), []),
        ((ETH0, ADDRESS, WAY), ["the interface cni0 in n1"]),
        ((CNI0, ETH0._replace(mac="02:00:00:00:00:09"), ADDRESS, WAY), ["mac 02:00:00:00:00:02"]),
        ((CNI0, ETH0._replace(mtu=1500), ADDRESS, WAY), ["mtu 1400"]),
        ((CNI0, ETH0, WAY), ["n1-p1 addr eth0 10.1.0.2/24"]),
        ((CNI0, ETH0, ADDRESS), ["the route default via 10.1.0.1", "the route default in"]),
        ((CNI0, ETH0, ADDRESS, WAY._replace(via="10.1.0.9")), ["the route default via 10.1.0.1"]),
    ],
)
def test_every_promise_of_a_result_is_looked_for(
    there: tuple[Resource, ...], words: list[str]
) -> None:
    found = results.result(json.dumps(RESULT).encode(), "1.1.0")
    said = list(broken(A, found, state(*there)))
    assert len(said) == len(words)
    assert all(word in one for word, one in zip(words, said, strict=True))


def whole() -> Plan:
    plan = Plan()
    plan.add([Netns("n1"), Netns("n1-p1")], "ours")
    for r in THEIRS:
        plan.keep(Entry(r, "expected", "left"))
    return plan


def test_a_fault_takes_theirs_down_and_healing_gives_it_back() -> None:
    plan = whole()
    cut = degraded(plan, [Fault("interface", "n1-p1:eth0")], {"n1-p1": ("eth0",)}, {})
    down = cut.entries[ETH0.key]
    assert (down.resource, down.owner) == (ETH0._replace(up=False), "applied")
    assert WAY.key not in cut.entries  # the kernel forgets it
    healed = mended(plan, cut)
    ours = {key for key, entry in healed.entries.items() if entry.owner == "applied"}
    assert ours - {("n1", "netns", ""), ("n1-p1", "netns", "")} == {ETH0.key, WAY.key}


def test_a_route_of_scope_host_outlives_its_interface() -> None:
    plan = whole()
    # what ptp writes on a node
    kept = Route("n1", "10.1.0.2/32", "", "veth1", scope="host")
    lost = Route("n1", "10.1.0.3/32", "", "veth1", scope="link")
    plan.add([kept, lost], "left", "expected")
    cut = degraded(plan, [Fault("link", "n1-p1")], {"n1-p1": ("eth0",)}, {})
    assert kept.key in cut.entries and lost.key not in cut.entries


def test_a_pod_that_hangs_by_no_pair_has_no_cable_to_cut() -> None:
    plan = Plan()
    plan.add([Netns("n1-p1"), ETH0], "left", "expected")
    cut = degraded(plan, [Fault("link", "n1-p1")], {"n1-p1": ("eth0",)}, {})
    assert cut.entries == plan.entries


def test_a_pair_is_claimed_by_either_end() -> None:
    plan = whole()
    assert plan.claims(Veth("n1", "veth9", "n1-p1", "eth0"))
    assert not plan.claims(Veth("n1", "veth9", "n1-p2", "eth0"))
