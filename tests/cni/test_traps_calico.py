"""One test for each mistake that is easily made when Calico is rebuilt by hand.

(Over 300 lines: it is a list, to be read beside the goldens.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import pytest
from plan_parts import every
from small_plans import plan, spec

from emulator.compile import compile_spec, faulted
from emulator.faults import Fault
from emulator.ipam import Addressing, allocate
from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Bridge,
    Fdb,
    File,
    Interface,
    Neigh,
    NftTable,
    Process,
    Route,
    Vxlan,
)
from emulator.spec.resolved import ResolvedSpec

RACKS = ("rack-a", "rack-a", "rack-b", "rack-b")
RACK = dict(zip(("n1", "n2", "n3", "n4"), RACKS, strict=True))
NODES = tuple(RACK)
BGP_SPEC = spec("calico", "bgp", nodes=4, pods=2)
BGP = compile_spec(BGP_SPEC)
VXLAN_SPEC = spec("calico", "vxlan", nodes=RACKS, pods=2)
VXLAN = compile_spec(VXLAN_SPEC)
CROSS = plan("calico", "vxlan", nodes=RACKS, pods=2, vxlanMode="CrossSubnet")
REFLECTED_SPEC = spec(
    "calico", "bgp", nodes=4, nodeToNodeMeshEnabled=False, routeReflectors=["n1", "n2"]
)
REFLECTED = compile_spec(REFLECTED_SPEC)
FABRIC_SPEC = spec(
    "calico", "bgp", nodes=RACKS, nodeToNodeMeshEnabled=False, peerWithRouters=True
)._replace(routing="bgp")
FABRIC = compile_spec(FABRIC_SPEC)
EACH = {"bgp": BGP, "vxlan": VXLAN, "cross-subnet": CROSS, "reflected": REFLECTED, "fabric": FABRIC}
each = pytest.mark.parametrize("made", EACH.values(), ids=EACH)


def config(made: Plan, node: str) -> str:
    found = made.get((node, "file", "/run/calico/bird.cfg"))
    assert type(found) is File
    return found.text


def sessions(made: Plan, node: str) -> dict[str, str]:
    """The body of each BGP session by the neighbour's address."""
    parts = re.split(r"^protocol bgp ", config(made, node), flags=re.MULTILINE)[1:]
    return {re.findall(r"neighbor (\S+) as", part)[0]: part for part in parts}


def table(made: Plan, node: str, name: str) -> str:
    found = made.get((node, "nft", f"ip {name}"))
    return found.text if type(found) is NftTable else ""


def learnt(spec: ResolvedSpec, made: Plan, node: str, *faults: Fault) -> dict[str, Route]:
    """The routes that a node's BIRD is expected to write, by destination."""
    now = faulted(made, spec, allocate(spec), faults)
    return {r.dst: r for r in every(now, Route, node) if r.proto == "bird"}


def dead(node: str) -> Fault:
    return Fault("daemon", f"{node}:bird")


def addresses(of: Iterable[Addr]) -> list[str]:
    return [one.address for one in of]


# --- nodes and pods ----------------------------------------------------------------------


@each
def test_there_is_no_bridge_and_no_subnet_on_a_node(made: Plan) -> None:
    for node in NODES:
        assert every(made, Bridge, node) == []
        assert {a.dev for a in every(made, Addr, node)} <= {"eth0", "vxlan.calico"}


@each
def test_an_address_that_no_pod_has_would_go_back_to_the_default_route(made: Plan) -> None:
    for node in NODES:
        holes = [r for r in every(made, Route, node) if r.type == "blackhole"]
        assert len(holes) == 1
        assert {r.proto for r in holes} == {"80" if every(made, Vxlan, node) else "bird"}


def test_a_blackhole_for_a_block_of_one_address_would_hide_the_pod() -> None:
    for backend in ("bgp", "vxlan"):
        made = plan("calico", backend, pods=2, blockSize=32)
        assert not [r for r in every(made, Route) if r.type == "blackhole"]
        assert not any(" blackhole" in file.text for file in every(made, File))


def test_the_route_of_a_pod_has_felixs_priority() -> None:
    """BIRD would take one with a smaller metric for a pod on the move, and announce it."""
    for made in (BGP, VXLAN):
        pods = [r for r in every(made, Route, "n1") if r.dev.startswith("cali")]
        assert [(r.scope, r.metric, r.proto) for r in pods] == [("link", 1024, "boot")] * 2


