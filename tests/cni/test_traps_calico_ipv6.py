"""What is easily got wrong with Calico and IPv6: alone, and beside IPv4."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest
from plan_parts import every, interface
from small_plans import plan, spec

from emulator.compile import compile_spec, faulted
from emulator.datapath.inet import link_local
from emulator.faults import Fault
from emulator.ipam import allocate
from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Fdb,
    File,
    Hop,
    Neigh,
    NftTable,
    Process,
    Route,
    Vxlan,
)
from emulator.spec.resolved import ResolvedSpec

RACKS = ("rack-a", "rack-a", "rack-b")
NODES = ("n1", "n2", "n3")
VXLAN_SPEC = spec("calico", "vxlan", nodes=RACKS, pods=2, families="46")
VXLAN = compile_spec(VXLAN_SPEC)
BGP_SPEC = spec("calico", "bgp", nodes=3, pods=1, families="46")
BGP = compile_spec(BGP_SPEC)
SIX = plan("calico", "bgp", nodes=3, families="6")
FABRIC = spec(
    "calico",
    "bgp",
    nodes=RACKS,
    families="46",
    nodeToNodeMeshEnabled=False,
    peerWithRouters=True,
)._replace(routing="bgp")


def learnt(spec: ResolvedSpec, made: Plan, node: str, *faults: Fault) -> dict[str, Route]:
    """The routes that a node's BIRDs are expected to write, by destination."""
    now = faulted(made, spec, allocate(spec), faults)
    return {r.dst: r for r in every(now, Route, node) if r.proto == "bird"}


def config(made: Plan, node: str, daemon: str = "bird6") -> str:
    found = made.get((node, "file", f"/run/calico/{daemon}.cfg"))
    assert type(found) is File
    return found.text


def table(made: Plan, family: str, name: str) -> str:
    found = made.get(("n1", "nft", f"{family} {name}"))
    return found.text if type(found) is NftTable else ""


# --- VXLAN -------------------------------------------------------------------------------


def test_pods_have_the_mtu_of_the_narrower_tunnel_and_each_tunnel_its_own() -> None:
    """Other than flannel's, whose pods have what IPv4 leaves."""
    assert interface(VXLAN, "n1", "vxlan.calico").mtu == 1450
    assert interface(VXLAN, "n1", "vxlan-v6.calico").mtu == 1430
    assert interface(VXLAN, "n1-p1", "eth0").mtu == 1430
    said = VXLAN.get(("n1", "file", "/var/lib/calico/mtu"))
    assert type(said) is File and said.text == "1430"
    assert interface(plan("calico", "vxlan"), "n1-p1", "eth0").mtu == 1450
    assert interface(BGP, "n1-p1", "eth0").mtu == 1500


def test_the_mac_address_of_the_second_tunnel_comes_from_another_name() -> None:
    """66 and the first five bytes of sha1("n1-v6"): of one name both would be the same."""
    assert interface(VXLAN, "n1", "vxlan-v6.calico").mac == "66:46:32:55:72:28"
    assert interface(VXLAN, "n1", "vxlan.calico").mac == "66:40:b3:ea:b6:3f"


def test_a_tunnels_link_local_address_is_made_of_that_mac_address() -> None:
    (own,) = [a for a in every(VXLAN, Addr, "n1", "vxlan-v6.calico") if a.scope == "link"]
    assert own.address == f"{link_local('66:46:32:55:72:28')}/64"


