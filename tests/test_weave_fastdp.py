"""Weave's fast datapath on Open vSwitch's datapath: state, flows, bytes, faults; and within ESP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import pytest
from callers import ROOT
from clear_text import overheard

from emulator import Cluster
from emulator.datapath import fastdp
from emulator.measure.frames import frames
from emulator.ring import peer_name
from emulator.spec import load
from emulator.substrate.generic import Generic
from emulator.substrate.inside import enter_netns, inside
from emulator.substrate.ovs import Datapath, Flow, Port

pytestmark = pytest.mark.full_kernel

WAIT_S: Final = 60.0
PLACES: Final = {"192.168.50.11": "n1", "192.168.60.11": "n2", "192.168.50.12": "n3"}
ECHO_B: Final = 84
GROUPS: Final = {"0", "2"}
"""MLD and IGMP: kernels tell multicast routers of their groups, there as everywhere."""
NUMBERS: Final = fastdp.short_numbers(peer_name(f"n{i}") for i in (1, 2, 3))
SHORT: Final = {name: NUMBERS[peer_name(name)] for name in PLACES.values()}


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Cluster]]:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(
            Cluster(load(ROOT / f"topologies/{name}.yaml"), "fastdp")
        )


def good(cluster: Cluster) -> None:
    report = cluster.verify(wait_s=WAIT_S)
    found = [*report.deviations, *report.differences, *report.processes]
    assert report.good, f"under {cluster.facts().faults}:\n" + "\n".join(found)


def test_fastdp(up: Callable[[str], Cluster], tmp_path: Path) -> None:
    cluster = up("weave")
    good(cluster)
    _flows_say_what_they_should(cluster)
    _headers_are_what_they_should(cluster, tmp_path / "tape")
    heard = overheard(cluster, "n1-p1", "n2-p1")
    assert heard.clear == heard.said and heard.kinds.keys() - GROUPS <= {"udp 6784", "tcp 6783"}
    _bytes_on_the_wire(cluster, 50)
    for fault, parted in (
        (("daemon", "n1:weaver"), True),
        (("interface", "n1:datapath"), False),
        (("interface", "n1:vxlan-6784"), True),
        (("interface", "n1:vethwe-datapath"), True),
    ):
        cluster.fail(*fault)
        assert _reaches(cluster) is not parted
        good(cluster)
        cluster.heal(*fault)
        good(cluster)


def test_fastdp_within_esp(up: Callable[[str], Cluster]) -> None:
    cluster = up("weave-encrypted")
    good(cluster)
    heard = overheard(cluster, "n1-p1", "n2-p1")
    assert heard.clear == 0 and heard.kinds.keys() - GROUPS <= {"esp", "tcp 6783"}
    _bytes_on_the_wire(cluster, 84)

    # nothing leaves in the clear where a policy is missing, and nothing such is let in
    for end in ("n1", "n2"):
        cluster.node(end).run(["ip", "xfrm", "policy", "deleteall"])
        assert not _reaches(cluster)
        cluster.node(end).run(["nft", "flush", "chain", "ip", "filter", "OUTPUT"])
        assert not _reaches(cluster)
        cluster.apply(cluster.spec)
        good(cluster)


def _reaches(cluster: Cluster) -> bool:
    """From a pod of the first node to one of the second, once flows are there."""
    return cluster.place("n1-p1").ping("n2-p1").received > 0


def _flows() -> tuple[list[Port], list[Flow]]:
    enter_netns("n1")
    datapath = Datapath(Generic(), "datapath")
    return datapath.ports(), datapath.flows()


def _flows_say_what_they_should(cluster: Cluster) -> None:
    """Sender below, receiver above, in the number of the tunnel."""
    ports, flows = inside(cluster.world, _flows)
    tunnels = {port.number for port in ports if port.name == "vxlan-6784"}
    seen = set()
    for key, actions, _ in flows:
        assert (key.tunnel is not None) == (key.in_port in tunnels)
        for to in actions:
            assert (to.tunnel is not None) == (to.port in tunnels)
            assert not (key.tunnel and to.tunnel), "nothing is passed on"
            if to.tunnel:
                src, dst = (PLACES[str(IPv4Address(one))] for one in to.tunnel[1:])
                assert src == "n1"
                assert to.tunnel.id == SHORT[src] | SHORT[dst] << 12
                seen.add(dst)
    assert seen == {"n2", "n3"}


def _headers_are_what_they_should(cluster: Cluster, tape: Path) -> None:
    """On the cable, both ways: TTL 64, DF, and the number of the tunnel in VXLAN's header."""
    speaking = cluster.place("n1-p1").start(["ping", "-i", "0.2", cluster.pod("n2-p1").ip])
    try:
        with tape.open("wb") as file:
            words = ("udp", "port", "6784", "and", "host", "192.168.60.11")
            cluster.place("n1").capture("eth0", file, count=8, words=words)
    finally:
        speaking.kill()
    seen = set()
    for frame in frames(tape.read_bytes()):
        outer, vni = frame.data[14:34], int.from_bytes(frame.data[46:49], "big")
        src, dst = (PLACES[str(IPv4Address(outer[at : at + 4]))] for at in (12, 16))
        routers = int(src != "n1")  # between the racks
        assert (outer[8], outer[6] >> 4) == (64 - routers, 4), outer.hex()
        assert vni == SHORT[src] | SHORT[dst] << 12
        seen.add(src)
    assert seen == {"n1", "n2"}


def _bytes_on_the_wire(cluster: Cluster, more_b: int) -> None:
    """So many more than an IP packet of the pod has: Ethernet 14, VXLAN 8, UDP 8, IP 20, ESP 34."""
    near, cable = cluster.place("n1"), "eth0"
    assert _reaches(cluster)
    before, count = near.counters(cable), 200
    cluster.place("n1-p1").ping("n2-p1", count=count, interval_s=0.01)
    after = near.counters(cable)
    packets = after["tx_packets"] - before["tx_packets"]
    sent = after["tx_bytes"] - before["tx_bytes"]
    # veth counts what is behind the Ethernet header; ARP of both sorts may be among them
    others = packets - count
    assert 0 <= others < count // 10
    assert 0 <= sent - count * (more_b + ECHO_B) <= others * (more_b + ECHO_B)
