"""One test for each mistake that is easily made with kubenet, its fabric and its shaper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

import pytest
from plan_parts import interface, setting
from small_plans import plan, spec
from small_specs import small_spec

from emulator.compile import compile_spec
from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Bridge,
    File,
    Htb,
    Interface,
    NftTable,
    Qdisc,
    Resource,
    Route,
    TcClass,
    TcFilter,
)
from emulator.spec import load_text
from emulator.spec.resolved import Bandwidth

T = TypeVar("T", bound=Resource)

NODES = ("n1", "n2", "n3")
RACKS = ("rack-a", "rack-a", "rack-b")
KUBENET = plan("kubenet", nodes=RACKS, pods=2)
MODES = {
    mode: plan("kubenet", hairpinMode=mode)
    for mode in ("promiscuous-bridge", "hairpin-veth", "none")
}


def of(made: Plan, kind: type[T], ns: str) -> list[T]:
    return [r for e in made if type(r := e.resource) is kind and r.ns == ns]


def shaped(*limits: tuple[int, int]) -> Plan:
    """One node; its pods have these limits on what they receive and send, in bits per second."""
    bare = spec("kubenet", nodes=1, pods=len(limits), host_pods=("n1",))
    pods = [
        pod._replace(bandwidth=Bandwidth(*limit))
        for pod, limit in zip(bare.pods, limits, strict=False)
    ]
    return compile_spec(bare._replace(pods=(*pods, *bare.pods[len(limits) :])))


# --- the bridge --------------------------------------------------------------------------


def test_the_bridge_is_cbr0_and_not_cni0() -> None:
    for i, node in enumerate(NODES, 1):
        assert of(KUBENET, Bridge, node) == [Bridge(node, "cbr0")]
        assert Addr(node, "cbr0", f"10.244.{i}.1/24") in of(KUBENET, Addr, node)


@pytest.mark.parametrize(("links", "expected"), [(1500, 1500), (9000, 9000), (576, 576)])
def test_the_mtu_is_that_of_the_nodes_own_interfaces(links: int, expected: int) -> None:
    made = plan("kubenet", mtu=links)
    assert {interface(made, *end).mtu for end in (("n1", "cbr0"), ("n1-p1", "eth0"))} == {expected}


def test_an_interface_of_less_than_576_bytes_is_no_model() -> None:
    assert interface(plan("kubenet", mtu=575), "n1", "cbr0").mtu == 1460


def test_a_pod_has_a_default_route_and_none_for_the_cluster() -> None:
    assert [r.dst for r in of(KUBENET, Route, "n1-p1")] == ["default"]


def test_duplicates_are_not_looked_for_on_the_interface_that_inherits_it_either() -> None:
    for scope in ("default", "eth0"):
        assert setting(KUBENET, "n1-p1", f"net/ipv6/conf/{scope}/dad_transmits") == "0"
    assert setting(KUBENET, "n1", "net/ipv6/conf/default/dad_transmits") is None


def test_bridged_frames_meet_the_packet_filter() -> None:
    assert setting(KUBENET, "n1", "net/bridge/bridge-nf-call-iptables") == "1"


# --- hairpin -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_either_the_bridge_is_promiscuous_or_its_ports_are_hairpins(mode: str) -> None:
    made = MODES[mode]
    ports = [r for r in of(made, Interface, "n1") if r.master == "cbr0"]
    assert ports and {port.hairpin for port in ports} == {mode == "hairpin-veth"}
    assert interface(made, "n1", "cbr0").promisc == (mode == "promiscuous-bridge")
    assert not any(r.promisc for r in of(made, Interface, "n1") if r.name != "cbr0")


@pytest.mark.parametrize("mode", MODES)
def test_only_a_promiscuous_bridge_needs_second_copies_dropped(mode: str) -> None:
    bridged = [t for t in of(MODES[mode], NftTable, "n1") if t.family == "bridge"]
    assert bool(bridged) == (mode == "promiscuous-bridge")


def test_what_the_gateway_says_is_accepted_before_the_copies_are_dropped() -> None:
    (table,) = [t for t in of(KUBENET, NftTable, "n1") if t.family == "bridge"]
    own = interface(KUBENET, "n1", "cbr0").mac
    chain = re.search(r"chain KUBE-DEDUP {\n(.*?)\n\t}", table.text, re.S)
    assert chain and [row.strip() for row in chain[1].split("\n")] == [
        f'oifname "veth*" ether saddr {own} ip saddr 10.244.1.1 accept',
        f'oifname "veth*" ether saddr {own} ip saddr 10.244.1.0/24 drop',
        "accept",
    ]
    assert "type filter hook output priority filter; policy accept;\n\t\tjump KUBE-DEDUP\n" in (
        table.text
    )


# --- the way between nodes ---------------------------------------------------------------


def test_nothing_on_a_node_leads_to_the_pods_of_another() -> None:
    for node in NODES:
        routes = of(KUBENET, Route, node)
        assert [r.dst for r in routes] == ["default"]


def test_the_router_has_one_route_for_each_node() -> None:
    routes = {r.dst: (r.via, r.dev) for r in of(KUBENET, Route, "core1")}
    assert routes == {
        "10.244.1.0/24": ("192.168.1.11", "eth0"),
        "10.244.2.0/24": ("192.168.1.12", "eth0"),
        "10.244.3.0/24": ("192.168.2.11", "eth1"),
    }


def test_routers_on_the_way_know_the_pods_too() -> None:
    made = compile_spec(
        small_spec(
            "kubenet",
            nodes=("rack-a", "rack-c"),
            segments=3,
            routers=(("rack-a", "rack-b"), ("rack-b", "rack-c")),
        )
    )
    far = {r.dst: (r.via, r.dev) for r in of(made, Route, "core1")}
    assert far["10.244.2.0/24"] == ("192.168.2.2", "eth1"), "the next router"
    near = {r.dst: (r.via, r.dev) for r in of(made, Route, "core2")}
    assert near["10.244.2.0/24"] == ("192.168.3.11", "eth1")
    assert near["10.244.1.0/24"] == ("192.168.2.1", "eth0")


LEAF_SPINE = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: fabric}
spec:
  network: {plugin: kubenet}
  underlay: {leafSpine: {leaves: 2, spines: 2}, routing: ROUTING}
  nodes: {count: 2}
"""


