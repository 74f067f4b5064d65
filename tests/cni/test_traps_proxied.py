"""One test for each mistake that is easily made where packets go through a process."""

from __future__ import annotations

from typing import Any

import pytest
from plan_parts import every
from small_plans import plan, spec

from emulator.compile import faulted
from emulator.datapath import sleeve
from emulator.faults import Fault
from emulator.ipam import allocate
from emulator.plan.resources import (
    Addr,
    Fdb,
    File,
    Interface,
    Neigh,
    Process,
    Route,
    Tun,
)


def test_udp_has_one_route_for_the_whole_network_and_no_table() -> None:
    """The node's own subnet is excepted by the longer prefix of its bridge, not by the route."""
    made = plan(backend="udp", nodes=3)
    for node in ("n1", "n2", "n3"):
        assert [r.name for r in every(made, Tun, node)] == ["flannel0"]
        (route,) = (r for r in every(made, Route, node) if r.dev == "flannel0")
        assert (route.dst, route.via, route.onlink) == ("10.244.0.0/16", "", False)
        assert route.scope == "global", "as flannel asks for it, not the kernel's own choice"
        assert not every(made, Neigh, node) and not every(made, Fdb, node)
        assert [a.address for a in every(made, Addr, node) if a.dev == "flannel0"] == [
            f"10.244.{node[1]}.0/32"
        ]


@pytest.mark.parametrize(("mtu", "expected"), [(1500, 1472), (9000, 8972)])
def test_udp_costs_28_bytes_and_carries_no_ethernet(mtu: int, expected: int) -> None:
    made = plan(backend="udp", mtu=mtu)
    mtus = {r.mtu for r in every(made, Interface) if r.name in ("flannel0", "cni0")}
    assert mtus == {expected}
    env = next(f.text for f in every(made, File) if "env" in f.path)
    assert f"FLANNEL_MTU={expected}\n" in env


def test_udp_knows_every_other_node_and_not_itself() -> None:
    made = plan(backend="udp", nodes=("rack-a", "rack-b", "rack-a"))
    (settings,) = (f.text for f in every(made, File, "n2") if f.path.endswith(".conf"))
    assert settings.splitlines() == [
        "device flannel0",
        "address 10.244.2.0",
        "listen 192.168.2.11 8285",
        "peer 10.244.1.0/24 192.168.1.11 8285",
        "peer 10.244.3.0/24 192.168.1.12 8285",
    ]
    (daemon,) = every(made, Process, "n2")
    assert (daemon.name, daemon.role, daemon.restart) == ("flanneld", "daemon", "Always")
    assert daemon.reads == (daemon.argv[1],)
    assert (active := f"{daemon.argv[1]}.active") in {f.path for f in every(made, File, "n2")}
    owners = {e.resource.key[2]: e.owner for e in made if e.resource.ns == "n2"}
    assert owners[active] == "expected"


def test_udp_device_goes_with_the_daemon_that_holds_it() -> None:
    """A TUN device without persistence, as flannel's: its route would lead nowhere otherwise."""
    cluster = spec(backend="udp")
    made = plan(backend="udp")
    broken = faulted(made, cluster, allocate(cluster), [Fault("daemon", "n1:flanneld")])
    gone = {e.resource.key for e in made} - {e.resource.key for e in broken}
    assert {(ns, kind) for ns, kind, _ in gone} == {
        ("n1", kind)
        for kind in ("device", "interface", "addr", "route", "file", "process", "sysctl")
    }
    assert len(gone) == 7


PEERS = [sleeve.Peer("7e:00:00:00:00:02", "192.168.1.12")]


def sleeves(underlay_mtu: int = 1500) -> list[Any]:
    return list(
        sleeve.node(
            sleeve.SleeveSettings(
                "n1", "weave", "7e:00:00:00:00:01", "full", "weaver", "/run/weave/sleeve.conf",
                underlay_mtu, PEERS,
            )
        )
    )  # fmt: skip


def test_sleeve_is_not_handed_merged_frames() -> None:
    """Aggregation on the way to the process makes frames that are too long for any path."""
    assert {r.gro for r in sleeves() if type(r) is Interface} == {False}
    assert not sleeve.features("full", "node").gro
    assert sleeve.features("full", "pod").gro, "what it receives is merged for itself"


def test_sleeve_gets_checksums_that_are_complete() -> None:
    """Off where packets come from, a pod or the node's own bridge; between these it is left on."""
    for profile in ("full", "wire", "off"):
        assert not sleeve.features(profile, "pod").tx
        assert not sleeve.features(profile, "bridge").tx
        assert sleeve.features(profile, "node").tx


def test_sleeve_hides_the_underlays_mtu_from_devices() -> None:
    assert {r.mtu for r in sleeves() if type(r) is Interface} == {65535}
    assert (sleeve.path_mtu(1500), sleeve.path_mtu(9000)) == (1438, 8938)


def test_sleeve_measures_anew_when_the_underlay_changes() -> None:
    """Nothing but its settings tells the process: they differ, though no peer does."""
    before, after = ([r for r in sleeves(mtu) if type(r) is File] for mtu in (1500, 9000))
    assert before != after
    assert {row for row in before[0].text.splitlines() if row[0] != "#"} == {
        "capture vethwe-pcap",
        "port 6783",
        "name 7e:00:00:00:00:01",
        "peer 7e:00:00:00:00:02 192.168.1.12",
    }
