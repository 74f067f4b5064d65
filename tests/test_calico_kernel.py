"""Calico for real: BIRD on the nodes, its neighbours changed, killed and healed; and VXLAN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from callers import ROOT
from small_specs import small_spec
from waiting import until

from emulator import Cluster
from emulator.errors import Unsupported
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec

pytestmark = pytest.mark.kernel

SEES = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7777))
s.settimeout(20)
print(s.recvfrom(9)[1][0])
"""
SAYS = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 0))
s.sendto(b"x", (sys.argv[2], 7777))
"""


def calico(backend: str, nodes: int = 3, families: str = "4", **more: Any) -> ResolvedSpec:
    """On one segment, with a router beside it; daemons whose death is noticed within seconds."""
    times = {"gracefulRestartTime": 2, "gracefulRestartWait": 3, "connectRetryTime": 1}
    options = times | more if backend == "bgp" else more
    racks = ("rack-a",) * nodes
    return small_spec("calico", backend, nodes=racks, pods_per_node=1, families=families, **options)


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))


@pytest.fixture
def lab() -> Iterator[Cluster]:
    with Cluster(calico("bgp"), "calico") as cluster:
        yield cluster


def pids(cluster: Cluster) -> dict[str, int]:
    return {state.ns: state.pid for state in cluster.facts().processes}


def reached(cluster: Cluster) -> bool:
    """Whether every pod reaches every pod, all being as predicted."""
    report = cluster.verify(wait_s=60)
    found = [*report.deviations, *report.differences]
    assert not found, f"under {cluster.facts().faults}:\n" + "\n".join(found)
    return next(s.holds for s in report.statements if s.number == "M3")


def test_bird_hears_of_a_node_more_is_killed_and_comes_back(lab: Cluster) -> None:
    assert reached(lab)
    before = pids(lab)
    lab.apply(calico("bgp", 4))
    assert reached(lab)
    assert before.items() <= pids(lab).items()
    lab.fail("daemon", "n2:bird")
    assert not reached(lab)
    lab.heal()
    assert reached(lab)
    was = pids(lab)["n1"]
    lab.node("n1").run(["sh", "-c", f"kill -9 {was}"])
    until(lambda: pids(lab).get("n1") not in (0, was), "a new BIRD")
    report = lab.verify(probes=False, wait_s=60)
    assert report.notes == ("n1:bird: running, after 1 restart (last killed by signal 9)",)
    assert reached(lab)


def test_reflectors_then_vxlan_then_the_mesh(lab: Cluster) -> None:
    lab.apply(calico("bgp", 3, nodeToNodeMeshEnabled=False, routeReflectors=["n1"]))
    assert reached(lab)
    lab.apply(calico("vxlan"))
    assert reached(lab)
    assert not lab.facts().processes
    at, sees = lab.addressing, lab.pod("n2-p1").start(["python3", "-c", SEES])
    words = ["python3", "-c", SAYS, at.node["n1"], at.pod["n2-p1"]]

    def heard() -> bool:
        lab.node("n1").run(words)
        return sees.poll() is not None

    until(heard, "the pod to hear of the node")
    seen = sees.wait(1).stdout.decode().strip()
    assert seen == at.tunnel["n1"], "masqueraded: it is not the uplink's address"
    lab.apply(calico("bgp"))
    assert reached(lab)


def test_what_is_borrowed_from_a_reflector_takes_a_hop_more() -> None:
    """n3 has no block: its pods have addresses of n1's and n2's. n1, the reflector, tells n2
    nothing of those that are its own."""
    spec = small_spec(
        "calico", "bgp", nodes=("rack-a",) * 3, pods_per_node=5, blockSize=30,
        nodeToNodeMeshEnabled=False, routeReflectors=["n1"], connectRetryTime=1,
    )._replace(pod_cidrs=("10.244.0.0/28",))  # fmt: skip
    with Cluster(spec, "borrowed") as cluster:
        assert len(cluster.addressing.borrowed) == 5
        assert reached(cluster)


def test_one_family_is_lost_with_its_daemon_and_the_other_stays() -> None:
    def held(cluster: Cluster) -> dict[str, bool]:
        report = cluster.verify(wait_s=60)
        assert report.good, [*report.deviations, *report.differences]
        return {s.text[-5:-1]: s.holds for s in report.statements if s.number == "M3"}

    with Cluster(calico("bgp", families="46"), "calico-both") as cluster:
        assert held(cluster) == {"IPv4": True, "IPv6": True}
        cluster.fail("daemon", "n2:bird6")
        assert held(cluster) == {"IPv4": True, "IPv6": False}
        cluster.heal()
        cluster.fail("daemon", "n1:bird")
        assert held(cluster) == {"IPv4": False, "IPv6": True}
        cluster.heal()
        cluster.apply(calico("vxlan", families="46"))
        assert held(cluster) == {"IPv4": True, "IPv6": True}
        pod, (four, six) = cluster.pod("n1-p1"), cluster.pod("n2-p1").ips
        for address, header_b in ((four, 28), (six, 48)):
            argv = ["ping", "-c1", "-W1", "-M", "do", "-s", str(1430 - header_b), address]
            assert pod.run(argv).returncode == 0, "what pods may send passes both tunnels"
        cluster.fail("interface", "n1:vxlan-v6.calico")
        assert held(cluster) == {"IPv4": True, "IPv6": False}


def test_the_routers_of_two_racks() -> None:
    spec = load(ROOT / "topologies" / "calico-tor.yaml")
    with Cluster(spec, "calico-tor") as lab:
        assert reached(lab)
        lab.fail("daemon", "tor-a:bird")
        assert not reached(lab)
        lab.heal()
        assert reached(lab)


def test_behind_a_router_that_speaks_no_bgp() -> None:
    spec = calico("bgp", 1)
    far = spec.nodes[0]._replace(name="n2", segment="rack-b")
    pod = spec.pods[0]._replace(name="n2-p1", node="n2")
    spec = spec._replace(nodes=(*spec.nodes, far), pods=(*spec.pods, pod))
    with Cluster(spec, "calico-far") as lab:
        assert not reached(lab)


def test_bird_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("emulator.doctor.installed", lambda tool: "")
    with pytest.raises(Unsupported, match=r"bird: found not installed(.|\n)*bird2"):
        Cluster(calico("bgp"), "lacking").up()