def fabric(routing: str) -> Plan:
    """n1 beside leaf1, n2 beside leaf2."""
    return compile_spec(load_text(LEAF_SPINE.replace("ROUTING", routing)))


def test_equal_paths_to_a_rack_are_equal_paths_to_its_pods() -> None:
    made = fabric("static")
    for leaf, rack, pods in (("leaf1", 2, 2), ("leaf2", 1, 1)):
        routes = {r.dst: r.next_hops for r in of(made, Route, leaf)}
        assert len(routes[f"10.244.{pods}.0/24"]) == 2
        assert routes[f"10.244.{pods}.0/24"] == routes[f"192.168.{rack}.0/24"]


def test_routers_that_speak_bgp_tell_each_other_which_pods_are_behind_them() -> None:
    made = fabric("bgp")
    found = {
        (r.ns, r.dst): e.owner
        for e in made
        if type(r := e.resource) is Route and r.dst.startswith("10.244.")
    }
    routers = ("leaf1", "leaf2", "spine1", "spine2")
    assert found == {
        (router, f"10.244.{i}.0/24"): "applied" if router == f"leaf{i}" else "expected"
        for router in routers
        for i in (1, 2)
    }
    (config,) = (f.text for f in of(made, File, "leaf1") if f.path.endswith("bird.conf"))
    assert "route 10.244.1.0/24 via 192.168.1.11;" in config and "10.244.2.0/24" not in config
    assert config.count("export where source ~ [RTS_DEVICE, RTS_STATIC, RTS_BGP];") == 2
    (spine,) = (f.text for f in of(made, File, "spine1") if f.path.endswith("bird.conf"))
    assert "static" not in spine and "RTS_STATIC" not in spine


def test_a_router_that_sends_back_on_the_same_segment_does_not_say_so() -> None:
    for scope in ("all", "default", "eth0", "eth1"):
        assert setting(KUBENET, "core1", f"net/ipv4/conf/{scope}/send_redirects") == "0"