def test_each_tunnel_has_the_entries_of_its_family_and_no_others() -> None:
    at, six = allocate(VXLAN_SPEC).families
    for one, dev in ((at, "vxlan.calico"), (six, "vxlan-v6.calico")):
        (device,) = [v for v in every(VXLAN, Vxlan, "n1") if v.name == dev]
        assert (device.vni, device.port, device.local) == (4096, 4789, one.node["n1"])
        own = [a.address for a in every(VXLAN, Addr, "n1", dev) if a.scope == "global"]
        assert own == [f"{one.tunnel['n1']}/{one.family.bits}"]
        routes = every(VXLAN, Route, "n1", dev)
        assert {(r.dst, r.via) for r in routes} == {
            (one.blocks[p][0], one.tunnel[p]) for p in NODES[1:]
        }
        assert all(r.onlink and r.proto == "80" for r in routes)
        assert {n.address for n in every(VXLAN, Neigh, "n1", dev)} == {
            one.tunnel[p] for p in NODES[1:]
        }
        assert {f.dst for f in every(VXLAN, Fdb, "n1", dev)} == {one.node[p] for p in NODES[1:]}


@pytest.mark.parametrize("made", [VXLAN, BGP, SIX], ids=["vxlan", "bgp", "ipv6"])
def test_an_address_that_no_pod_has_would_go_back_to_the_default_route(made: Plan) -> None:
    for node in NODES:
        holes = {r.dst.partition("/")[2] for r in every(made, Route, node) if r.type == "blackhole"}
        assert holes == ({"122"} if made is SIX else {"26", "122"})


def test_a_blackhole_for_a_block_of_one_address_would_hide_the_pod() -> None:
    for backend in ("bgp", "vxlan"):
        made = plan("calico", backend, pods=2, families="6", blockSizeIPv6=128)
        assert not [r for r in every(made, Route) if r.type == "blackhole"]
        assert not any(" blackhole" in file.text for file in every(made, File))


# --- rules -------------------------------------------------------------------------------


def test_a_pool_of_ipv6_is_not_masqueraded_unless_it_is_asked_for() -> None:
    """And the rule of IPv4 says nothing about it."""
    assert "fully-random" in table(BGP, "ip", "nat")
    nat = table(BGP, "ip6", "nat")
    assert "masquerade" not in nat
    assert re.findall(r"elements = \{ (.*) \}", nat) == ["fd00:10:244::/56"]
    asked = table(plan("calico", "bgp", families="46", natOutgoingIPv6=True), "ip6", "nat")
    rule = "ip6 saddr @cali60masq-ipam-pools ip6 daddr != @cali60network-ip-pools masquerade"
    assert rule in asked
    only = plan("calico", "bgp", families="46", natOutgoing=False, natOutgoingIPv6=True)
    assert "masquerade" not in table(only, "ip", "nat")


def test_vxlan_over_ipv6_would_come_in_from_everywhere() -> None:
    guard = table(VXLAN, "ip6", "filter")
    assert "udp dport 4789 ip6 saddr @cali60all-vxlan-net fib daddr type local accept" in guard
    others = list(allocate(VXLAN_SPEC).others[0].node.values())[1:]
    assert re.findall(r"fd00:\S*[0-9a-f]", guard) == others
    assert table(VXLAN, "ip6", "raw").count("udp dport 4789 notrack") == 2
    rules = [row for row in table(VXLAN, "ip6", "nat").splitlines() if "vxlan" in row]
    assert len(rules) == 2 and all('oifname "vxlan-v6.calico"' in row for row in rules)


# --- BGP ---------------------------------------------------------------------------------


def test_each_family_has_a_daemon_that_knows_nothing_of_the_other() -> None:
    for node in NODES:
        assert {p.name for p in every(BGP, Process, node)} == {"bird", "bird6"}
        assert {p.name for p in every(SIX, Process, node)} == {"bird6"}
        assert "ipv4" not in config(BGP, node) and "10.244." not in config(BGP, node)
        assert "ipv6" not in config(BGP, node, "bird") and "fd00:" not in config(BGP, node, "bird")
    sockets = {p.argv[-2] for p in every(BGP, Process, "n1")}
    assert sockets == {"/run/calico/bird.ctl", "/run/calico/bird6.ctl"}


