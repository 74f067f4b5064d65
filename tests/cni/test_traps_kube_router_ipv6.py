"""What is easily got wrong with kube-router and IPv6: alone, and beside IPv4."""

from __future__ import annotations

import tomllib
from typing import Any, TypeVar

import pytest
from small_plans import plan, spec

from emulator.compile import compile_spec, faulted
from emulator.faults import Fault
from emulator.ipam import allocate
from emulator.plan import Plan
from emulator.plan.resources import Addr, File, NftTable, Process, Resource, Route, Rule

T = TypeVar("T", bound=Resource)

DUAL = plan("kube-router", nodes=3, families="46")
TURNED = plan("kube-router", nodes=3, families="64")
SIX = plan("kube-router", nodes=3, families="6")
PEERS = {"nodes": ("rack-a", "rack-a", "rack-b"), "enableOverlay": False, "peerRouters": True}


def of(made: Plan, kind: type[T], ns: str) -> list[T]:
    return [r for e in made if type(r := e.resource) is kind and r.ns == ns]


def told(made: Plan, node: str = "n1") -> dict[str, Any]:
    """gobgpd's configuration."""
    (file,) = of(made, File, node)
    return tomllib.loads(file.text)


def peers(made: Plan) -> dict[str, list[str]]:
    """The families of each of n1's sessions."""
    return {
        n["config"]["neighbor-address"]: [a["config"]["afi-safi-name"] for a in n["afi-safis"]]
        for n in told(made)["neighbors"]
    }


def policy(made: Plan, name: str) -> list[str]:
    (found,) = (p for p in told(made)["policy-definitions"] if p["name"] == name)
    return [s["name"] for s in found["statements"]]


def neighbour_set(made: Plan, name: str) -> list[str]:
    (found,) = (
        one["neighbor-info-list"]
        for one in told(made)["defined-sets"]["neighbor-sets"]
        if one["neighbor-set-name"] == name
    )
    return list(found)


def flags(made: Plan) -> str:
    (found,) = (p for p in of(made, Process, "n1") if p.name == "gobgpd")
    return dict(found.env)["KUBE_ROUTER_FLAGS"]


def learnt(made: Plan, node: str) -> dict[str, str]:
    """Where the watcher sends each subnet."""
    theirs = (e for e in made if e.owner == "expected" and e.writer == "watcher")
    return {r.dst: r.via for e in theirs if type(r := e.resource) is Route and r.ns == node}


def with_routers(families: str) -> Plan:
    return compile_spec(spec("kube-router", families=families, **PEERS)._replace(routing="bgp"))


# --- sessions ----------------------------------------------------------------------------


def test_two_nodes_have_one_session_and_it_is_about_both_families() -> None:
    """Of a session of IPv4 GoBGP would tell nothing of IPv6 unless it were asked to."""
    both = ["ipv4-unicast", "ipv6-unicast"]
    assert peers(DUAL) == {"192.168.1.12": both, "192.168.1.13": both}
    assert peers(TURNED) == {"fd00:192:168:1::c": both, "fd00:192:168:1::d": both}
    assert peers(SIX) == {
        "fd00:192:168:1::c": ["ipv6-unicast"],
        "fd00:192:168:1::d": ["ipv6-unicast"],
    }
    assert set(map(tuple, peers(plan("kube-router", nodes=2)).values())) == {("ipv4-unicast",)}


def test_gobgpd_listens_at_both_addresses_of_its_node() -> None:
    for made in (DUAL, TURNED):
        addresses = told(made)["global"]["config"]["local-address-list"]
        assert addresses == ["192.168.1.11", "fd00:192:168:1::b"]


def test_a_router_id_has_32_bits_whatever_the_family() -> None:
    """FNV-1a of the address's 16 bytes, as kube-router generates it when it is asked to."""
    assert told(DUAL)["global"]["config"]["router-id"] == "192.168.1.11"
    for made in (TURNED, SIX):
        found = {told(made, node)["global"]["config"]["router-id"] for node in ("n1", "n2", "n3")}
        assert len(found) == 3 and not any(":" in one for one in found)
        assert "--router-id=generate" in flags(made)
    assert "--router-id" not in flags(DUAL) and "--enable-ipv6=true" in flags(DUAL)
    assert "--enable-ipv4=false" in flags(SIX) and "--enable-ipv4" not in flags(TURNED)


def test_nodes_export_to_a_set_that_is_empty_where_they_talk_by_ipv6() -> None:
    """kube-router's statement names the set of IPv4 always. Empty, it matches every neighbour."""
    for made in (DUAL, TURNED):
        assert policy(made, "kube_router_export") == [
            "podcidrdefinedsetiBGPpeerset", "podcidrdefinedsetv6iBGPpeerset",
        ]  # fmt: skip
    assert len(neighbour_set(DUAL, "iBGPpeerset")) == 3
    assert neighbour_set(TURNED, "iBGPpeerset") == neighbour_set(SIX, "iBGPpeerset") == []
    assert neighbour_set(TURNED, "iBGPpeersetv6")[0] == "fd00:192:168:1::b/128"


