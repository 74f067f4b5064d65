"""One test for each mistake that is easily made with Romana, its addresses and its routers."""

from __future__ import annotations

import hashlib
import re
from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_parts import setting
from small_plans import plan, spec
from small_specs import small_spec

from emulator.compile import compile_spec, faulted
from emulator.errors import SpecError
from emulator.faults import Fault
from emulator.ipam import Addressing, allocate
from emulator.ipam.groups import groups, of_segments
from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Bridge,
    Dummy,
    File,
    Interface,
    NftTable,
    Process,
    Resource,
    Route,
    Rule,
    Tunnel,
)
from emulator.spec import load_text
from emulator.spec.resolved import ResolvedSpec

T = TypeVar("T", bound=Resource)

RACKS = ("rack-a", "rack-a", "rack-b")
ROMANA = plan("romana", nodes=RACKS, pods=2)


def of(made: Plan, kind: type[T], ns: str) -> list[T]:
    return [r for e in made if type(r := e.resource) is kind and r.ns == ns]


def rules(made: Plan, node: str, chain: str) -> list[str]:
    """The rules of a chain of the filter."""
    text = next(t.text for t in of(made, NftTable, node) if t.name == "filter")
    body = text.partition(f"chain {chain} {{\n")[2].partition("\t}\n")[0]
    return [row.strip() for row in body.splitlines()]


# --- pods ---------------------------------------------------------------------------------


def test_a_pods_default_route_has_no_gateway() -> None:
    """So it asks by ARP for every destination there is."""
    routes = {(r.dst, r.via, r.dev, r.scope) for r in of(ROMANA, Route, "n1-p1")}
    assert routes == {
        ("default", "", "eth0", "global"),
        ("172.142.0.1/32", "", "eth0", "global"),
    }
    assert [a.address for a in of(ROMANA, Addr, "n1-p1")] == ["10.244.0.0/32"]


def test_nodes_answer_on_every_interface_the_uplink_included() -> None:
    for node in ("n1", "n2", "n3"):
        for scope in ("all", "default"):
            assert setting(ROMANA, node, f"net/ipv4/conf/{scope}/proxy_arp") == "1"
        (port, *_) = (v for v in of(ROMANA, Interface, node) if len(v.name) == 15)
        assert setting(ROMANA, node, f"net/ipv4/neigh/{port.name}/proxy_delay") == "0"


def test_the_gateways_address_is_on_a_dummy_and_on_no_cable() -> None:
    assert of(ROMANA, Dummy, "n1") == [Dummy("n1", "romana-lo")]
    held = [(a.dev, a.address) for a in of(ROMANA, Addr, "n1") if a.dev != "eth0"]
    assert held == [("romana-lo", "172.142.0.1/32")]
    assert of(ROMANA, Bridge, "n1") == of(ROMANA, Tunnel, "n1") == []


def test_names_of_cables_are_romana_and_eight_digits() -> None:
    ports = [i.name for i in of(ROMANA, Interface, "n1") if i.name.startswith("romana-")]
    assert sorted(map(len, ports)) == [9, 15, 15]


@pytest.mark.parametrize("mtu", [1400, 9000])
def test_pods_have_1500_whatever_the_links_have(mtu: int) -> None:
    made = plan("romana", mtu=mtu)
    assert {i.mtu for i in of(made, Interface, "n1-p1") if i.name == "eth0"} == {1500}


# --- routes -------------------------------------------------------------------------------


def test_blocks_are_in_table_10_alone_and_main_has_pods_of_the_node() -> None:
    """Of hosts of the same segment: a test shows a gateway to all others."""
    table = {(r.dst, r.via) for r in of(ROMANA, Route, "n1") if r.table == 10}
    assert table == {("10.244.0.8/29", "192.168.1.12")}
    assert not [r for r in of(ROMANA, Route, "n3") if r.table == 10], "alone in its rack"
    main = {(r.dst, r.via) for r in of(ROMANA, Route, "n1") if r.table == 254}
    assert main == {("10.244.0.0/32", ""), ("10.244.0.1/32", ""), ("default", "192.168.1.1")}


