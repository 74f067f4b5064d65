"""Fabrics: what their routers know, walked hop by hop, is what the oracle says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_specs import HERE, small_spec

from emulator import fabric
from emulator.cni import none
from emulator.cni.context import Context
from emulator.compile import compile_spec, faulted
from emulator.datapath.autonomous import Announced, as_numbers, rack_routers
from emulator.datapath.bird import Speaker
from emulator.faults import Fault, cables, link_ends
from emulator.ipam import Addressing, allocate
from emulator.oracle import predict
from emulator.plan import Plan
from emulator.plan.resources import File, Hop, Route, Sysctl
from emulator.spec import load, load_text
from emulator.spec.resolved import Bfd, Bgp, Network, Node, ResolvedSpec, Router, Segment
from emulator.wires import Wires

TOPOLOGIES = Path(__file__).parents[1] / "topologies"
FABRIC = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {{name: f}}
spec:
  network: {{plugin: host}}
  underlay: {{routing: {routing}, leafSpine: {{leaves: {leaves}, spines: {spines}}}}}
  nodes: {{count: {leaves}}}
"""


def leaf_spine(routing: str, leaves: int, spines: int) -> ResolvedSpec:
    return load_text(FABRIC.format(routing=routing, leaves=leaves, spines=spines))


@st.composite
def fabrics(draw: st.DrawFn, routing: str) -> ResolvedSpec:
    """A leaf-spine, or routers on racks at random with a node in each rack."""
    if draw(st.booleans()):
        return leaf_spine(routing, draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    names = [f"rack-{letter}" for letter in "abcd"]
    joined = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True).map(tuple)
    routers = draw(st.lists(joined, max_size=5))
    spec = small_spec("host", nodes=names, segments=4, routers=routers, hosts=())
    return spec._replace(routing=routing)  # type: ignore[arg-type]


def routes(spec: ResolvedSpec, faults: Sequence[Fault] = ()) -> dict[tuple[str, str], Route]:
    """By (place, destination)."""
    at = allocate(spec)
    plan = faulted(compile_spec(spec, at), spec, at, faults)
    return {(r.ns, r.dst): r for e in plan if type(r := e.resource) is Route}


def lengths(spec: ResolvedSpec, faults: Sequence[Fault], near: str, far: str) -> set[int]:
    """Routers on every way of the routing tables from a node to another; 0 stands for none."""
    at, table = allocate(spec), routes(spec, faults)
    owner = {address: name for (name, _), address in at.router.items()}
    segment = {n.name: n.segment for n in spec.nodes}
    cidr = {s.name: s.cidr for s in spec.segments}
    joined = {r.name: r.segments for r in spec.routers}
    wires = Wires(spec, faults)

    def ways(place: str, taken: int) -> Iterator[int]:
        assert taken <= len(spec.routers), "it goes round"
        goal = segment[far]
        if goal in joined[place] and not wires.dark(place, goal):
            yield taken
            return
        route = table.get((place, cidr[goal]))
        if route is None:
            yield 0
            return
        for hop in route.next_hops:
            yield from ways(owner[hop.via], taken + 1)

    first = table.get((near, cidr[segment[far]])) or table.get((near, "default"))
    if first is None:
        return {0}
    return set(ways(owner[first.via], 1))


@settings(max_examples=60)
@given(st.sampled_from(("static", "bgp")).flatmap(fabrics), st.data())
def test_the_tables_lead_where_the_oracle_says(spec: ResolvedSpec, data: st.DataObject) -> None:
    if len(spec.nodes) < 2:
        return
    near, far = data.draw(st.permutations([n.name for n in spec.nodes]))[:2]
    routers, broken = Wires(spec, ()).between(near, far)
    assert lengths(spec, (), near, far) == ({0} if broken else {routers})


