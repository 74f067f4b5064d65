"""One test for each mistake that is easily made with IP in IP and with Geneve."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from plan_parts import every, interface
from small_plans import plan, spec

from emulator.compile import compile_spec, faulted
from emulator.errors import SpecError
from emulator.faults import Fault
from emulator.ipam import allocate
from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Bridge,
    Fdb,
    Geneve,
    Interface,
    Neigh,
    NftTable,
    Process,
    Route,
    Tunnel,
    Vxlan,
)
from emulator.plan.script import script
from emulator.spec import load_text

RACKS = ("rack-a", "rack-a", "rack-b")
NODES = ("n1", "n2", "n3")
FLANNEL = plan(backend="ipip", nodes=RACKS, pods=2)
DIRECT = plan(backend="ipip", nodes=RACKS, directRouting=True)
CALICO_SPEC = spec("calico", "ipip", nodes=RACKS, pods=2)
CALICO = compile_spec(CALICO_SPEC)
CROSS = plan("calico", "ipip", nodes=RACKS, ipipMode="CrossSubnet")
DUAL = plan("calico", "ipip", nodes=RACKS, families="46")
GENEVE = plan("overlay", "geneve", nodes=RACKS, families="46")
TUNNELS = {"flannel": FLANNEL, "calico": CALICO, "overlay": plan("overlay", "ipip", nodes=RACKS)}
each = pytest.mark.parametrize("made", TUNNELS.values(), ids=TUNNELS)


def remote(made: Plan, node: str, dev: str) -> list[Route]:
    return [r for r in every(made, Route, node, dev) if r.via and r.dst not in ("default", "::/0")]


def table(made: Plan, node: str, name: str) -> str:
    found = made.get((node, "nft", name))
    return found.text if type(found) is NftTable else ""


# --- IP in IP, whoever uses it -----------------------------------------------------------


@each
def test_the_gateway_is_the_underlay_address_of_the_other_node(made: Plan) -> None:
    at = allocate(CALICO_SPEC).node
    for node in NODES:
        (tunnel,) = every(made, Tunnel, node)
        routes = remote(made, node, tunnel.name)
        assert {r.via for r in routes} == {at[peer] for peer in NODES if peer != node}
        assert all(r.onlink for r in routes) and len(routes) == 2


@each
def test_there_is_nothing_below_ip_to_be_resolved(made: Plan) -> None:
    for tunnel in every(made, Tunnel):
        assert every(made, Neigh, tunnel.ns, tunnel.name) == []
        assert interface(made, tunnel.ns, tunnel.name).mac == ""
    assert every(made, Fdb) == []


@each
def test_twenty_bytes_are_left_for_the_outer_header(made: Plan) -> None:
    for tunnel in every(made, Tunnel):
        assert interface(made, tunnel.ns, tunnel.name).mtu == 1480
        (address,) = every(made, Addr, tunnel.ns, tunnel.name)
        assert address.address.endswith("/32")
    pods = [r for r in every(made, Interface) if r.name == "eth0" and "-p" in r.ns]
    assert {r.mtu for r in pods} == {1480}


@each
def test_the_outer_header_is_not_marked_where_the_inner_one_is_not(made: Plan) -> None:
    assert {(r.ttl, r.pmtudisc) for r in every(made, Tunnel)} == {(0, False)}


# --- flannel -----------------------------------------------------------------------------


def test_without_a_local_address_it_would_be_a_second_tunl0() -> None:
    at = allocate(CALICO_SPEC).node
    for node in NODES:
        (tunnel,) = every(FLANNEL, Tunnel, node)
        made_by_a_library = {"pmtudisc": False, "any_mode": True}
        assert tunnel == Tunnel(node, "flannel.ipip", "ipip", at[node], **made_by_a_library)
        assert not tunnel.fallback
        addresses = [a.address for a in every(FLANNEL, Addr, node, "flannel.ipip")]
        assert addresses == [f"10.244.{node[1]}.0/32"]
    assert every(FLANNEL, Vxlan) == []


def test_direct_routing_changes_the_device_and_nothing_else() -> None:
    before = {r.dst: r for r in remote(FLANNEL, "n1", "flannel.ipip")}
    (near,) = (r for r in remote(DIRECT, "n1", "eth0") if r.dst == "10.244.2.0/24")
    assert near == before["10.244.2.0/24"]._replace(dev="eth0")
    assert remote(DIRECT, "n1", "flannel.ipip") == [before["10.244.3.0/24"]]


def test_canal_has_the_tunnel_and_no_bridge() -> None:
    made = plan("canal", "ipip")
    assert every(made, Bridge, "n1") == []
    assert [t.name for t in every(made, Tunnel, "n1")] == ["flannel.ipip"]


# --- Calico ------------------------------------------------------------------------------


def test_calico_takes_the_tunnel_that_the_kernel_has() -> None:
    for node in NODES:
        (tunnel,) = every(CALICO, Tunnel, node)
        assert tunnel.fallback and (tunnel.name, tunnel.local, tunnel.remote) == ("tunl0", "", "")


def test_the_tunnels_address_takes_up_a_place_in_the_block() -> None:
    at = allocate(CALICO_SPEC)
    for node in NODES:
        block = ip_network(at.blocks[node][0])
        assert ip_address(at.tunnel[node]) == block.network_address
        assert at.pod[f"{node}-p1"] == str(block.network_address + 1)
        (address,) = every(CALICO, Addr, node, "tunl0")
        assert address.address == f"{at.tunnel[node]}/32"


def test_felix_writes_the_routes_and_there_is_no_daemon() -> None:
    for node in NODES:
        assert {r.proto for r in remote(CALICO, node, "tunl0")} == {"80"}
        holes = [r for r in every(CALICO, Route, node) if r.type == "blackhole"]
        assert [r.proto for r in holes] == ["80"]
    assert {e.owner for e in CALICO} == {"applied"}


def test_cross_subnet_leads_through_the_tunnel_to_other_subnets_only() -> None:
    at = allocate(CALICO_SPEC).node
    assert [r.via for r in remote(CROSS, "n1", "tunl0")] == [at["n3"]]
    (near,) = remote(CROSS, "n1", "eth0")
    assert (near.via, near.onlink, near.proto) == (at["n2"], True, "80")
    assert [r.via for r in remote(CROSS, "n3", "tunl0")] == [at["n1"], at["n2"]]
    assert interface(CROSS, "n1-p1", "eth0").mtu == 1480


def test_a_host_that_is_no_node_is_not_let_into_the_tunnel() -> None:
    at = allocate(CALICO_SPEC).node
    text = table(CALICO, "n1", "ip filter")
    (elements,) = (row for row in text.split("set ") if row.startswith("cali40all-hosts-net"))
    assert all(address in elements for address in at.values())  # its own as well
    accept, drop = (row.strip() for row in text.splitlines() if "ipencap" in row)
    assert "saddr @cali40all-hosts-net" in accept and accept.endswith("accept")
    assert drop == "ip protocol ipencap drop"


def test_a_node_speaks_into_the_tunnel_under_the_tunnels_address() -> None:
    text = table(CALICO, "n1", "ip nat")
    assert 'oifname "tunl0" fib saddr . oif type != local fib saddr type local masquerade' in text
    assert "udp" not in text  # which is VXLAN's affair, as is what follows
    assert table(CALICO, "n1", "ip raw") == ""


def test_an_older_interface_than_the_uplink_would_lend_its_address() -> None:
    """In a namespace ``tunl0`` is older: a node would speak to its own pods as the tunnel."""
    at = allocate(CALICO_SPEC)
    for pod in CALICO_SPEC.pods:
        (route,) = (r for r in every(CALICO, Route, pod.node) if r.dst == f"{at.pod[pod.id]}/32")
        assert route.src == at.node[pod.node]
    vxlan = plan("calico", "vxlan")
    assert not [r for r in every(vxlan, Route) if r.src]


def test_a_pool_of_ipv6_has_no_tunnel() -> None:
    assert {t.name for t in every(DUAL, Tunnel)} == {"tunl0"}
    assert "ipencap" not in table(DUAL, "n1", "ip6 filter")


def test_what_has_no_tunnel_is_birds_affair_and_not_felixs() -> None:
    """Not onlink, also by a router that knows of no pods; the node's own block is a blackhole."""
    for node, gateways in (("n1", ["1::1", "1::c"]), ("n3", ["2::1", "2::1"])):
        six = [r for r in remote(DUAL, node, "eth0") if ":" in r.dst]
        assert sorted(r.via for r in six) == [f"fd00:192:168:{way}" for way in gateways]
        assert {(r.proto, r.onlink) for r in six} == {("bird", False)}
        holes = {(":" in r.dst, r.proto) for r in every(DUAL, Route, node) if r.type == "blackhole"}
        assert holes == {(False, "80"), (True, "bird")}
        assert [p.name for p in every(DUAL, Process, node)] == ["bird6"]