def test_the_mtu_is_the_tunnels_everywhere_where_there_is_one() -> None:
    jumbo = plan("calico", "vxlan", nodes=RACKS, pods=2, mtu=9000)
    dual = plan("calico", "vxlan", nodes=RACKS, pods=2, mtu=9000, families="46")
    for made, mtu in (
        (BGP, 1500), (FABRIC, 1500), (VXLAN, 1450), (CROSS, 1450), (jumbo, 8950), (dual, 8930)
    ):  # fmt: skip
        for node in NODES:
            cali = [i for i in every(made, Interface, node) if i.name.startswith("cali")]
            assert {i.mtu for i in cali} == {mtu}
            said = made.get((node, "file", "/var/lib/calico/mtu"))
            assert type(said) is File and said.text == str(mtu)


# --- rules -------------------------------------------------------------------------------


@each
def test_pods_are_masqueraded_towards_nodes_too(made: Plan) -> None:
    """What is spared is what is in a pool, and a node's address is in none."""
    nat = table(made, "n1", "nat")
    assert "ip saddr @cali40masq-ipam-pools ip daddr != @cali40network-ip-pools masq" in nat
    assert re.findall(r"elements = \{ (.*) \}", nat) == ["10.244.0.0/16"] * 2


def test_without_nat_outgoing_the_chain_stays_and_is_empty() -> None:
    nat = table(plan("calico", "bgp", natOutgoing=False), "n1", "nat")
    assert re.findall(r"elements = \{ (.*) \}", nat) == ["10.244.0.0/16"]
    assert "chain cali-nat-outgoing {\n\t}" in nat
    assert "masquerade" not in nat


def test_a_node_that_speaks_into_the_tunnel_as_its_uplink_is_masqueraded() -> None:
    """And UDP never to VXLAN's own port, whose answers would be dropped."""
    rules = [row for row in table(VXLAN, "n1", "nat").splitlines() if "vxlan.calico" in row]
    other = 'oifname "vxlan.calico" fib saddr . oif type != local fib saddr type local masquerade'
    assert [row.strip() for row in rules] == [
        f"meta l4proto udp {other} to :4790-65535 fully-random",
        f"{other} fully-random",
    ]
    assert "vxlan" not in table(BGP, "n1", "nat")


def test_vxlan_is_taken_from_nodes_alone_and_not_tracked() -> None:
    guard = table(VXLAN, "n1", "filter")
    elements = "192.168.1.12, 192.168.2.11,\n\t\t\t     192.168.2.12"
    assert f"elements = {{ {elements} }}" in guard, "the others, of which it knows a tunnel"
    accept, drop = (row for row in guard.splitlines() if "udp dport 4789" in row)
    assert accept.endswith("@cali40all-vxlan-net fib daddr type local accept")
    assert drop.endswith("drop")
    assert table(VXLAN, "n1", "raw").count("udp dport 4789 notrack") == 2
    assert table(BGP, "n1", "filter") + table(BGP, "n1", "raw") == ""


# --- VXLAN -------------------------------------------------------------------------------


def test_port_and_number_are_not_flannels() -> None:
    for device in every(VXLAN, Vxlan):
        assert (device.name, device.vni, device.port) == ("vxlan.calico", 4096, 4789)
        assert not device.learning


def test_the_mac_address_of_a_tunnel_comes_from_the_nodes_name() -> None:
    """66 and the first five bytes of sha1("n1")."""
    found = VXLAN.get(("n1", "interface", "vxlan.calico"))
    assert type(found) is Interface and found.mac == "66:40:b3:ea:b6:3f"


def test_the_tunnel_has_the_first_address_of_the_block() -> None:
    at = allocate(VXLAN_SPEC)
    for node in NODES:
        first = at.blocks[node][0].partition("/")[0]
        assert addresses(every(VXLAN, Addr, node, "vxlan.calico")) == [f"{first}/32"]
        assert first not in at.pod.values()


def test_vxlan_counts() -> None:
    at = allocate(VXLAN_SPEC)
    for node in NODES:
        routes = every(VXLAN, Route, node, "vxlan.calico")
        others = [peer for peer in NODES if peer != node]
        assert {(r.dst, r.via) for r in routes} == {(at.blocks[p][0], at.tunnel[p]) for p in others}
        assert all(r.onlink and r.proto == "80" for r in routes)
        assert len(every(VXLAN, Neigh, node, "vxlan.calico")) == len(others)
        assert {f.dst for f in every(VXLAN, Fdb, node)} == {at.node[p] for p in others}
        assert every(VXLAN, Process, node) == []


def test_cross_subnet_has_tunnel_routes_to_other_subnets_alone() -> None:
    """Neighbours and forwarding entries are for all: Felix knows every tunnel."""
    at = allocate(VXLAN_SPEC)
    for node in NODES:
        by_tunnel = {r.dst for r in every(CROSS, Route, node, "vxlan.calico")}
        assert by_tunnel == {at.blocks[p][0] for p in NODES if RACK[p] != RACK[node]}
        direct = [r for r in every(CROSS, Route, node, "eth0") if r.dst != "default"]
        near = [p for p in NODES if RACK[p] == RACK[node] and p != node]
        assert {(r.dst, r.via) for r in direct} == {(at.blocks[p][0], at.node[p]) for p in near}
        assert all(r.onlink and r.proto == "80" for r in direct)
        assert len(every(CROSS, Neigh, node, "vxlan.calico")) == len(NODES) - 1


