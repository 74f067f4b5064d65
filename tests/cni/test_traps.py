"""One test for each mistake that is easily made when a pod network is rebuilt by hand.

(Over 300 lines: it is a list, to be read beside the goldens.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

import pytest
from plan_parts import every, interface, setting
from small_plans import plan, spec

from emulator.ipam import allocate
from emulator.plan import Plan, diff
from emulator.plan.resources import (
    Addr,
    Bridge,
    Fdb,
    File,
    Interface,
    Key,
    Neigh,
    Netns,
    NftTable,
    Resource,
    Route,
    Sysctl,
    Veth,
    Vxlan,
)

NODES, PODS = 4, 3
VXLAN = plan(nodes=NODES, pods=PODS)
HOST_GW = plan(backend="host-gw", nodes=NODES, pods=PODS)
RACKS = ("rack-a", "rack-a", "rack-b", "rack-b")
DIRECT = plan(nodes=RACKS, pods=PODS, directRouting=True)
NONE = plan("none", nodes=NODES, pods=PODS)
FLANNEL = {"vxlan": VXLAN, "host-gw": HOST_GW, "direct routing": DIRECT}
BRIDGED = {**FLANNEL, "none": NONE}
NAMES = [f"n{i}" for i in range(1, NODES + 1)]
POD_NAMES = [f"{node}-p{i}" for node in NAMES for i in range(1, PODS + 1)]


def ports(made: Plan, ns: str, bridge: str) -> list[Interface]:
    return [r for r in every(made, Interface, ns) if r.master == bridge]


each_flannel = pytest.mark.parametrize("made", FLANNEL.values(), ids=FLANNEL)
each_bridged = pytest.mark.parametrize("made", BRIDGED.values(), ids=BRIDGED)


# --- every namespace ---------------------------------------------------------------------


@each_bridged
def test_loopback_is_down_at_birth_so_every_namespace_raises_it(made: Plan) -> None:
    for ns in made.namespaces():
        assert interface(made, ns, "lo").up


@each_bridged
def test_forwarding_would_be_inherited_from_the_host(made: Plan) -> None:
    forwarders = {ns for ns in made.namespaces() if setting(made, ns, "net/ipv4/ip_forward") == "1"}
    silent = [ns for ns in made.namespaces() if not setting(made, ns, "net/ipv4/ip_forward")]
    assert silent == []
    assert forwarders == {*NAMES, "core1"}


def test_a_node_without_pod_network_does_not_forward() -> None:
    assert setting(plan("host"), "n1", "net/ipv4/ip_forward") == "0"


@each_bridged
def test_reverse_path_filter_would_be_inherited_from_the_host(made: Plan) -> None:
    for ns in (*NAMES, "core1"):
        assert setting(made, ns, "net/ipv4/conf/all/rp_filter") == "0"
        assert setting(made, ns, "net/ipv4/conf/default/rp_filter") == "0"
    for addr in every(made, Addr):
        if addr.ns in (*NAMES, "core1"):
            # born with what the host has as default; and the greater of the two holds
            assert setting(made, addr.ns, f"net/ipv4/conf/{addr.dev}/rp_filter") == "0"


def test_redirects_of_a_router_would_hide_a_missing_route() -> None:
    for scope in ("all", "default", "eth0", "eth1"):
        assert setting(DIRECT, "core1", f"net/ipv4/conf/{scope}/send_redirects") == "0"


@each_bridged
def test_ends_of_a_cable_have_one_mtu(made: Plan) -> None:
    pairs = every(made, Veth)
    assert len(pairs) >= NODES + NODES * PODS
    for pair in pairs:
        near = interface(made, pair.ns, pair.name)
        assert near.mtu == interface(made, pair.peer_ns, pair.peer).mtu


@each_bridged
def test_no_mac_address_is_drawn_at_random(made: Plan) -> None:
    macs = [r.mac for r in every(made, Interface) if r.name != "lo"]
    assert all(re.fullmatch(r"[0-9a-f][26ae](:[0-9a-f]{2}){5}", mac) for mac in macs), "local"
    assert len(set(macs)) == len(macs)


# --- the model ---------------------------------------------------------------------------


@each_flannel
def test_each_pod_has_an_address_of_its_own(made: Plan) -> None:
    found = [a.address for pod in POD_NAMES for a in every(made, Addr, pod)]
    assert len(set(found)) == len(found) == NODES * PODS


def test_without_a_network_the_nodes_give_the_same_addresses() -> None:
    assert [a.address for a in every(NONE, Addr, "n1-p1")] == ["10.244.0.2/24"]
    for node in NAMES:
        assert [a.address for a in every(NONE, Addr, node, "cni0")] == ["10.244.0.1/24"]
        assert [r.dst for r in every(NONE, Route, node)] == ["default"]
        assert every(NONE, NftTable, node) == []


def test_a_host_network_pod_has_no_objects_of_its_own() -> None:
    assert plan(host_pods=("n1",)).text() == plan().text()


# --- the bridge plugin -------------------------------------------------------------------


@each_bridged
def test_the_bridge_is_cni0_and_not_cbr0(made: Plan) -> None:
    for node in NAMES:
        assert every(made, Bridge, node) == [Bridge(node, "cni0")]


@each_bridged
def test_a_bridge_would_take_the_lowest_mac_address_of_its_ports(made: Plan) -> None:
    for bridge in every(made, Bridge):
        assert interface(made, bridge.ns, bridge.name).mac


@each_bridged
def test_one_port_for_each_pod_and_no_route(made: Plan) -> None:
    for node in NAMES:
        found = ports(made, node, "cni0")
        assert len(found) == PODS
        assert all(re.fullmatch("veth[0-9a-f]{8}", port.name) for port in found)
        assert {port.hairpin for port in found} == {made is not NONE}
        pods = [a.address.partition("/")[0] for p in POD_NAMES for a in every(made, Addr, p)]
        assert not [r for r in every(made, Route, node) if r.dst.partition("/")[0] in pods]


@each_bridged
def test_gateway_is_the_bridge(made: Plan) -> None:
    for pod in POD_NAMES:
        node = pod.partition("-")[0]
        (bridge,) = every(made, Addr, node, "cni0")
        (own,) = every(made, Addr, pod)
        gateway, _, length = bridge.address.partition("/")
        assert own.address.endswith(f"/{length}")
        network = IPv4Network(bridge.address, strict=False)
        assert IPv4Address(gateway) == network[1]
        routes = {r.dst: r for r in every(made, Route, pod)}
        assert routes["default"] == Route(pod, "default", gateway, "eth0")
        if made is NONE:
            assert set(routes) == {"default"}
        else:
            assert set(routes) == {"default", "10.244.0.0/16"}
            assert routes["10.244.0.0/16"].via == gateway


@each_bridged
def test_settings_of_the_plugin(made: Plan) -> None:
    for node in NAMES:
        for dev in ("cni0", *(port.name for port in ports(made, node, "cni0"))):
            assert setting(made, node, f"net/ipv6/conf/{dev}/accept_ra") == "0"
    for pod in POD_NAMES:
        assert setting(made, pod, "net/ipv4/conf/eth0/arp_notify") == "1"
        assert setting(made, pod, "net/ipv6/conf/eth0/accept_dad") == "0"


@each_bridged
def test_bridged_frames_meet_the_packet_filter_on_nodes_and_not_in_switches(made: Plan) -> None:
    name = "net/bridge/bridge-nf-call-iptables"
    for node in NAMES:
        assert made.get((node, "sysctl", name)) == Sysctl(node, name, "1", True)
    for switch in {ns for ns in made.namespaces() if ns.startswith("rack")}:
        for table in ("iptables", "ip6tables", "arptables"):
            assert setting(made, switch, f"net/bridge/bridge-nf-call-{table}") == "0"


# --- flannel -----------------------------------------------------------------------------


@each_flannel
def test_the_first_subnet_is_left_out(made: Plan) -> None:
    found = [a.address for node in NAMES for a in every(made, Addr, node, "cni0")]
    assert found == [f"10.244.{i}.1/24" for i in range(1, NODES + 1)]
    assert [a.address for a in every(made, Addr, "n1-p1")] == ["10.244.1.2/24"]


@each_flannel
def test_no_node_has_a_route_to_the_cluster_or_to_itself(made: Plan) -> None:
    for i, node in enumerate(NAMES, 1):
        found = {r.dst for r in every(made, Route, node)}
        assert found == {"default", *(f"10.244.{k}.0/24" for k in range(1, NODES + 1) if k != i)}


def test_vxlan_counts() -> None:
    for node in NAMES:
        routes = every(VXLAN, Route, node, "flannel.1")
        assert len(routes) == NODES - 1
        assert all(r.onlink and r.dst == f"{r.via}/24" for r in routes)
        assert len(every(VXLAN, Neigh, node)) == NODES - 1
        assert len(every(VXLAN, Fdb, node)) == NODES - 1
        (addr,) = every(VXLAN, Addr, node, "flannel.1")
        assert addr.address == f"10.244.{node[1:]}.0/32"


def test_vxlan_device() -> None:
    for i, node in enumerate(NAMES):
        (found,) = every(VXLAN, Vxlan, node)
        assert found == Vxlan(node, "flannel.1", 1, "eth0", f"192.168.1.{11 + i}", 8472, False)
        assert setting(VXLAN, node, "net/ipv6/conf/flannel.1/accept_ra") == "0"


def test_the_port_is_written_down_for_the_kernels_default_is_not_the_registered_one() -> None:
    assert {r.port for r in every(VXLAN, Vxlan)} == {8472}
    assert {r.port for r in every(plan(port=4789), Vxlan)} == {4789}


def test_the_device_is_named_by_its_number() -> None:
    (found,) = every(plan(vni=7), Vxlan, "n1")
    assert (found.name, found.vni) == ("flannel.7", 7)


def test_tables_lead_to_the_peers_own_addresses() -> None:
    for made in (VXLAN, DIRECT):
        for node in NAMES:
            for neigh in every(made, Neigh, node):
                peer = f"n{neigh.address.split('.')[2]}"
                assert neigh.lladdr == interface(made, peer, "flannel.1").mac
                underlay = every(made, Addr, peer, "eth0")[0].address.partition("/")[0]
                assert Fdb(node, "flannel.1", neigh.lladdr, underlay) in every(made, Fdb, node)


def test_nothing_is_flooded() -> None:
    for made in FLANNEL.values():
        assert not [r for r in every(made, Fdb) if r.lladdr == "00:00:00:00:00:00"]
        assert not [r for r in every(made, Vxlan) if r.learning]


def test_neighbour_comes_before_forwarding_before_route() -> None:
    order = [type(op.resource) for op in diff(VXLAN, {}) if op.resource.ns == "n1"]
    last = {kind: len(order) - 1 - order[::-1].index(kind) for kind in (Neigh, Fdb)}
    assert last[Neigh] < order.index(Fdb)
    assert last[Fdb] < order.index(Route)


def test_host_gw_counts() -> None:
    for node in NAMES:
        routes = [r for r in every(HOST_GW, Route, node) if r.dst != "default"]
        assert len(routes) == NODES - 1
        for route in routes:
            peer = f"n{route.dst.split('.')[2]}"
            underlay = every(HOST_GW, Addr, peer, "eth0")[0].address.partition("/")[0]
            assert route == Route(node, route.dst, underlay, "eth0")
        assert {r.name for r in every(HOST_GW, Interface, node)} == {
            *("lo", "eth0", "cni0"),
            *(port.name for port in ports(HOST_GW, node, "cni0")),
        }
        assert every(HOST_GW, Neigh, node) + every(HOST_GW, Fdb, node) == []  # type: ignore[operator]


def test_direct_routing_leaves_nothing_in_the_tunnel_for_a_neighbour() -> None:
    rack = dict(zip(NAMES, RACKS, strict=True))
    for node in NAMES:
        near = [p for p in NAMES if p != node and rack[p] == rack[node]]
        far = [p for p in NAMES if rack[p] != rack[node]]
        assert {n.address for n in every(DIRECT, Neigh, node)} == {f"10.244.{p[1:]}.0" for p in far}
        assert len(every(DIRECT, Fdb, node)) == len(far)
        direct = [r for r in every(DIRECT, Route, node, "eth0") if r.dst != "default"]
        assert {r.dst for r in direct} == {f"10.244.{p[1:]}.0/24" for p in near}
        assert not any(r.onlink for r in direct)


def test_direct_routing_in_one_rack_needs_no_tunnel() -> None:
    made = plan(nodes=NODES, directRouting=True)
    for node in NAMES:
        assert every(made, Route, node, "flannel.1") == []
        assert every(made, Neigh, node) + every(made, Fdb, node) == []  # type: ignore[operator]
        assert len([r for r in every(made, Route, node) if r.dst != "default"]) == NODES - 1


def test_a_host_network_client_is_seen_as_the_tunnels_address() -> None:
    """The only address on the device by which a remote pod is reached, and no src is given."""
    assert {r.src for r in every(VXLAN, Route, "n1", "flannel.1")} == {""}
    (addr,) = every(VXLAN, Addr, "n1", "flannel.1")
    assert (addr.address, addr.scope) == ("10.244.1.0/32", "global")


@pytest.mark.parametrize(
    ("backend", "mtu", "expected"),
    [("vxlan", 1500, 1450), ("vxlan", 9000, 8950), ("host-gw", 1500, 1500)],
)
def test_one_mtu_for_bridge_pods_and_environment(backend: str, mtu: int, expected: int) -> None:
    made = plan(backend=backend, mtu=mtu)
    devices = [
        ("n1", "cni0"),
        ("n1-p1", "eth0"),
        *((p.ns, p.name) for p in ports(made, "n1", "cni0")),
    ]
    if backend == "vxlan":
        devices.append(("n1", "flannel.1"))
    assert {interface(made, *end).mtu for end in devices} == {expected}
    assert interface(made, "n1", "eth0").mtu == mtu
    (env,) = every(made, File, "n1")
    assert f"FLANNEL_MTU={expected}\n" in env.text


@each_flannel
def test_the_environment_names_the_gateway_and_not_the_network(made: Plan) -> None:
    for i, node in enumerate(NAMES, 1):
        (env,) = every(made, File, node)
        assert env.path == "/run/flannel/subnet.env"
        assert f"FLANNEL_SUBNET=10.244.{i}.1/24\n" in env.text
        assert "FLANNEL_NETWORK=10.244.0.0/16\n" in env.text
        assert "FLANNEL_IPMASQ=true\n" in env.text


# --- masquerading ------------------------------------------------------------------------


def rules(made: Plan, table: str, chain: str) -> list[str]:
    (found,) = [t for t in every(made, NftTable, "n1") if t.name == table]
    match = re.search(rf"chain {chain} {{\n(.*?)\n\t}}", found.text, re.S)
    assert match
    return [row.strip() for row in match[1].split("\n")]


@pytest.mark.parametrize("backend", ["vxlan", "host-gw"])
def test_rules_of_the_iptables_flavour(backend: str) -> None:
    made = plan(backend=backend)
    assert [t.name for t in every(made, NftTable, "n1")] == ["nat", "filter"]
    assert rules(made, "nat", "POSTROUTING") == [
        "type nat hook postrouting priority srcnat; policy accept;",
        "jump FLANNEL-POSTRTG",
    ]
    assert rules(made, "nat", "FLANNEL-POSTRTG") == [
        "meta mark & 0x00004000 == 0x00004000 return",
        "ip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return",
        "ip saddr 10.244.0.0/16 ip daddr 10.244.1.0/24 return",
        "ip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return",
        "ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random",
        "ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random",
    ]
    assert rules(made, "filter", "FORWARD")[-1] == "jump FLANNEL-FWD"
    assert rules(made, "filter", "FLANNEL-FWD") == [
        "ip saddr 10.244.0.0/16 accept",
        "ip daddr 10.244.0.0/16 accept",
    ]


def test_the_nftables_flavour_differs_in_two_rules() -> None:
    made = plan(enableNFTables=True)
    assert [t.name for t in every(made, NftTable, "n1")] == ["flannel-ipv4"]
    hook, *nftables = rules(made, "flannel-ipv4", "postrtg")
    assert hook == "type nat hook postrouting priority srcnat; policy accept;"
    iptables = rules(plan(), "nat", "FLANNEL-POSTRTG")
    differing = [i for i in range(6) if iptables[i] != nftables[i]]
    assert (len(iptables), len(nftables), differing) == (6, 6, [0, 3])
    assert nftables[0] == "meta mark 0x00004000 return"
    assert nftables[3] == "ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 return"
    assert rules(made, "flannel-ipv4", "forward") == [
        "type filter hook forward priority filter; policy accept;",
        "ip saddr 10.244.0.0/16 accept",
        "ip daddr 10.244.0.0/16 accept",
    ]


def test_no_rules_where_masquerading_is_not_asked_for() -> None:
    made = plan(ipMasq=False)
    assert every(made, NftTable) == []
    assert "FLANNEL_IPMASQ=false\n" in every(made, File, "n1")[0].text


# --- what is measured --------------------------------------------------------------------


def offloads(found: Iterable[Interface]) -> set[tuple[bool, bool, bool]]:
    return {(r.tso, r.gso, r.gro) for r in found}


@pytest.mark.parametrize("backend", ["vxlan", "host-gw"])
def test_an_offload_profile_reaches_every_class_of_device(backend: str) -> None:
    on, off, wire = (True, True, True), (False, False, False), (False, False, True)
    for profile, cables, others in (("full", on, on), ("wire", wire, on), ("off", off, off)):
        made = plan(backend=backend, offload=profile)  # type: ignore[arg-type]
        ends = {
            end
            for v in every(made, Veth)
            if "rack-a" in (v.ns, v.peer_ns)
            for end in ((v.ns, v.name), (v.peer_ns, v.peer))
        }
        assert len(ends) == 2 * 4  # a router, two nodes, a host
        devices = [r for r in every(made, Interface) if r.name != "lo"]
        assert offloads(r for r in devices if (r.ns, r.name) in ends) == {cables}
        assert offloads(r for r in devices if (r.ns, r.name) not in ends) == {others}


def test_two_backends_differ_in_nothing_but_the_path_between_nodes() -> None:
    """Same names, addresses, MAC addresses, settings; another MTU, for the header needs room."""

    def but_for_mtu(made: Plan) -> dict[Key, Resource]:
        found = (e.resource for e in made)
        return {r.key: r._replace(mtu=0) if type(r) is Interface else r for r in found}

    vxlan, host_gw = but_for_mtu(plan()), but_for_mtu(plan(backend="host-gw"))
    differing = {key for key in vxlan.keys() | host_gw.keys() if vxlan.get(key) != host_gw.get(key)}
    assert {(ns, kind) for ns, kind, _ in differing} == {
        (node, kind)
        for node in ("n1", "n2")
        for kind in ("device", "interface", "addr", "neigh", "fdb", "route", "sysctl", "file")
    }
    assert all(
        "flannel" in f"{key} {vxlan.get(key)}" or key[2].startswith("10.244.") for key in differing
    )


def test_the_plan_is_the_addressing_that_others_use() -> None:
    cluster = spec(nodes=NODES, pods=PODS)
    addressing = allocate(cluster)
    for pod in POD_NAMES:
        (found,) = every(VXLAN, Addr, pod)
        assert found.address == f"{addressing.pod[pod]}/24"
    assert {r.ns for r in every(VXLAN, Netns)} == {*NAMES, *POD_NAMES, "core1", "out1", "rack-a"}