def test_without_a_router_there_is_no_route_to_pods_at_all() -> None:
    made = compile_spec(small_spec("kubenet", routers=(), segments=1))
    assert not [e for e in made if e.resource.kind == "route" and e.resource.ns in NODES]


# --- masquerading ------------------------------------------------------------------------


def test_one_rule_masquerades_what_leaves_the_range() -> None:
    (table,) = [t for t in of(KUBENET, NftTable, "n1") if t.family == "ip"]
    assert table.name == "nat"
    assert "\t\tip daddr != 10.0.0.0/8 fib daddr type != local masquerade\n" in table.text
    assert "10.244" not in table.text, "the node's own subnet is not told apart"


def test_a_range_of_everything_masquerades_nothing() -> None:
    made = plan("kubenet", nonMasqueradeCIDR="0.0.0.0/0")
    assert [t.family for t in of(made, NftTable, "n1")] == ["bridge"]


# --- the shaper --------------------------------------------------------------------------


def test_the_shaper_is_htb_on_the_bridge_and_not_tbf_on_the_pods_cable() -> None:
    made = shaped((10**7, 10**7))
    assert [e.resource for e in made if e.resource.kind == "qdisc"] == [Htb("n1", "cbr0", 0x30)]
    assert not of(made, Qdisc, "n1")


def test_a_bridge_whose_pods_have_no_limits_has_its_root_all_the_same() -> None:
    assert of(KUBENET, Htb, "n3") == [Htb("n3", "cbr0", 0x30)]
    assert of(KUBENET, TcClass, "n3") == [] and of(KUBENET, TcFilter, "n3") == []


def test_what_a_pod_receives_is_its_destination_and_comes_first() -> None:
    made = shaped((2 * 10**7, 10**7), (0, 0), (0, 5 * 10**6))
    assert of(made, TcClass, "n1") == [
        TcClass("n1", "cbr0", 1, 20_000_000, 1600),
        TcClass("n1", "cbr0", 2, 10_000_000, 1600),
        TcClass("n1", "cbr0", 3, 5_000_000, 1600),
    ]
    assert of(made, TcFilter, "n1") == [
        TcFilter("n1", "cbr0", 0x800, "dst", "10.244.1.2/32", 1),
        TcFilter("n1", "cbr0", 0x801, "src", "10.244.1.2/32", 2),
        TcFilter("n1", "cbr0", 0x802, "src", "10.244.1.4/32", 3),
    ]


def minors(made: Plan) -> Sequence[int]:
    return [r.minor for r in of(made, TcClass, "n1")]


def test_classes_are_counted_in_decimal_and_read_in_hexadecimal() -> None:
    assert minors(shaped(*[(10**6, 10**6)] * 6))[8:] == [0x9, 0x10, 0x11, 0x12]


def test_the_thirtieth_class_is_the_default_one() -> None:
    made = shaped(*[(10**6, 10**6)] * 15)
    (root,) = of(made, Htb, "n1")
    assert minors(made)[-2:] == [0x29, root.default]
    assert root.default not in minors(shaped(*[(10**6, 10**6)] * 14))


def test_rates_are_whole_kilobits() -> None:
    assert of(shaped((12_345_678, 0)), TcClass, "n1")[0].rate_bit == 12_345_000


def test_the_burst_is_what_tc_computes_and_not_that_of_a_cable() -> None:
    made = shaped((10**9, 10**11))
    assert [r.burst_b for r in of(made, TcClass, "n1")] == [1600, 1612]


def test_each_node_shapes_its_own_pods() -> None:
    bare = spec("kubenet", nodes=2, pods=1)
    limit = Bandwidth(10**6, 0)
    made = compile_spec(bare._replace(pods=tuple(p._replace(bandwidth=limit) for p in bare.pods)))
    for i, node in enumerate(("n1", "n2"), 1):
        assert [r.address for r in of(made, TcFilter, node)] == [f"10.244.{i}.2/32"]
        assert [r.minor for r in of(made, TcClass, node)] == [1]
