"""One test for each mistake that is easily made with kube-router."""

from __future__ import annotations

import hashlib
import tomllib
from typing import Any, TypeVar

import pytest
from small_plans import plan, spec

from emulator.compile import compile_spec, faulted
from emulator.errors import PodwireError
from emulator.faults import Fault
from emulator.ipam import allocate
from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Bridge,
    File,
    Fou,
    Interface,
    NftTable,
    Process,
    Resource,
    Route,
    Rule,
    Sysctl,
    Tunnel,
)
from emulator.substrate.daemons import gobgp_routes

T = TypeVar("T", bound=Resource)

ONE_RACK = plan("kube-router", nodes=4, pods=2)
RACKS = ("rack-a", "rack-a", "rack-b", "rack-b")
TWO_RACKS = plan("kube-router", nodes=RACKS, enableOverlay=False)
OVERLAY = plan("kube-router", nodes=RACKS)


def of(made: Plan, kind: type[T], ns: str) -> list[T]:
    return [r for e in made if type(r := e.resource) is kind and r.ns == ns]


def told(made: Plan, node: str) -> dict[str, Any]:
    """gobgpd's configuration."""
    (file,) = of(made, File, node)
    return tomllib.loads(file.text)


def neighbours(made: Plan, node: str) -> set[str]:
    return {n["config"]["neighbor-address"] for n in told(made, node).get("neighbors", ())}


def policy(made: Plan, node: str, name: str) -> list[tuple[str, str, str]]:
    (found,) = (p for p in told(made, node)["policy-definitions"] if p["name"] == name)
    return [
        (
            s["conditions"]["match-prefix-set"]["prefix-set"],
            s["conditions"]["match-neighbor-set"]["neighbor-set"],
            s["actions"]["route-disposition"],
        )
        for s in found["statements"]
    ]


def prefixes(made: Plan, node: str, name: str) -> dict[str, str]:
    sets = told(made, node)["defined-sets"]["prefix-sets"]
    (found,) = (one["prefix-list"] for one in sets if one["prefix-set-name"] == name)
    return {one["ip-prefix"]: one["masklength-range"] for one in found}


def learnt(made: Plan, node: str) -> dict[str, str]:
    """Where the watcher sends each subnet."""
    theirs = (e for e in made if e.owner == "expected" and e.writer == "watcher")
    return {r.dst: r.via for e in theirs if type(r := e.resource) is Route and r.ns == node}


def rules(made: Plan, node: str, table: str) -> str:
    return next(t.text for t in of(made, NftTable, node) if t.name == table)


def after(*faults: Fault, **options: Any) -> Plan:
    about = spec("kube-router", **{"nodes": 3, **options})
    at = allocate(about)
    return faulted(compile_spec(about, at), about, at, faults)


def dead(target: str) -> Fault:
    return Fault("daemon", target)


# --- pods ---------------------------------------------------------------------------------


def test_the_bridge_is_kube_routers_with_hairpin_and_no_route_for_the_cluster() -> None:
    assert [b.name for b in of(ONE_RACK, Bridge, "n1")] == ["kube-bridge"]
    ports = [i for i in of(ONE_RACK, Interface, "n1") if i.master]
    assert len(ports) == 2
    assert all(i.master == "kube-bridge" and i.hairpin for i in ports)
    assert [(r.dst, r.via) for r in of(ONE_RACK, Route, "n1-p1")] == [("default", "10.244.1.1")]


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_pods_have_the_mtu_of_the_uplink_whatever_overlay_says(mtu: int) -> None:
    """The help text speaks of room for IPIP; the code leaves none."""
    made = plan("kube-router", mtu=mtu, enableOverlay=True)
    for ns, dev in (("n1-p1", "eth0"), ("n1", "kube-bridge"), ("n1", "eth0")):
        assert [i.mtu for i in of(made, Interface, ns) if i.name == dev] == [mtu]


def test_reverse_path_filters_are_left_alone_where_they_are_not_strict() -> None:
    """kube-router makes a strict one loose; here there is none."""
    found = {s.name: s.value for s in of(ONE_RACK, Sysctl, "n1") if s.name.endswith("rp_filter")}
    scopes = ("all", "default", "eth0", "kube-bridge")
    assert found == {f"net/ipv4/conf/{scope}/rp_filter": "0" for scope in scopes}