@settings(max_examples=100)
@given(fabrics("bgp"), st.data())
def test_bgp_turns_away_from_whatever_is_broken(spec: ResolvedSpec, data: st.DataObject) -> None:
    ends = cables(spec)
    between = [f"{r.name}:{end}" for r in spec.routers for end in ends[r.name]]
    if len(spec.nodes) < 2 or not between:
        return
    some = st.sampled_from(between).flatmap(
        lambda end: st.sampled_from((Fault("link", end), Fault("interface", end)))
    )
    faults = data.draw(st.lists(some, max_size=4, unique=True))
    near, far = data.draw(st.permutations([n.name for n in spec.nodes]))[:2]
    wires = Wires(spec, faults)
    assert not wires.doubt(near, far)
    there, back = lengths(spec, faults, near, far), lengths(spec, faults, far, near)
    routers, broken = wires.between(near, far)
    if not broken:
        assert there == {routers}
        assert 0 not in back
    elif "has no way left" in broken or "no router joins" in broken:
        assert 0 in there | back


def outcomes(spec: ResolvedSpec, faults: Sequence[Fault], near: str, far: str) -> set[int]:
    """Routers on every way that static routes may take from a node to another under faults at
    routers; 0 where it is lost. What carries is found out here, not asked of the oracle."""
    at, table = allocate(spec), routes(spec, faults)
    owner = {address: name for (name, _), address in at.router.items()}
    segment = {n.name: n.segment for n in spec.nodes}
    cidr = {s.name: s.cidr for s in spec.segments}
    joined = {r.name: r.segments for r in spec.routers}
    broken = {str(fault.target) for fault in faults}
    # one of several cables is named with its interface, an only one by its router alone
    broken |= {f"{target}:eth0" for target in broken if ":" not in target}
    other = {f"{a}:{b}": f"{c}:{d}" for (a, b), (c, d) in link_ends(spec).items()}

    def lit(router: str, where: str) -> bool:
        end = f"{router}:eth{joined[router].index(where)}"
        return end not in broken and other.get(end) not in broken

    def ways(place: str, taken: int) -> Iterator[int]:
        goal = segment[far]
        if goal in joined[place]:
            yield taken if lit(place, goal) else 0
            return
        route = table.get((place, cidr[goal]))
        hops = route.next_hops if route else ()
        living = [hop for hop in hops if lit(place, joined[place][int(hop.dev[3:])])]
        if not living:
            yield 0
        for hop in living:
            met = joined[place][int(hop.dev[3:])]
            if lit(owner[hop.via], met):
                yield from ways(owner[hop.via], taken + 1)
            else:
                yield 0

    first = table.get((near, cidr[segment[far]])) or table.get((near, "default"))
    if first is None or not lit(owner[first.via], segment[near]):
        return {0}
    return set(ways(owner[first.via], 1))


@settings(max_examples=150)
@given(fabrics("static"), st.data())
def test_static_routes_fail_as_the_oracle_says(spec: ResolvedSpec, data: st.DataObject) -> None:
    ends = cables(spec)
    known = [
        Fault(kind, r.name if kind == "link" and len(ends[r.name]) == 1 else f"{r.name}:{end}")
        for r in spec.routers
        for end in ends[r.name]
        for kind in ("link", "interface")
    ]
    if len(spec.nodes) < 2 or not known:
        return
    faults = data.draw(st.lists(st.sampled_from(known), max_size=4, unique=True))
    near, far = data.draw(st.permutations([n.name for n in spec.nodes]))[:2]
    wires = Wires(spec, faults)
    there, back = outcomes(spec, faults, near, far), outcomes(spec, faults, far, near)
    routers, broken = wires.between(near, far)
    assert bool(broken) == (there == {0} or back == {0})
    if not broken:
        assert there - {0} == {routers}
        assert bool(wires.doubt(near, far)) == (0 in there | back)


def test_a_leaf_has_a_next_hop_by_every_spine() -> None:
    spec = load(TOPOLOGIES / "leaf-spine.yaml")
    table = routes(spec)
    assert table["leaf1", "192.168.2.0/24"].hops == (
        Hop("172.16.0.3", "eth1"),
        Hop("172.16.0.5", "eth2"),
    )
    assert table["spine1", "192.168.2.0/24"].next_hops == (Hop("172.16.0.6", "eth1"),)
    assert table["n1", "default"].next_hops == (Hop("192.168.1.1", "eth0"),)