def test_no_default_route_of_either_family_is_taken() -> None:
    v4, v6 = "defaultroutedefinedset", "defaultroutedefinedsetv6"
    assert policy(DUAL, "kube_router_import") == [f"{v4}allpeerset", f"{v6}allpeerset"]
    assert policy(TURNED, "kube_router_import") == [f"{v4}allpeersetv6", f"{v6}allpeersetv6"]


def test_routers_are_spoken_to_in_each_family_from_an_address_of_it() -> None:
    """The flags would take the primary address for all, and leave the others out."""
    made = with_routers("46")
    routers = {
        n["config"]["neighbor-address"]: n["transport"]["config"]["local-address"]
        for n in told(made)["neighbors"]
        if n["config"]["peer-as"] != 64512
    }
    assert routers == {"192.168.1.1": "192.168.1.11", "fd00:192:168:1::1": "fd00:192:168:1::b"}
    assert "peer.localips=192.168.1.11,fd00:192:168:1::b" in flags(made)
    assert "--peer-router-ips" not in flags(made)
    assert "--peer-router-ips=fd00:192:168:1::1" in flags(with_routers("6"))
    refused = policy(made, "kube_router_import")
    assert "customimportrejectdefinedsetv6allpeersetv6" in refused
    known = {r.dst: r.via for e in made if type(r := e.resource) is Route and r.ns == "core1"}
    assert known["fd00:10:244:3::/64"] == "fd00:192:168:2::b"
    assert known["10.244.3.0/24"] == "192.168.2.11"


# --- what stands on a node ---------------------------------------------------------------


@pytest.mark.parametrize("made", [DUAL, TURNED], ids=["46", "64"])
def test_a_route_has_a_next_hop_of_its_own_family(made: Plan) -> None:
    assert learnt(made, "n1") == {
        "10.244.2.0/24": "192.168.1.12",
        "10.244.3.0/24": "192.168.1.13",
        "fd00:10:244:2::/64": "fd00:192:168:1::c",
        "fd00:10:244:3::/64": "fd00:192:168:1::d",
    }


def test_one_daemon_that_dies_takes_both_families() -> None:
    about = spec("kube-router", nodes=3, families="46")
    at = allocate(about)
    left = faulted(DUAL, about, at, [Fault("daemon", "n2:gobgpd")])
    assert set(learnt(left, "n1")) == {"10.244.3.0/24", "fd00:10:244:3::/64"}


def test_the_watcher_announces_each_family_from_the_nodes_address_of_it() -> None:
    (argv,) = (p.argv for p in of(DUAL, Process, "n1") if p.name == "watcher")
    words = list(zip(argv[1::2], argv[2::2], strict=True))
    assert words[:6] == [
        ("--announce", "10.244.1.0/24"), ("--address", "192.168.1.11"),
        ("--subnet", "192.168.1.0/24"),
        ("--announce", "fd00:10:244:1::/64"), ("--address", "fd00:192:168:1::b"),
        ("--subnet", "fd00:192:168:1::/64"),
    ]  # fmt: skip


def test_table_77_is_asked_in_both_families() -> None:
    assert of(DUAL, Rule, "n1") == [
        Rule("n1", 32765, "from 10.244.1.0/24", 77),
        Rule("n1", 32765, "from fd00:10:244:1::/64", 77, "ip6"),
    ]


def test_each_family_has_rules_that_name_no_address_of_the_other() -> None:
    tables = {(t.family, t.name): t.text for t in of(DUAL, NftTable, "n1")}
    assert set(tables) == {(f, name) for f in ("ip", "ip6") for name in ("nat", "filter")}
    nat = tables["ip6", "nat"]
    assert "ip6 saddr @kube-router-pod-subnets ip6 daddr != @kube-router-pod-subnets" in nat
    assert "ip6 daddr != @kube-router-node-ips masquerade fully-random" in nat
    assert "10.244." not in nat and "192.168.1" not in nat.replace("fd00:192:168:1", "")
    assert "fd00:" not in tables["ip", "nat"]
    assert tables["ip6", "filter"].partition("\n")[2] == tables["ip", "filter"].partition("\n")[2]
    assert {t.family for t in of(SIX, NftTable, "n1")} == {"ip6"}


def test_pods_stand_on_the_bridge_in_both_families() -> None:
    found = {a.address for a in of(DUAL, Addr, "n1-p1") if a.scope == "global"}
    assert found == {"10.244.1.2/24", "fd00:10:244:1::2/64"}
    bridge = {
        a.address for a in of(DUAL, Addr, "n1") if a.dev == "kube-bridge" and a.scope == "global"
    }
    assert bridge == {"10.244.1.1/24", "fd00:10:244:1::1/64"}