# --- rules --------------------------------------------------------------------------------


def test_what_goes_to_a_node_is_not_masqueraded() -> None:
    text = rules(ONE_RACK, "n1", "nat")
    (rule,) = (row.strip() for row in text.splitlines() if "masquerade" in row)
    assert rule == (
        "ip saddr @kube-router-pod-subnets ip daddr != @kube-router-pod-subnets "
        "ip daddr != @kube-router-node-ips masquerade fully-random"
    )
    for number in range(1, 5):
        assert f"192.168.1.{10 + number}" in text, "all nodes, our own included"
        assert f"10.244.{number}.0/24" in text


def test_without_pod_egress_nothing_is_masqueraded() -> None:
    made = plan("kube-router", enablePodEgress=False)
    assert [t.name for t in of(made, NftTable, "n1")] == ["filter"]


def test_forwarding_is_accepted_into_and_out_of_the_bridge_and_out_of_the_uplink() -> None:
    rows = [
        row.strip() for row in rules(ONE_RACK, "n1", "filter").splitlines() if "accept c" in row
    ]
    assert [row.partition(" accept")[0] for row in rows] == [
        'oifname "eth0"', 'oifname "kube-bridge"', 'iifname "kube-bridge"',
    ]  # fmt: skip


# --- routes -------------------------------------------------------------------------------


def test_routes_have_protocol_17_which_is_not_zebras() -> None:
    routes = [r for r in of(ONE_RACK, Route, "n1") if r.dst.startswith("10.244.")]
    assert [(r.dst, r.via, r.dev) for r in routes] == [
        (f"10.244.{n}.0/24", f"192.168.1.{10 + n}", "eth0") for n in (2, 3, 4)
    ]
    assert {(r.proto, r.scope, r.table) for r in routes} == {("17", "global", 254)}


def test_they_are_the_watchers_and_not_ours() -> None:
    theirs = {e.owner for e in ONE_RACK if getattr(e.resource, "proto", "") == "17"}
    assert theirs == {"expected"}


def test_without_overlay_there_are_routes_to_the_own_subnet_alone() -> None:
    assert learnt(TWO_RACKS, "n1") == {"10.244.2.0/24": "192.168.1.12"}
    assert learnt(TWO_RACKS, "n3") == {"10.244.4.0/24": "192.168.2.12"}


def test_table_77_is_asked_with_overlay_only_and_holds_nothing_without_tunnels() -> None:
    for number in range(1, 5):
        selector = f"from 10.244.{number}.0/24"
        assert of(ONE_RACK, Rule, f"n{number}") == [Rule(f"n{number}", 32765, selector, 77)]
        assert of(TWO_RACKS, Rule, f"n{number}") == []
    assert {r.table for e in ONE_RACK if type(r := e.resource) is Route} == {254}


# --- tunnels ------------------------------------------------------------------------------


def tunnels(made: Plan, node: str) -> dict[str, Tunnel]:
    """By the far end's address."""
    return {t.remote: t for t in of(made, Tunnel, node)}


def mtu(made: Plan, node: str, dev: str) -> int:
    return next(i.mtu for i in of(made, Interface, node) if i.name == dev)


def test_a_tunnel_leads_to_each_node_of_another_subnet_and_to_no_neighbour() -> None:
    assert set(tunnels(OVERLAY, "n1")) == {"192.168.2.11", "192.168.2.12"}
    assert set(tunnels(OVERLAY, "n3")) == {"192.168.1.11", "192.168.1.12"}
    assert of(ONE_RACK, Tunnel, "n1") == of(TWO_RACKS, Tunnel, "n1") == []
    full = plan("kube-router", nodes=RACKS, overlayType="full")
    assert len(tunnels(full, "n1")) == 3
    assert {r.via for r in of(full, Route, "n1") if r.proto == "17"} == {""}


def test_its_name_is_a_hash_of_the_address_without_dots() -> None:
    (one,) = (t for t in of(OVERLAY, Tunnel, "n1") if t.remote == "192.168.2.11")
    digest = hashlib.sha256(b"192168211").hexdigest()
    assert one.name == f"tun-{digest[:11]}"
    assert len(one.name) == 15