def test_a_router_that_spreads_flows_looks_at_ports_and_ignores_dead_cables() -> None:
    """By addresses alone all of a tunnel's flows would take one path; into a dead cable the
    kernel goes on to send unless it is told."""
    spec = load(TOPOLOGIES / "leaf-spine.yaml")
    said = {(r.ns, r.name): r.value for e in compile_spec(spec) if type(r := e.resource) is Sysctl}
    for name in ("net/ipv4/fib_multipath_hash_policy",
                 "net/ipv4/conf/all/ignore_routes_with_linkdown"):  # fmt: skip
        assert {ns for (ns, one), value in said.items() if one == name and value == "1"} == {
            "leaf1",
            "leaf2",
        }


def test_a_cable_between_routers_goes_out_at_both_ends() -> None:
    spec = load(TOPOLOGIES / "leaf-spine.yaml")
    at = allocate(spec)
    assert link_ends(spec)["leaf1", "eth1"] == ("spine1", "eth0")
    whole = compile_spec(spec)
    for kind in ("link", "interface"):
        broken = faulted(whole, spec, at, [Fault(kind, "spine1:eth0")])  # type: ignore[arg-type]
        port = broken.get(("leaf1-spine1", "interface", "eth1"))
        assert port is not None and not port.up  # type: ignore[union-attr]
        own = broken.get(("leaf1", "interface", "eth1"))
        assert own is not None and own.up  # type: ignore[union-attr]


def test_static_routes_lose_by_the_hash_what_bgp_delivers() -> None:
    cut = [Fault("link", "spine1:eth0")]
    outcomes = {}
    for name in ("leaf-spine", "leaf-spine-bgp"):
        spec = load(TOPOLOGIES / f"{name}.yaml")
        found = predict(spec, allocate(spec), cut)
        outcomes[name] = {e.outcome for p, e in found.items() if p.kind == "pod-pod"}
    assert outcomes == {"leaf-spine": {"delivered", "by-hash"}, "leaf-spine-bgp": {"delivered"}}


def test_a_dead_daemon_leaves_its_routes_and_is_nobodys_neighbour() -> None:
    spec = load(TOPOLOGIES / "leaf-spine-bgp.yaml")
    table = routes(spec, [Fault("daemon", "spine1:bird")])
    assert ("spine1", "192.168.1.0/24") in table
    assert table["leaf1", "192.168.2.0/24"].next_hops == (Hop("172.16.0.5", "eth2"),)
    # what it learnt last was that its cable had gone, and the way around
    table = routes(spec, [Fault("link", "spine1:eth0"), Fault("daemon", "spine1:bird")])
    assert table["spine1", "192.168.1.0/24"].next_hops == (Hop("172.16.0.6", "eth1"),)


def announced(context: Context, node: Node) -> Announced | None:
    subnet = context.addressing.node_subnet[node.name]
    return Announced(64512, (subnet,)) if node.name != "n2" else None