def test_a_router_id_has_32_bits_whatever_the_family() -> None:
    assert "router id 192.168.1.11;" in config(BGP, "n1")
    found = {re.findall(r"router id (\S+);", config(SIX, node))[0] for node in NODES}
    assert len(found) == 3
    for text in found:
        assert ip_address(text).version == 4 and int(text.partition(".")[0]) < 224
    many = plan("calico", "bgp", nodes=13, pods=0, families="6")
    assert "router id 212." in config(many, "n13"), "244 would be multicast, or nothing at all"


def test_no_colon_stands_in_a_sessions_name() -> None:
    assert "protocol bgp 'Mesh_fd00_192_168_1__c' from bgp_template" in config(BGP, "n1")


def test_of_two_ends_exactly_one_waits() -> None:
    """As text fd00:192:168:1::11 is less than fd00:192:168:1::b, so n7 waits for n1."""
    made = compile_spec(spec("calico", "bgp", nodes=7, pods=0, families="6"))
    at = allocate(spec("calico", "bgp", nodes=7, pods=0, families="6"))
    assert at.node["n7"] < at.node["n1"]

    def waits(near: str, far: str) -> bool:
        parts = config(made, near).split("protocol bgp ")
        (body,) = [part for part in parts if f"neighbor {at.node[far]} as" in part]
        return "passive on" in body

    assert waits("n7", "n1") and not waits("n1", "n7")


def test_bird_learns_each_family_and_one_that_dies_takes_no_routes_of_the_other() -> None:
    at, six = allocate(BGP_SPEC).families
    both = {one.blocks[node][0] for one in (at, six) for node in NODES}
    assert set(learnt(BGP_SPEC, BGP, "n1")) == both
    died = Fault("daemon", "n2:bird6")
    assert set(learnt(BGP_SPEC, BGP, "n1", died)) == both - {six.blocks["n2"][0]}
    assert set(learnt(BGP_SPEC, BGP, "n2", died)) == both
    assert set(learnt(BGP_SPEC, BGP, "n1", Fault("daemon", "n2:bird"))) == both - {
        at.blocks["n2"][0]
    }


def test_ipv6s_own_metric_is_the_one_that_calico_chooses() -> None:
    """1024, for which a plan says nothing; BIRD 2 would write 32."""
    six = allocate(BGP_SPEC).others[0]
    found = learnt(BGP_SPEC, BGP, "n1")
    assert found[six.blocks["n2"][0]].metric == 0
    assert re.search(r"protocol kernel \{[^}]*metric 0;", config(BGP, "n1"))


def test_a_router_is_reached_by_the_link_local_address_that_it_tells_of() -> None:
    """In IPv4 by the address that the session is with."""
    at, six = allocate(FABRIC).families
    made = compile_spec(FABRIC)
    found = learnt(FABRIC, made, "n1")
    mac = interface(made, "core1", "eth0").mac
    assert found[six.blocks["n2"][0]].next_hops == (Hop(link_local(mac), "eth0"),)
    assert found[at.blocks["n2"][0]].next_hops == (Hop(at.router["core1", "rack-a"], "eth0"),)
    assert {r.metric for r in found.values() if r.next_hops[0].via} == {2**31 - 101}


def test_routers_forget_the_blocks_of_the_family_whose_daemon_died() -> None:
    addressing = allocate(FABRIC)
    at, six = addressing.families
    now = faulted(compile_spec(FABRIC), FABRIC, addressing, [Fault("daemon", "n1:bird6")])
    known = {r.dst for r in every(now, Route, "core1")}
    assert at.blocks["n1"][0] in known and six.blocks["n1"][0] not in known
    assert six.blocks["n2"][0] in known


def test_ipv4_is_the_same_with_ipv6_beside_it() -> None:
    for both in (FABRIC, BGP_SPEC):
        only = both._replace(
            pod_cidrs=both.pod_cidrs[:1],
            node_prefixes=both.node_prefixes[:1],
            segments=tuple(s._replace(cidrs=s.cidrs[:1]) for s in both.segments),
        )
        routes = [r for r in every(compile_spec(both), Route) if ":" not in r.dst]
        assert routes == every(compile_spec(only), Route)