def test_two_nodes_whose_addresses_have_the_same_digits_cannot_be_told_apart() -> None:
    about = spec("kube-router", nodes=("rack-a", "rack-b", "rack-c"))
    cidrs = {"rack-b": "1.11.1.0/31", "rack-c": "11.1.1.0/31"}
    segments = [s._replace(cidrs=(cidrs.get(s.name, *s.cidrs),)) for s in about.segments]
    about = about._replace(segments=tuple(segments), routers=())
    at = allocate(about)
    assert {at.node["n2"], at.node["n3"]} == {"1.11.1.0", "11.1.1.0"}
    with pytest.raises(PodwireError, match="tun-"):
        compile_spec(about, at)


def test_a_route_into_a_tunnel_has_the_nodes_own_address_as_source() -> None:
    """The tunnel has none, and pods of the other side would not know where to answer."""
    route = next(r for r in of(OVERLAY, Route, "n1") if r.dst == "10.244.3.0/24")
    dev = tunnels(OVERLAY, "n1")["192.168.2.11"].name
    assert route == Route("n1", "10.244.3.0/24", "", dev, proto="17", src="192.168.1.11")
    assert not [a for a in of(OVERLAY, Addr, "n1") if a.dev == dev]
    assert {e.owner for e in OVERLAY if e.resource == route} == {"expected"}


def test_table_77_holds_the_far_nodes_own_addresses_for_pods_alone() -> None:
    routes = [r for r in of(OVERLAY, Route, "n1") if r.table == 77]
    assert {(r.dst, r.dev) for r in routes} == {
        (f"{address}/32", t.name) for address, t in tunnels(OVERLAY, "n1").items()
    }
    assert of(OVERLAY, Rule, "n1") == [Rule("n1", 32765, "from 10.244.1.0/24", 77)]
    main = [r for r in of(OVERLAY, Route, "n1") if r.table == 254]
    assert not any(r.dst.startswith("192.168.2.") for r in main), "a node's own go past it"


def test_pods_are_not_spared_what_a_tunnel_takes() -> None:
    """Their packets come back as too big: of the overlay only its tunnels know."""
    dev = tunnels(OVERLAY, "n1")["192.168.2.11"].name
    assert mtu(OVERLAY, "n1", dev) == 1480
    assert mtu(OVERLAY, "n1", "kube-bridge") == mtu(OVERLAY, "n1-p1", "eth0") == 1500


@pytest.mark.parametrize(("encap", "widths"), [("ipip", {1480, 1452}), ("fou", {1468, 1440})])
def test_what_a_tunnel_takes_in_each_family(encap: str, widths: set[int]) -> None:
    made = plan("kube-router", nodes=("rack-a", "rack-b"), families="46", overlayEncap=encap)
    found = of(made, Tunnel, "n1")
    assert {t.device for t in found} == {"ipip", "ip6tnl"}
    assert {mtu(made, "n1", t.name) for t in found} == widths


def test_fou_is_gue_and_one_port_of_the_node_takes_in_all_of_a_family() -> None:
    made = plan("kube-router", nodes=RACKS, overlayEncap="fou", overlayEncapPort=6666)
    assert {(t.encap, t.sport, t.dport, t.ttl) for t in of(made, Tunnel, "n1")} == {
        ("gue", 0, 6666, 225)
    }
    assert of(made, Fou, "n1") == [Fou("n1", 6666, "gue")]
    assert of(OVERLAY, Fou, "n1") == []
    both = plan("kube-router", nodes=("rack-a", "rack-b"), families="46", overlayEncap="fou")
    assert {f.family for f in of(both, Fou, "n1")} == {"ip", "ip6"}
    assert {f.port for f in of(both, Fou, "n1")} == {5555}


def test_what_makes_a_tunnel_leaves_its_own_defaults() -> None:
    """iproute2, which makes those in GUE, checks UDP over IPv6 and is told what is inside; the
    library takes anything."""
    for encap, six, any_mode in (("fou", True, False), ("ipip", False, True)):
        made = plan("kube-router", nodes=("rack-a", "rack-b"), families="46", overlayEncap=encap)
        found = {t.device: (t.csum, t.any_mode) for t in of(made, Tunnel, "n1")}
        assert found == {"ipip": (False, any_mode), "ip6tnl": (six, any_mode)}