def test_nodes_that_speak_bgp_are_neighbours_of_their_racks_router(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = leaf_spine("bgp", 2, 2)._replace(network=Network("toy", "", (), HERE))
    made = ModuleType("emulator.cni.toy")
    for function in (none.node, none.pod, announced):
        setattr(made, function.__name__, function)
    monkeypatch.setitem(__import__("sys").modules, "emulator.cni.toy", made)
    at = allocate(spec)
    (leaf1,) = rack_routers(spec, at, spec.nodes[0])
    assert leaf1 == Speaker("192.168.1.1", as_numbers(spec)["leaf1"])
    plan: Plan = compile_spec(spec, at)
    config = plan.get(("leaf1", "file", fabric.CONFIG))
    assert type(config) is File and "neighbor 192.168.1.11 as 64512;" in config.text
    other = plan.get(("leaf2", "file", fabric.CONFIG))
    assert type(other) is File and "64512" not in other.text
    table = {(r.ns, r.dst): r for e in plan if type(r := e.resource) is Route}
    assert table["leaf1", "10.244.1.0/24"].next_hops == (Hop("192.168.1.11", "eth0"),)
    assert table["leaf2", "10.244.1.0/24"].next_hops == (
        Hop("172.16.0.7", "eth1"),
        Hop("172.16.0.9", "eth2"),
    )
    assert ("leaf1", "10.244.2.0/24") not in table


def test_two_leaves_in_a_rack_share_what_goes_to_it() -> None:
    spec = small_spec("host", nodes=("rack-a", "rack-b"), segments=3, hosts=())
    spec = spec._replace(
        routers=tuple(
            Router(name, segments, HERE)
            for name, segments in (
                ("one", ("rack-a", "rack-c")),
                ("two", ("rack-a", "rack-c")),
                ("far", ("rack-c", "rack-b")),
            )
        )
    )
    table = routes(spec)
    assert table["far", "192.168.1.0/24"].hops == (
        Hop("192.168.3.1", "eth0"),
        Hop("192.168.3.2", "eth0"),
    )
    # a node sends to the first of them, as ever
    assert table["n1", "default"].next_hops == (Hop("192.168.1.1", "eth0"),)


def test_a_fabric_of_both_families() -> None:
    ranges = 'rackCIDR: [192.168.0.0/16, "fd00:1::/48"], linkCIDR: [172.16.0.0/16, "fd00:2::/64"]'
    text = FABRIC.format(routing="bgp", leaves=2, spines=2)
    spec = load_text(text.replace("spines: 2}", f"spines: 2, {ranges}}}"))
    assert spec.segments[1].cidrs == ("192.168.2.0/24", "fd00:1:0:2::/64")
    assert spec.segments[2].cidrs == ("172.16.0.2/31", "fd00:2::2/127")
    table = routes(spec)
    assert table["leaf1", "fd00:1:0:2::/64"].hops == (
        Hop("fd00:2::3", "eth1"),
        Hop("fd00:2::5", "eth2"),
    )
    config = compile_spec(spec).get(("leaf1", "file", fabric.CONFIG))
    assert type(config) is File
    assert "neighbor fd00:2::3 as 4200000003;" in config.text
    alone = 'rackCIDR: "fd00:1::/48", linkCIDR: "fd00:2::/64"'
    spec = load_text(text.replace("spines: 2}", f"spines: 2, {alone}}}"))
    config = compile_spec(spec).get(("spine1", "file", fabric.CONFIG))
    assert type(config) is File
    assert "router id 0.0.0.3;" in config.text


def test_routers_watch_each_other_and_not_the_nodes() -> None:
    """The speakers of nodes have no BFD: a session that waits for it would tell nothing."""
    spec = small_spec("calico", "bgp", routers=(("rack-a", "rack-b"),) * 2, peerWithRouters=True)
    spec = spec._replace(routing="bgp", bgp=Bgp(90, Bfd(50, 3)))
    plan = compile_spec(spec)
    config = plan.get(("core1", "file", fabric.CONFIG))
    assert type(config) is File
    head, *bodies = config.text.split("\nprotocol bgp ")
    assert 'protocol bfd {\n    interface "eth*" {\n        interval 50 ms;' in head
    assert "hold time 90;\n    keepalive time 30;" in head
    on = {body.partition(" from ")[0]: "bfd on;" in body for body in bodies}
    assert on == {
        "'core2-rack-a'": True,
        "'core2-rack-b'": True,
        "'n1-rack-a'": False,
        "'n2-rack-a'": False,
    }
    of_nodes = (r for e in plan if type(r := e.resource) is File and r.ns in ("n1", "n2"))
    assert not any("bfd" in file.text for file in of_nodes)


def test_both_addresses_of_a_link_are_used() -> None:
    at: Addressing = allocate(leaf_spine("static", 1, 1))
    assert at.router["leaf1", "leaf1-spine1"] == "172.16.0.2"
    assert at.router["spine1", "leaf1-spine1"] == "172.16.0.3"
    assert Segment("x", ("10.0.0.0/31",), HERE).is_link