def test_the_rule_has_no_selector_and_stands_just_above_main() -> None:
    assert of(ROMANA, Rule, "n1") == [Rule("n1", 32765, "from all", 10)]


def test_a_router_has_one_route_for_each_group_and_asks_there_for_pods() -> None:
    pods = [r for r in of(ROMANA, Route, "core1") if r.dst.startswith("10.244.")]
    assert {(r.dst, r.via, r.dev, r.scope) for r in pods} == {
        ("10.244.0.0/17", "", "eth0", "link"),
        ("10.244.128.0/17", "", "eth1", "link"),
    }


def chain(*, published: bool = False) -> ResolvedSpec:
    """Three racks behind each other, a node in the first and two in the last."""
    made = small_spec(
        "romana",
        nodes=("rack-a", "rack-c", "rack-c"),
        segments=3,
        routers=(("rack-a", "rack-b"), ("rack-b", "rack-c")),
        routePublisher=published,
    )
    return made._replace(routing="bgp") if published else made


def test_routers_further_away_have_it_by_those_beside() -> None:
    made = compile_spec(chain())
    pods = [r for r in of(made, Route, "core1") if r.dst.startswith("10.244.")]
    assert {(r.dst, r.via) for r in pods} == {
        ("10.244.0.0/17", ""),
        ("10.244.128.0/17", "192.168.2.2"),
    }


# --- policies -----------------------------------------------------------------------------


def test_what_no_policy_allows_is_dropped_so_each_namespace_has_one() -> None:
    """Without it nothing would come to any pod."""
    *_, operators, policy, last = rules(ROMANA, "n1", "ROMANA-FORWARD-IN")
    assert (operators, last) == ("jump ROMANA-OP", 'drop comment "DefaultDrop"')
    name = policy.removeprefix("jump ")
    assert name.startswith("ROMANA-P-")
    assert rules(ROMANA, "n1", name)[0].endswith(f"jump {name}_X")
    assert rules(ROMANA, "n1", f"{name}_X") == [f"jump {name}_R"]
    assert rules(ROMANA, "n1", f"{name}_R") == ["accept"]


def test_pods_of_one_node_do_not_get_around_it() -> None:
    (first, *_) = rules(ROMANA, "n1", "ROMANA-FORWARD-OUT")
    assert first == "ip daddr @localBlocks jump ROMANA-FORWARD-IN"
    forward = rules(ROMANA, "n1", "FORWARD")
    assert len([row for row in forward if row.endswith("ROMANA-FORWARD-OUT")]) == 2
    assert len([row for row in forward if row.endswith("ROMANA-FORWARD-IN")]) == 2


def test_a_node_has_policies_for_namespaces_whose_pods_it_has() -> None:
    about = tenants()
    made = compile_spec(about)
    policies = {
        node: [r for r in rules(made, node, "ROMANA-FORWARD-IN") if "ROMANA-P-" in r]
        for node in ("n1", "n2")
    }
    assert (len(policies["n1"]), len(policies["n2"])) == (2, 1)
    assert set(policies["n2"]) < set(policies["n1"])


def test_every_node_has_the_sets_of_all_tenants_their_segments_and_policies() -> None:
    """Though only tenants of its own have chains there."""
    made = compile_spec(tenants())
    names = ("tenant_default", "tenant_default_segment_default", "tenant_default_segment_backend")
    hashed = [hashlib.sha1(name.encode()).hexdigest()[:16] for name in names]
    elements = [
        "10.244.0.0/29, 10.244.0.8/29, 10.244.0.24/29",
        "10.244.0.0/29, 10.244.0.24/29",
        "10.244.0.8/29",
    ]
    for node in ("n1", "n2"):
        text = next(t.text for t in of(made, NftTable, node) if t.name == "filter")
        found = re.findall(r"set (\S+) {([^}]*)", text)
        sets = {name: " ".join(body.split()).partition("{ ")[2].strip() for name, body in found}
        assert [sets[f"ROMANA-{one}"] for one in hashed] == elements
        of_policies = [name for name in sets if name.startswith("ROMANA-P-")]
        assert len(of_policies) == 2 and all(not sets[name] for name in of_policies)
        assert len(sets) == 2 + 3 + 2 + 1
    local = [t.text for t in of(made, NftTable, "n2") if t.name == "filter"]
    assert local[0].count("chain ROMANA-P-") == 3


