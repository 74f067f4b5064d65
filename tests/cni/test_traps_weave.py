"""What goes wrong most often with Weave Net, each as a test that fails when it does."""

from __future__ import annotations

import pytest
from plan_parts import every, interface
from small_plans import plan, spec

from emulator import stations
from emulator.compile import compile_spec
from emulator.degrade import degraded
from emulator.errors import SpecError
from emulator.faults import Fault, cables
from emulator.ipam import allocate
from emulator.oracle.breakable import interfaces
from emulator.plan import Plan
from emulator.plan.resources import (
    FLOOD,
    Addr,
    Bridge,
    Fdb,
    Interface,
    Neigh,
    NftTable,
    Process,
    Route,
    Sysctl,
    Veth,
    Vxlan,
)
from emulator.ring import peer_name

NODES, PODS = 3, 2
NAMES = [f"n{i}" for i in range(1, NODES + 1)]
POD_NAMES = [f"{node}-p{i}" for node in NAMES for i in range(1, PODS + 1)]
RACKS = ("rack-a", "rack-a", "rack-b")
SPEC = spec("weave", "fastdp", nodes=RACKS, pods=PODS)
FASTDP = compile_spec(SPEC)
SLEEVE = plan("weave", "sleeve", nodes=RACKS, pods=PODS)
AT = allocate(SPEC)

each_layout = pytest.mark.parametrize("made", [FASTDP, SLEEVE], ids=["fastdp", "sleeve"])


def ports(made: Plan, ns: str, bridge: str) -> list[Interface]:
    return [r for r in every(made, Interface, ns) if r.master == bridge]


def table(made: Plan, ns: str, name: str) -> str:
    found = made.get((ns, "nft", f"ip {name}"))
    assert type(found) is NftTable
    return found.text


# --- one segment -------------------------------------------------------------------------


@each_layout
def test_pods_and_bridges_have_the_mask_of_the_whole_range(made: Plan) -> None:
    own = [r.address for r in every(made, Addr) if r.address.startswith("10.")]
    assert len(own) == NODES + NODES * PODS
    assert all(address.endswith("/12") for address in own)


@each_layout
def test_nothing_is_routed_to_pods(made: Plan) -> None:
    """Not by a subnet of a node and not one by one: the connected route is all there is."""
    routes = {r.dst for name in NAMES for r in every(made, Route, name)}
    assert routes == {"default"}
    assert not every(made, Neigh)


@each_layout
def test_a_pod_leaves_by_its_own_node(made: Plan) -> None:
    for pod in SPEC.pods:
        assert every(made, Route, pod.id) == [
            Route(pod.id, "default", AT.gateway[pod.node], "eth0")
        ]


def test_a_bridge_s_address_is_not_always_the_first_host_of_something() -> None:
    """Only the range's own first address is left out, not that of a peer's share."""
    assert sorted(AT.gateway.values()) == ["10.32.0.1", "10.40.0.0", "10.44.0.0"]


def test_no_route_for_multicast() -> None:
    """Containers of Docker get one; the CNI plugin asks for none."""
    assert not [r for r in every(FASTDP, Route) if r.dst.startswith("224")]
    for name in POD_NAMES:
        rules = table(FASTDP, name, "filter").splitlines()[3:5]
        assert [rule.strip() for rule in rules] == [
            'iifname "eth0" ip saddr 10.32.0.0/12 ip daddr 224.0.0.0/4 accept',
            'iifname "eth0" ip daddr 224.0.0.0/4 drop',
        ]


# --- the bridge --------------------------------------------------------------------------


@each_layout
def test_the_bridge_has_the_peer_s_name_for_its_address(made: Plan) -> None:
    found = {name: interface(made, name, "weave").mac for name in NAMES}
    assert found == {name: peer_name(name) for name in NAMES}