# --- BGP ---------------------------------------------------------------------------------


def test_who_waits_is_a_matter_of_text() -> None:
    """As text 192.168.1.101 is less than 192.168.1.11, so it waits for it."""
    made = compile_spec(spec("calico", "bgp", nodes=91, pods=0))
    assert "passive on" in sessions(made, "n91")["192.168.1.11"]
    assert "passive on" not in sessions(made, "n1")["192.168.1.101"]


def test_of_two_ends_exactly_one_waits() -> None:
    at = allocate(BGP_SPEC)
    for near in NODES:
        own = sessions(BGP, near)
        assert set(own) == {at.node[far] for far in NODES if far != near}
        for far in NODES:
            if far != near:
                ends = own[at.node[far]], sessions(BGP, far)[at.node[near]]
                assert sum("passive on" in end for end in ends) == 1


def test_bird_2_would_choose_the_metric_itself() -> None:
    """Its kernel protocol writes 32 unless it is told to write what the filter says."""
    for node in NODES:
        assert re.search(r"protocol kernel \{[^}]*metric 0;", config(BGP, node))
    assert {r.metric for r in learnt(BGP_SPEC, BGP, "n1").values() if r.via} == {1024}
    assert {r.metric for r in learnt(FABRIC_SPEC, FABRIC, "n1").values() if r.via} == {2**31 - 101}


def test_bird_2_would_write_the_kernels_own_routes_again() -> None:
    assert "if source = RTS_DEVICE then reject;" in config(BGP, "n1")


def test_a_block_is_announced_and_no_pod_in_it() -> None:
    block = allocate(BGP_SPEC).blocks["n1"][0]
    text = config(BGP, "n1")
    assert f"if net = {block} then accept;" in text
    assert f"if net ~ {block} then {{ if krt_metric < 1024 then accept; reject; }}" in text
    assert f"route {block} blackhole;" in text
    assert text.index("calico_aggr();") < text.index("if net ~ 10.244.0.0/16 then accept;")


def test_cali_interfaces_are_none_of_birds() -> None:
    assert 'interface "-cali*", "-kube-ipvs*", "*";' in config(BGP, "n1")


def test_bgp_counts() -> None:
    at = allocate(BGP_SPEC)
    for node in NODES:
        heard = {r.dst: r for r in learnt(BGP_SPEC, BGP, node).values() if r.type == "unicast"}
        assert set(heard) == {at.blocks[p][0] for p in NODES if p != node}
        for peer in NODES:
            if peer != node:
                route = heard[at.blocks[peer][0]]
                assert (route.via, route.dev, route.onlink) == (at.node[peer], "eth0", False)
        (process,) = every(BGP, Process, node)
        assert process.reads == ("/run/calico/bird.cfg",)


def test_a_node_behind_a_router_is_reached_by_the_router_which_knows_no_pods() -> None:
    racks = spec("calico", "bgp", nodes=("rack-a", "rack-b"))
    at = allocate(racks)
    made = compile_spec(racks)
    assert learnt(racks, made, "n1")[at.blocks["n2"][0]].via == at.router["core1", "rack-a"]
    assert not [r for r in every(made, Route, "core1") if r.dst.startswith("10.244.")]


def test_a_dead_daemon_keeps_its_routes_and_loses_its_peers() -> None:
    at = allocate(BGP_SPEC)
    blocks = {at.blocks[node][0] for node in NODES}
    assert set(learnt(BGP_SPEC, BGP, "n2", dead("n2"))) == blocks
    assert set(learnt(BGP_SPEC, BGP, "n1", dead("n2"))) == blocks - {at.blocks["n2"][0]}
    after = learnt(BGP_SPEC, BGP, "n2", dead("n3"), dead("n2"))
    assert set(after) == blocks - {at.blocks["n3"][0]}
    before = learnt(BGP_SPEC, BGP, "n2", dead("n2"), dead("n3"))
    assert set(before) == blocks


def test_the_kernel_forgets_what_a_dead_daemon_has_left_on_an_interface_that_is_down() -> None:
    faults = (dead("n2"), Fault("interface", "n2:eth0"))
    left = learnt(BGP_SPEC, BGP, "n2", *faults)
    assert {r.type for r in left.values()} == {"blackhole"}


# --- route reflectors --------------------------------------------------------------------