def test_what_leaves_is_masqueraded_by_the_uplink_alone() -> None:
    """Not what a node's own pods say to each other, nor by any device that comes later."""
    text = next(t.text for t in of(ROMANA, NftTable, "n1") if t.name == "nat")
    (rule,) = re.findall(r".*masquerade.*", text)
    assert rule.strip() == 'oifname "eth0" masquerade'


def test_without_policies_and_masquerading_nothing_is_left_but_forwarding() -> None:
    made = plan("romana", policies=False, nat=False)
    assert [t.name for t in of(made, NftTable, "n1")] == ["filter"]
    assert not any("romana-" in row for row in rules(made, "n1", "FORWARD"))


# --- addresses ----------------------------------------------------------------------------


def tenants() -> ResolvedSpec:
    """Pods a and c of two namespaces and b, of a segment of its own, on n1; d on n2."""
    about = spec("romana", nodes=2, pods=1)
    some = about.pods[0]
    label = (("romana.io/segment", "backend"),)
    pods = (
        some._replace(name="a"),
        some._replace(name="b", labels=label),
        some._replace(name="c", namespace="team"),
        some._replace(name="d", node="n2"),
        some._replace(name="e"),
    )
    return about._replace(pods=pods)


def test_a_block_is_for_one_host_one_namespace_and_one_segment() -> None:
    at = allocate(tenants())
    assert at.pod == {
        "a": "10.244.0.0",
        "b": "10.244.0.8",
        "team.c": "10.244.0.16",
        "d": "10.244.0.24",
        "e": "10.244.0.1",
    }
    assert at.blocks == {
        "n1": ("10.244.0.0/29", "10.244.0.8/29", "10.244.0.16/29"),
        "n2": ("10.244.0.24/29",),
    }


def test_all_eight_addresses_of_a_block_are_used() -> None:
    at = allocate(spec("romana", nodes=1, pods=9))
    assert [at.pod[f"n1-p{i}"] for i in (1, 8, 9)] == ["10.244.0.0", "10.244.0.7", "10.244.0.8"]


def mapped(told: str, racks: int = 3) -> Addressing:
    names = [f"rack-{i}" for i in range(1, racks + 1)]
    segments = ", ".join(f"{n}: {{cidr: 192.168.{i}.0/24}}" for i, n in enumerate(names, 1))
    listed = ", ".join(names)
    return allocate(
        load_text(
            "apiVersion: podwire/v1\nkind: Cluster\nmetadata: {name: x}\nspec:\n"
            f"  podCIDR: 10.111.0.0/16\n  network: {{plugin: romana{told}}}\n"
            f"  underlay:\n    segments: {{{segments}}}\n"
            f"    routers: {{core: {{segments: [{listed}]}}}}\n"
            f"  nodes: {{count: {racks}, spread: [{listed}]}}\n  pods: {{perNode: 1}}\n",
            "x.yaml",
        )
    )


def test_the_range_is_divided_by_a_power_of_two() -> None:
    """Three racks have a quarter each, and one is left."""
    assert list(mapped("").pod.values()) == ["10.111.0.0", "10.111.64.0", "10.111.128.0"]
    assert list(mapped("", 1).pod.values()) == ["10.111.0.0"]


def test_groups_within_groups_divide_what_these_have() -> None:
    nested = (
        ", map: [{groups: [{segment: rack-1}, {segment: rack-2}, {segment: rack-2}]},"
        " {name: far, segment: rack-3}]"
    )
    assert list(mapped(nested).pod.values()) == ["10.111.0.0", "10.111.32.0", "10.111.128.0"]