@each_layout
def test_a_port_for_each_pod_and_one_that_leads_away(made: Plan) -> None:
    """Hairpin belongs to pods alone: on the other it would send every broadcast back."""
    for name in NAMES:
        found = {port.name: port.hairpin for port in ports(made, name, "weave")}
        assert len(found) == PODS + 1
        assert found.pop("vethwe-bridge") is False
        assert all(found.values())
        assert all(len(port) == 15 and port.startswith("vethwepl") for port in found)


@each_layout
def test_arp_forgets_early_on_the_bridge_and_in_pods(made: Plan) -> None:
    wanted = {"base_reachable_time": "5", "delay_first_probe_time": "2", "ucast_solicit": "1"}
    for ns, dev in [*((n, "weave") for n in NAMES), *((p, "eth0") for p in POD_NAMES)]:
        settings = {r.name: r.value for r in every(made, Sysctl, ns)}
        at = f"net/ipv4/neigh/{dev}"
        assert {k: settings.get(f"{at}/{k}") for k in wanted} == wanted


# --- fastdp ------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [1500, 9000])
def test_the_mtu_is_a_constant_and_does_not_follow_the_links(links: int) -> None:
    made = plan("weave", "fastdp", mtu=links)
    own = [r for r in every(made, Interface) if r.name not in ("lo", "eth0") or "-p" in r.ns]
    inside = [r for r in own if r.name != "lo" and r.ns[0] == "n"]
    assert len(inside) == 2 * (5 + 2) and {r.mtu for r in inside} == {1376}


def test_the_mtu_is_the_user_s_where_there_is_one() -> None:
    wide = spec("weave", "fastdp")._replace(links=SPEC.links._replace(mtu=9000))
    options = tuple((k, 8916 if k == "mtu" else v) for k, v in wide.network.options)
    wide = wide._replace(network=wide.network._replace(options=options))
    assert interface(compile_spec(wide), "n1-p1", "eth0").mtu == 8916


def test_links_that_are_too_narrow_are_refused_with_the_way_out() -> None:
    plan("weave", "fastdp", mtu=1426)
    with pytest.raises(SpecError, match="backend: sleeve, or mtu: 1375"):
        plan("weave", "fastdp", mtu=1425)
    plan("weave", "sleeve", mtu=1425)


def test_frames_pass_the_same_devices_as_with_open_vswitch() -> None:
    for name in NAMES:
        assert FASTDP.get((name, "device", "datapath")) == Bridge(name, "datapath")
        cable = FASTDP.get((name, "device", "vethwe-bridge"))
        assert cable == Veth(name, "vethwe-bridge", name, "vethwe-datapath")
        assert {r.name for r in ports(FASTDP, name, "datapath")} == {
            "vethwe-datapath",
            "vxlan-6784",
        }
        assert not [r for r in every(FASTDP, Addr, name) if r.dev == "datapath"]


def test_vxlan_learns_and_floods_to_every_other_node_once() -> None:
    """Unlike flannel's it knows no MAC address beforehand; port 6784 is UDP here."""
    for tunnel in every(FASTDP, Vxlan):
        assert (tunnel.name, tunnel.port, tunnel.learning) == ("vxlan-6784", 6784, True)
        found = [(r.lladdr, r.dst) for r in every(FASTDP, Fdb, tunnel.ns)]
        others = [AT.node[name] for name in NAMES if name != tunnel.ns]
        assert sorted(found) == sorted((FLOOD, other) for other in others)


# --- sleeve ------------------------------------------------------------------------------


def test_sleeve_has_neither_a_tunnel_nor_a_datapath() -> None:
    assert not every(SLEEVE, Vxlan) and not every(SLEEVE, Fdb)
    for name in NAMES:
        assert {r.name for r in every(SLEEVE, Bridge, name)} == {"weave"}
        assert interface(SLEEVE, name, "vethwe-pcap").master == ""
        assert [r.name for r in every(SLEEVE, Process, name)] == ["weaver"]