def test_clients_peer_with_reflectors_alone() -> None:
    at = allocate(REFLECTED_SPEC)
    both = {at.node["n1"], at.node["n2"]}
    for client in ("n3", "n4"):
        own = sessions(REFLECTED, client)
        assert set(own) == both
        assert not any("rr client" in body for body in own.values())


def test_a_reflector_is_no_client_of_another_one() -> None:
    """Both are of one cluster: what one has reflected the other would not take."""
    at = allocate(REFLECTED_SPEC)
    own = sessions(REFLECTED, "n1")
    assert {a for a, body in own.items() if "rr client" in body} == {at.node["n3"], at.node["n4"]}
    assert len(set(re.findall("rr cluster id .*;", config(REFLECTED, "n1")))) == 1


def test_the_next_hop_is_the_node_and_not_its_reflector() -> None:
    at = allocate(REFLECTED_SPEC)
    for dst, route in learnt(REFLECTED_SPEC, REFLECTED, "n4").items():
        origin = next(node for node in NODES if at.blocks[node][0] == dst)
        assert route.via == ("" if origin == "n4" else at.node[origin])


def test_one_reflector_is_enough_and_none_is_not() -> None:
    at = allocate(REFLECTED_SPEC)
    block = {node: at.blocks[node][0] for node in NODES}
    one = set(learnt(REFLECTED_SPEC, REFLECTED, "n3", dead("n1")))
    assert one == {block["n2"], block["n3"], block["n4"]}
    assert set(learnt(REFLECTED_SPEC, REFLECTED, "n3", dead("n1"), dead("n2"))) == {block["n3"]}


# --- the routers of the racks ------------------------------------------------------------


def test_a_node_peers_with_the_routers_of_its_rack_and_no_node() -> None:
    at = allocate(FABRIC_SPEC)
    for node in NODES:
        (address,) = sessions(FABRIC, node)
        assert address == at.router["core1", RACK[node]]


def test_a_node_would_take_another_ones_routes_for_its_own() -> None:
    """All nodes are of one AS, and the router's path to one of them leads through it again."""
    for node in NODES:
        (body,) = sessions(FABRIC, node).values()
        assert "allow local as 1" in body


def test_the_router_knows_each_block_by_its_node() -> None:
    at = allocate(FABRIC_SPEC)
    blocks = {r.dst: r.via for r in every(FABRIC, Route, "core1") if r.dst.startswith("10.244.")}
    assert blocks == {at.blocks[node][0]: at.node[node] for node in NODES}
    now = faulted(FABRIC, FABRIC_SPEC, at, [dead("n1")])
    assert at.blocks["n1"][0] not in {r.dst for r in every(now, Route, "core1")}


# --- addresses that are borrowed ---------------------------------------------------------


@pytest.mark.parametrize("backend", ["bgp", "vxlan"])
def test_a_borrowed_address_has_a_route_of_its_own_everywhere(backend: str) -> None:
    """Also where the block is, whose blackhole would take it."""
    small = spec("calico", backend, nodes=3, pods=4, blockSize=29)._replace(
        pod_cidrs=("10.244.0.0/28",)
    )
    at = allocate(small)
    assert at.borrowed
    made = compile_spec(small)
    for address, borrower in at.borrowed.items():
        for node in ("n1", "n2", "n3"):
            found = [r for r in every(made, Route, node) if r.dst == f"{address}/32"]
            if node == borrower and address in at.tunnel.values():
                assert not found, "it is the node's own"
                continue
            (route,) = found
            if node == borrower:
                assert route.dev.startswith("cali")
            elif backend == "bgp":
                assert (route.via, route.proto) == (at.node[borrower], "bird")
            else:
                assert (route.via, route.proto) == (at.tunnel[borrower], "80")


def owner(at: Addressing, address: str) -> str:
    """The node whose block an address is of."""
    for node, blocks in at.blocks.items():
        if any(ip_address(address) in ip_network(block) for block in blocks):
            return node
    raise AssertionError(address)


def borrowing() -> ResolvedSpec:
    """n1, a reflector, and n2 have claimed the whole pool, and n3 borrows from both."""
    return spec(
        "calico", "bgp", nodes=3, pods=5, blockSize=30, nodeToNodeMeshEnabled=False,
        routeReflectors=["n1"],
    )._replace(pod_cidrs=("10.244.0.0/28",))  # fmt: skip


def test_a_reflector_hands_on_nothing_that_lies_within_a_block_of_its_own() -> None:
    """So only itself knows who has borrowed an address from it, and the others send to it."""
    small = borrowing()
    at = allocate(small)
    made = compile_spec(small)
    assert {owner(at, address) for address in at.borrowed} == {"n1", "n2"}
    for address in at.borrowed:
        here = [r.ns for r in every(made, Route) if r.dst == f"{address}/32" and r.proto == "bird"]
        assert here == (["n1"] if owner(at, address) == "n1" else ["n1", "n2"])