def test_hosts_are_spread_over_the_groups_that_take_them() -> None:
    about = spec("romana", nodes=5, map=[{}, {"segment": "rack-a"}, {"segment": "rack-b"}])
    found = [group.nodes for group in groups(about, [])]
    assert found == [("n1", "n3", "n5"), ("n2", "n4"), ()]
    assert of_segments(about) == {"rack-a": ("10.244.0.0/18", "10.244.64.0/18")}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"map": [{"segment": "rack-b"}]}, "no group that takes n1"),
        ({"map": [{}]}, r"the group 1 with hosts of 2 segments \(rack-a, rack-b\)"),
        ({"blockMask": 20}, "blocks of 4096 addresses are all taken"),
    ],
)
def test_what_cannot_be_divided_so_is_refused(options: dict[str, Any], found: str) -> None:
    about = spec("romana", nodes=("rack-a", "rack-b"), pods=1, **options)
    if "blockMask" in options:
        about = about._replace(pod_cidrs=("10.244.0.0/20",))
    with pytest.raises(SpecError, match=found):
        allocate(about)


@given(st.lists(st.sampled_from("abcdABC"), unique=True, max_size=6), st.integers(29, 32))
def test_no_two_pods_have_one_address_nor_two_hosts_a_block(names: list[str], mask: int) -> None:
    about = spec("romana", nodes=("rack-a", "rack-b"), pods=1, blockMask=mask)
    some = about.pods[0]
    pods = [some._replace(name=c, node="n2" if c.isupper() else "n1") for c in names]
    before = allocate(about._replace(pods=tuple(pods)))
    after = allocate(about._replace(pods=tuple(pods[1:])), before.ledger)
    again = allocate(about._replace(pods=tuple(pods)), after.ledger)
    for at in (before, after, again):
        blocks = [ip_network(b) for own in at.blocks.values() for b in own]
        assert not any(a.overlaps(b) for a, b in combinations(blocks, 2))
        assert len(set(at.pod.values())) == len(at.pod)
        for pod in pods:
            if pod.id in at.pod:
                own = at.blocks[pod.node]
                assert any(ip_address(at.pod[pod.id]) in ip_network(b) for b in own)
                assert at.pod[pod.id] == before.pod[pod.id], "the lowest free one is its own"


def test_blocks_stay_with_their_hosts_when_another_one_leaves() -> None:
    about = spec("romana", nodes=3, pods=1)
    before = allocate(about)
    rest = about._replace(nodes=about.nodes[1:], pods=about.pods[1:])
    after = allocate(rest, before.ledger)
    assert after.blocks == {n: before.blocks[n] for n in ("n2", "n3")}
    assert after.pod == {p.id: before.pod[p.id] for p in rest.pods}


# --- the publisher ------------------------------------------------------------------------


def test_nodes_publish_their_blocks_as_routes_that_lead_nowhere() -> None:
    made = compile_spec(chain(published=True))
    text = next(f.text for f in of(made, File, "n2") if f.path.endswith("bird.conf"))
    assert "route 10.244.128.0/29 unreachable;" in text
    assert "local 192.168.3.11 as 65534;" in text
    assert "protocol kernel" not in text
    assert [p.name for p in of(made, Process, "n2")] == ["bird"]
    assert of(ROMANA, Process, "n1") == [], "without the publisher nothing runs"


def test_what_nodes_publish_goes_no_further_than_the_router_beside() -> None:
    made = compile_spec(chain(published=True))

    def pods(router: str) -> dict[str, str]:
        return {r.dst: r.via for r in of(made, Route, router) if r.dst.startswith("10.244.")}

    assert pods("core2") == {
        "10.244.0.0/17": "192.168.2.1",
        "10.244.128.0/29": "192.168.3.11",
        "10.244.128.8/29": "192.168.3.12",
    }
    assert pods("core1") == {"10.244.0.0/29": "192.168.1.11", "10.244.128.0/17": "192.168.2.2"}
    (file,) = of(made, File, "core2")
    assert "! (net ~ [10.244.128.0/17{18,32}])" in file.text
    assert 'route 10.244.128.0/17 via "eth1";' in file.text


def test_of_a_dead_publisher_the_router_beside_forgets_the_blocks_and_others_nothing() -> None:
    about = chain(published=True)
    at = allocate(about)
    made = faulted(compile_spec(about, at), about, at, [Fault("daemon", "n2:bird")])
    assert "10.244.128.0/29" not in {r.dst for r in of(made, Route, "core2")}
    assert "10.244.128.8/29" in {r.dst for r in of(made, Route, "core2")}
    assert "10.244.128.0/17" in {r.dst for r in of(made, Route, "core1")}