def test_ipv6_alone_is_refused() -> None:
    text = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: six}
spec:
  podCIDR: fd00:10:244::/56
  network: {plugin: calico, backend: ipip}
  underlay: {segments: {rack: {cidr: "fd00:192:168:50::/64"}}}
  nodes: {count: 2}
"""
    with pytest.raises(SpecError) as refused:
        load_text(text, "six.yaml")
    assert "a network of IPv4 beside it" in str(refused.value)


def test_down_takes_the_routes_of_the_tunnel_and_leaves_those_beside_it() -> None:
    made = compile_spec(spec("calico", "ipip", nodes=RACKS, ipipMode="CrossSubnet"))
    of = spec("calico", "ipip", nodes=RACKS, ipipMode="CrossSubnet")
    now = faulted(made, of, allocate(of), [Fault("interface", "n1:tunl0")])
    assert remote(now, "n1", "tunl0") == []
    assert len(remote(now, "n1", "eth0")) == 1
    assert not interface(now, "n1", "tunl0").up


# --- Geneve, and the overlay without a plugin ---------------------------------------------


def test_geneve_leads_to_one_address_and_so_needs_a_device_for_each_node() -> None:
    at = {family.family.name: family.node for family in allocate(spec(nodes=RACKS)).families}
    for node in NODES:
        found = every(GENEVE, Geneve, node)
        peers = [peer for peer in NODES if peer != node]
        assert {g.name for g in found} == {f"gnv{v}-{p}" for v in ("", "6") for p in peers}
        assert {g.remote for g in found if "." in g.remote} == {at["IPv4"][peer] for peer in peers}
        assert {(g.vni, g.port) for g in found} == {(1, 6081)}


def test_the_neighbour_is_the_other_end_of_the_same_tunnel() -> None:
    for geneve in every(GENEVE, Geneve):
        peer = geneve.name.partition("-")[2]
        back = geneve.name.partition("-")[0] + f"-{geneve.ns}"
        (neighbour,) = every(GENEVE, Neigh, geneve.ns, geneve.name)
        assert neighbour.lladdr == interface(GENEVE, peer, back).mac
        (route,) = remote(GENEVE, geneve.ns, geneve.name)
        assert (route.via, route.onlink) == (neighbour.address, True)


def test_geneve_takes_as_much_as_vxlan_and_pods_have_the_narrower_tunnels_mtu() -> None:
    assert interface(GENEVE, "n1", "gnv-n2").mtu == 1450
    assert interface(GENEVE, "n1", "gnv6-n2").mtu == 1430
    assert interface(GENEVE, "n1-p1", "eth0").mtu == interface(GENEVE, "n1", "cni0").mtu == 1430
    assert interface(plan("overlay", "geneve"), "n1-p1", "eth0").mtu == 1450


@pytest.mark.parametrize("backend", ["vxlan", "geneve", "ipip"])
def test_an_overlay_alone_has_nobodys_rules(backend: str) -> None:
    made = plan("overlay", backend, nodes=RACKS)
    assert every(made, NftTable) == []
    assert {e.owner for e in made} == {"applied"}


def test_a_long_name_of_a_node_leads_to_a_device_all_the_same() -> None:
    of = spec("overlay", "geneve")
    first, second = of.nodes
    far = second._replace(name="a-node-of-a-long-name")
    pods = tuple(p._replace(node=far.name) if p.node == "n2" else p for p in of.pods)
    made = compile_spec(of._replace(nodes=(first, far), pods=pods))
    (geneve,) = every(made, Geneve, "n1")
    assert len(geneve.name) == 15 and geneve.name.startswith("gnv-")


# --- as commands --------------------------------------------------------------------------


def test_a_script_takes_the_tunnel_whether_it_is_there_or_not() -> None:
    text = script(CALICO)
    assert "link add name tunl0 type ipip 2>/dev/null || ip -n n1 link show dev tunl0" in text
    assert "dev tunl0 mtu 1480\n" in text  # IPv6 does not know it before it is up
