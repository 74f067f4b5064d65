"""What goes wrong most often with Weave Net, each as a test that fails when it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_parts import every, interface
from small_plans import plan, spec

from emulator import stations
from emulator.compile import compile_spec
from emulator.datapath import fastdp, fastdp_esp
from emulator.degrade import degraded
from emulator.errors import SpecError
from emulator.faults import Fault, cables
from emulator.ipam import allocate
from emulator.oracle.breakable import interfaces
from emulator.plan import Plan
from emulator.plan.ovs import OvsDatapath, OvsVport, OvsVxlan
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
    Sysctl,
    Veth,
    Vxlan,
)
from emulator.plan.xfrm import XfrmPolicy, XfrmState
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
    inside = [r for r in own if r.name not in ("lo", "vxlan-6784") and r.ns[0] == "n"]
    assert len(inside) == 2 * (4 + 2) and {r.mtu for r in inside} == {1376}


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


def test_the_datapath_is_no_bridge_and_its_ports_are_a_cable_and_a_tunnel() -> None:
    for name in NAMES:
        assert [r.name for r in every(FASTDP, Bridge, name)] == ["weave"]
        assert every(FASTDP, OvsDatapath, name) == [OvsDatapath(name, "datapath")]
        cable = FASTDP.get((name, "device", "vethwe-bridge"))
        assert cable == Veth(name, "vethwe-bridge", name, "vethwe-datapath")
        assert every(FASTDP, OvsVport, name) == [OvsVport(name, "vethwe-datapath", "datapath")]
        assert interface(FASTDP, name, "vethwe-datapath").master == ""
        assert not [r for r in every(FASTDP, Addr, name) if r.dev == "datapath"]


def test_the_tunnel_has_neither_ends_nor_a_number_nor_a_table() -> None:
    """Flows say them, frame by frame; 6784 is UDP's here, the same number of TCP is the API's."""
    assert not every(FASTDP, Vxlan) and not every(FASTDP, Fdb)
    for name in NAMES:
        assert every(FASTDP, OvsVxlan, name) == [OvsVxlan(name, "vxlan-6784", "datapath", 6784)]


def test_the_tunnel_s_mtu_is_not_that_of_pods() -> None:
    """The kernel makes it as large as it can be: what is in it is measured before."""
    assert {interface(FASTDP, name, "vxlan-6784").mtu for name in NAMES} == {65535}


def test_every_router_knows_the_short_number_of_every_other() -> None:
    short: dict[str, set[str]] = {}
    for name in NAMES:
        (text,) = (r.text for r in every(FASTDP, File, name) if r.path.endswith("fastdp.conf"))
        for row in text.splitlines()[1:]:
            _, peer, number, _ = row.split()
            short.setdefault(peer, set()).add(number)
    assert short.keys() == {peer_name(name) for name in NAMES}
    assert all(len(found) == 1 for found in short.values())


@given(st.lists(st.text(min_size=1), unique=True, max_size=50))
def test_short_numbers_are_apart_have_12_bits_and_stay(names: list[str]) -> None:
    numbers = fastdp.short_numbers(names)
    assert len(set(numbers.values())) == len(names)
    assert all(0 <= number < 4096 for number in numbers.values())
    for count in range(len(names)):
        assert fastdp.short_numbers(names[:count]).items() <= numbers.items()


def test_more_routers_than_there_are_short_numbers() -> None:
    names = [f"n{i}" for i in range(4097)]
    assert len(set(fastdp.short_numbers(names[:4096]).values())) == 4096
    with pytest.raises(ValueError, match="4096"):
        fastdp.short_numbers(names)


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


# --- encryption --------------------------------------------------------------------------


def test_every_router_has_a_key_of_its_own_and_all_have_one_password() -> None:
    sealed = plan("weave", "sleeve", nodes=RACKS, encryption=True)
    own, passwords, known = set(), set(), set()
    for name in NAMES:
        (text,) = (r.text for r in every(sealed, File, name) if r.path.endswith("sleeve.conf"))
        rows = [row.split(maxsplit=3) for row in text.splitlines()]
        (private,) = (" ".join(row[1:]) for row in rows if row[0] == "private")
        own.add(private.replace("private", "public"))
        passwords |= {" ".join(row[1:]) for row in rows if row[0] == "password"}
        known |= {row[3] for row in rows if row[0] == "peer"}
    assert len(own) == NODES and known == own and len(passwords) == 1
    assert {r.argv[0] for r in every(sealed, Process)} == {"sleeve-nacl"}


def test_no_plan_holds_a_secret() -> None:
    text = plan("weave", "sleeve", encryption=True).text()
    assert "private {private key: n1 weave}" in text and "password {password 32: weave}" in text


ESP = plan("weave", "fastdp", nodes=RACKS, pods=PODS, encryption=True)


def test_two_states_for_each_other_node_and_a_policy_outward_alone() -> None:
    """What comes in by a state that is known needs no policy; the rules say that it must."""
    for name in NAMES:
        states, policies = every(ESP, XfrmState, name), every(ESP, XfrmPolicy, name)
        assert len(states) == 2 * (NODES - 1) and len(policies) == NODES - 1
        for policy in policies:
            assert (policy.dir, policy.mark, policy.mask) == ("out", 0x20000, 0x20000)
            selector, template = policy.selector, policy.template
            assert (selector.proto, selector.src) == ("udp", f"{AT.node[name]}/32")
            assert template.mode == "transport"
            found = [r for r in states if r.spi == template.spi]
            assert [(r.src, r.dst) for r in found] == [(template.src, template.dst)]


def test_both_ends_hold_the_same_state_under_the_same_key() -> None:
    ends: dict[tuple[str, str, int], set[str]] = {}
    for state in every(ESP, XfrmState):
        assert (state.mode, state.icv_bit, state.esn, state.replay_window) == (
            "transport", 128, True, 256,
        )  # fmt: skip
        ends.setdefault((state.src, state.dst, state.spi), set()).add(state.secret)
    assert len(ends) == NODES * (NODES - 1)
    keys = [secret for found in ends.values() for secret in found]
    assert len(keys) == len(set(keys)) == len(ends), "a key for each direction"
    assert all(spi > 0xFF for _, _, spi in ends), "the numbers below are reserved"


def test_what_is_for_the_tunnel_s_port_without_esp_is_dropped_on_both_sides() -> None:
    for name in NAMES:
        marks, drops = table(ESP, name, "mangle"), table(ESP, name, "filter")
        for state in every(ESP, XfrmState, name):
            if state.dst == AT.node[name]:
                way = f"ip saddr {state.src} ip daddr {state.dst}"
                assert f"{way} esp spi {state.spi} jump WEAVE-IPSEC-IN-MARK" in marks
                guard = "udp dport 6784 meta mark & 0x00020000 != 0x00020000 drop"
                assert f"{way} {guard}" in drops
            else:
                way = f"ip saddr {state.src} ip daddr {state.dst}"
                assert f"{way} udp dport 6784 jump WEAVE-IPSEC-OUT-MARK" in marks
        guard = "rt ipsec missing meta mark & 0x00020000 == 0x00020000 drop"
        assert f"ip protocol != esp {guard}" in drops


def test_the_chain_that_marks_anew_has_to_route_anew() -> None:
    """A policy that looks at a mark is found only when the way is looked for after marking."""
    assert "type route hook output priority mangle" in table(ESP, "n1", "mangle")


@pytest.mark.parametrize(("links", "room"), [(1460, 1376), (1459, 0)])
def test_the_constant_mtu_has_room_for_esp_where_google_s_cloud_has(links: int, room: int) -> None:
    assert fastdp_esp.overhead(1376 + 14 + 8 + 8) == 34
    if room:
        made = plan("weave", "fastdp", mtu=links, encryption=True)
        assert interface(made, "n1-p1", "eth0").mtu == room
    else:
        with pytest.raises(SpecError, match="1372: VXLAN and ESP add 84 bytes"):
            plan("weave", "fastdp", mtu=links, encryption=True)


def test_without_encryption_there_is_nothing_of_it() -> None:
    assert not every(FASTDP, XfrmState) and not every(FASTDP, XfrmPolicy)
    assert "IPSEC" not in FASTDP.text() and "IPSEC" not in SLEEVE.text()