def test_sleeve_s_devices_have_the_largest_mtu() -> None:
    inside = [interface(SLEEVE, name, "weave") for name in NAMES]
    inside += [interface(SLEEVE, name, "eth0") for name in POD_NAMES]
    inside += [port for name in NAMES for port in ports(SLEEVE, name, "weave")]
    assert {r.mtu for r in inside} == {65535}


def test_checksums_are_complete_where_frames_leave_by_user_space() -> None:
    for name in NAMES:
        assert not interface(SLEEVE, name, "weave").tx
        assert interface(SLEEVE, name, "vethwe-bridge").tx
    assert not any(interface(SLEEVE, name, "eth0").tx for name in POD_NAMES)
    assert all(r.tx for r in every(FASTDP, Interface))


# --- rules -------------------------------------------------------------------------------


@each_layout
def test_rules_of_the_chain_in_their_order(made: Plan) -> None:
    rules = table(made, "n1", "nat").partition("chain WEAVE {\n")[2].splitlines()[:4]
    r = "10.32.0.0/12"
    assert [rule.strip() for rule in rules] == [
        "ip daddr @weaver-no-masq-local return",
        f"ip saddr {r} ip daddr 224.0.0.0/4 return",
        f"ip saddr != {r} ip daddr {r} masquerade",
        f"ip saddr {r} ip daddr != {r} masquerade",
    ]


def test_the_set_is_what_the_node_owns_and_not_what_its_pods_have() -> None:
    for name in NAMES:
        (block,) = AT.blocks[name]
        assert f"elements = {{ {block} }}" in table(FASTDP, name, "nat")


def test_without_the_option_what_comes_from_outside_loses_its_source() -> None:
    text = table(plan("weave", "fastdp", noMasqLocal=False), "n1", "nat")
    assert "weaver-no-masq-local" not in text
    assert "ip saddr != 10.32.0.0/12 ip daddr 10.32.0.0/12 masquerade" in text


def test_the_range_is_podcidr() -> None:
    other = compile_spec(spec("weave", "fastdp")._replace(pod_cidrs=("10.96.0.0/20",)))
    assert interface(other, "n1", "weave")
    assert {r.address[-3:] for r in every(other, Addr) if r.dev == "weave"} == {"/20"}
    assert "ip daddr 10.96.0.0/20 accept" in table(other, "n1", "filter")
    assert "10.32" not in other.text()


# --- faults ------------------------------------------------------------------------------


def test_what_can_fail_on_a_node() -> None:
    own = {"eth0", "weave", "vethwe-bridge", "vethwe-datapath", "datapath", "vxlan-6784"}
    assert set(interfaces(SPEC)["n1"]) == own


def test_a_node_that_is_cut_off_keeps_what_is_inside_of_it() -> None:
    """The pair between its two bridges is no cable of the topology."""
    broken = degraded(FASTDP, [Fault("node", "n1")], cables(SPEC), {})
    assert interface(broken, "n1", "vethwe-bridge").up
    assert interface(broken, "n1", "vethwe-datapath").up
    assert not interface(broken, "n1", next(r.name for r in pods_ends(broken))).up


def test_a_pair_within_a_node_is_no_cable_for_mininet_either() -> None:
    shown = stations.cables(SPEC, FASTDP)
    assert len(shown) == len(SPEC.nodes) + len(SPEC.pods) + len(SPEC.hosts) + 2  # a router's two
    assert all(cable.station1 != cable.station2 for cable in shown)


def pods_ends(made: Plan) -> list[Interface]:
    return [r for r in ports(made, "n1", "weave") if r.name.startswith("vethwepl")]


def test_a_pod_that_takes_an_old_address_would_be_sought_at_the_old_mac_address() -> None:
    """Weave's plugin sends a gratuitous ARP; addresses are given again soon, the lowest first."""
    for pod in ("n1-p1", "n2-p1"):
        found = FASTDP.get((pod, "sysctl", "net/ipv4/conf/eth0/arp_notify"))
        assert type(found) is Sysctl and found.value == "1"