def test_a_node_that_is_not_heard_of_has_no_route_through_its_tunnel() -> None:
    made = after(dead("n3:gobgpd"), nodes=("rack-a", "rack-a", "rack-b"))
    assert set(learnt(made, "n1")) == {"10.244.2.0/24"}
    assert not [r for r in of(made, Route, "n1") if r.table == 77]
    assert tunnels(made, "n1"), "which stands all the same"
    assert [r.dst for r in of(made, Route, "n3") if r.table == 77], "it forgets nothing itself"


def test_a_tunnel_does_not_hang_by_the_uplink() -> None:
    """Who has gone deaf before it went down goes on sending there."""
    nodes = ("rack-a", "rack-b")
    gone = after(dead("n1:gobgpd"), Fault("interface", "n1:eth0"), nodes=nodes)
    assert [r.dst for r in of(gone, Route, "n1") if r.proto == "17"] == ["10.244.2.0/24"]
    heard = after(Fault("interface", "n1:eth0"), nodes=nodes)
    assert not [r for r in of(heard, Route, "n1") if r.proto == "17"]


@pytest.mark.parametrize("six", [False, True])
def test_the_watcher_makes_of_a_path_what_the_plan_expects(six: bool) -> None:
    families = "46" if six else "4"
    made = plan("kube-router", nodes=("rack-a", "rack-a", "rack-b"), families=families)
    watcher = next(p for p in of(made, Process, "n1") if p.name == "watcher")
    settings = gobgp_routes.settings(watcher.argv[1:])
    at = allocate(spec("kube-router", nodes=("rack-a", "rack-a", "rack-b"), families=families))
    paths = [
        gobgp_routes.Best(one.node_subnet[peer], one.node[peer], "192.168.1.12", False)
        for one in at.families
        for peer in ("n2", "n3")
    ]
    written = [r._replace(ns="n1") for p in paths for r in gobgp_routes.routes(p, settings)]
    theirs = [e.resource for e in made if e.writer == "watcher" and e.resource.ns == "n1"]
    assert sorted(written) == sorted(r for r in theirs if type(r) is Route)


# --- BGP ----------------------------------------------------------------------------------


def test_all_nodes_are_peers_also_across_racks() -> None:
    for made in (ONE_RACK, TWO_RACKS):
        assert all(len(neighbours(made, f"n{number}")) == 3 for number in range(1, 5))
    (one, *_) = told(ONE_RACK, "n1")["neighbors"]
    assert one["config"] == {"neighbor-address": "192.168.1.12", "peer-as": 64512}
    assert one["transport"]["config"]["local-address"] == "192.168.1.11"
    assert one["timers"]["config"] == {
        "hold-time": 90, "keepalive-interval": 30, "connect-retry": 120,
    }  # fmt: skip
    assert "graceful-restart" not in one


def test_a_node_gives_its_own_prefix_alone_and_takes_no_default_route() -> None:
    assert told(ONE_RACK, "n1")["global"]["apply-policy"]["config"] == {
        "import-policy-list": ["kube_router_import"],
        "default-import-policy": "accept-route",
        "export-policy-list": ["kube_router_export"],
        "default-export-policy": "reject-route",
    }
    exports = policy(ONE_RACK, "n1", "kube_router_export")
    assert exports == [("podcidrdefinedset", "iBGPpeerset", "accept-route")]
    assert prefixes(ONE_RACK, "n1", "podcidrdefinedset") == {"10.244.1.0/24": "24..24"}
    imports = policy(ONE_RACK, "n1", "kube_router_import")
    assert imports == [("defaultroutedefinedset", "allpeerset", "reject-route")]


def test_gobgpd_is_told_of_new_neighbours_and_started_anew_for_other_flags() -> None:
    def gobgpd(made: Plan) -> Process:
        return next(p for p in of(made, Process, "n1") if p.name == "gobgpd")

    one = gobgpd(ONE_RACK)
    assert one.reads == (of(ONE_RACK, File, "n1")[0].path,)
    assert gobgpd(plan("kube-router", nodes=2)) == one
    assert gobgpd(plan("kube-router", clusterAsn=64600)) != one
    assert gobgpd(plan("kube-router", rrServers=1)) != one


def test_clients_of_reflectors_speak_with_these_alone() -> None:
    made = plan("kube-router", nodes=4, rrServers=2)
    servers = {"192.168.1.11", "192.168.1.12"}
    assert neighbours(made, "n3") == neighbours(made, "n4") == servers
    assert len(neighbours(made, "n1")) == 3
    clients = {
        n["config"]["neighbor-address"]
        for n in told(made, "n1")["neighbors"]
        if "route-reflector" in n
    }
    assert clients == {"192.168.1.13", "192.168.1.14"}, "not the other reflector"
    assert "policy-definitions" not in told(made, "n1"), "a reflector filters nothing"
    assert "policy-definitions" in told(made, "n3")


def test_graceful_restart_is_off_unless_asked_for() -> None:
    made = plan("kube-router", bgpGracefulRestart=True)
    (one,) = told(made, "n1")["neighbors"]
    assert one["graceful-restart"]["config"] == {
        "enabled": True, "restart-time": 90, "deferral-time": 360,
    }  # fmt: skip
    assert one["afi-safis"][0]["mp-graceful-restart"]["config"] == {"enabled": True}
    assert next(p for p in of(made, Process, "n1") if p.name == "gobgpd").argv[-1] == "-r"


def test_of_routers_a_node_does_not_take_its_own_network() -> None:
    """It would take the place of the kernel's own route to it."""
    about = spec("kube-router", nodes=RACKS, enableOverlay=False, peerRouters=True)
    made = compile_spec(about._replace(routing="bgp"))
    assert neighbours(made, "n1") - neighbours(TWO_RACKS, "n1") == {"192.168.1.1"}
    networks = {"192.168.1.0/24": "24..32", "192.168.2.0/24": "24..32"}
    assert prefixes(made, "n1", "customimportrejectdefinedset") == networks
    refused = ("customimportrejectdefinedset", "allpeerset", "reject-route")
    assert refused in policy(made, "n1", "kube_router_import")
    given = ("podcidrdefinedset", "externalpeerset", "accept-route")
    assert given in policy(made, "n1", "kube_router_export")
    (speaker,) = (n for n in told(made, "n1")["neighbors"] if n["config"]["peer-as"] != 64512)
    assert speaker["config"]["peer-as"] == 4_200_000_001
    assert learnt(made, "n1") == learnt(TWO_RACKS, "n1"), "the rest is the default route's"


# --- faults -------------------------------------------------------------------------------


def test_a_dead_gobgpd_is_forgotten_by_all_and_its_node_forgets_nothing() -> None:
    made = after(dead("n1:gobgpd"))
    assert set(learnt(made, "n1")) == {"10.244.2.0/24", "10.244.3.0/24"}
    assert set(learnt(made, "n2")) == {"10.244.3.0/24"}


def test_a_dead_watcher_keeps_what_was_there_when_it_died() -> None:
    watcher, speaker = dead("n1:watcher"), dead("n3:gobgpd")
    assert set(learnt(after(watcher, speaker), "n1")) == {"10.244.2.0/24", "10.244.3.0/24"}
    assert set(learnt(after(speaker, watcher), "n1")) == {"10.244.2.0/24"}
    assert set(learnt(after(watcher), "n2")) == {"10.244.1.0/24", "10.244.3.0/24"}
    gone = after(watcher, Fault("interface", "n1:eth0"))
    assert learnt(gone, "n1") == {}, "the kernel asks nobody"


@pytest.mark.parametrize("kind", ["link", "node", "interface"])
def test_a_node_without_a_cable_has_no_sessions(kind: Any) -> None:
    made = after(Fault(kind, "n1:eth0" if kind == "interface" else "n1"))
    assert learnt(made, "n1") == {}
    assert set(learnt(made, "n2")) == {"10.244.3.0/24"}


def test_without_their_reflector_clients_know_nothing() -> None:
    assert learnt(after(dead("n1:gobgpd"), rrServers=1), "n2") == {}
    assert set(learnt(after(dead("n1:gobgpd"), rrServers=2), "n3")) == {"10.244.2.0/24"}
    assert set(learnt(after(rrServers=1), "n2")) == {"10.244.1.0/24", "10.244.3.0/24"}
