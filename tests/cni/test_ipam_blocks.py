"""Laws of Calico's blocks, for pools from roomy to exhausted; and single cases."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_specs import small_spec

from emulator.errors import SpecError
from emulator.ipam import Addressing, allocate
from emulator.spec.resolved import ResolvedSpec


def cluster(
    nodes: int, pods: int, pool: str = "10.244.0.0/16", backend: str = "bgp", **options: int
) -> ResolvedSpec:
    spec = small_spec("calico", backend, nodes=("rack-a",) * nodes, pods_per_node=pods, **options)
    return spec._replace(pod_cidrs=(pool,))


def owner(at: Addressing, address: str) -> str:
    """The node whose block an address is of."""
    found = [
        node
        for node, blocks in at.blocks.items()
        for block in blocks
        if ip_address(address) in ip_network(block)
    ]
    assert len(found) == 1
    return found[0]


@st.composite
def clusters(draw: st.DrawFn) -> ResolvedSpec:
    length, block = draw(st.integers(24, 28)), draw(st.integers(24, 30))
    return cluster(
        draw(st.integers(1, 6)),
        draw(st.integers(0, 20)),
        draw(st.sampled_from((f"10.244.0.0/{length}", f"fd00:10:244::/{96 + length}"))),
        draw(st.sampled_from(("bgp", "vxlan"))),
        blockSize=max(length, block),
        blockSizeIPv6=96 + max(length, block),
        strictAffinity=draw(st.booleans()),
    )


def used(at: Addressing) -> dict[str, str]:
    """The node of each address of a pod or a tunnel."""
    pods = {address: pod.partition("-")[0] for pod, address in at.pod.items()}
    return pods | {address: node for node, address in at.tunnel.items()}


@given(clusters())
def test_addresses_are_of_the_pool_and_each_is_somebodys_alone(spec: ResolvedSpec) -> None:
    try:
        at = allocate(spec)
    except SpecError:
        return
    both = [*at.pod.values(), *at.tunnel.values()]
    assert len(set(both)) == len(both)
    pool = ip_network(spec.pod_cidr)
    assert all(ip_address(address) in pool for address in both)
    claimed = [block for blocks in at.blocks.values() for block in blocks]
    assert len(set(claimed)) == len(claimed)
    assert all(ip_address(block.partition("/")[0]) in pool for block in claimed)


@given(clusters())
def test_what_is_borrowed_is_counted_and_nothing_is_without_need(spec: ResolvedSpec) -> None:
    try:
        at = allocate(spec)
    except SpecError:
        return
    foreign = {address: node for address, node in used(at).items() if owner(at, address) != node}
    assert at.borrowed == foreign
    size = 1 << (32 - int(spec.network.option("blockSize")))
    fill = Counter(owner(at, address) for address in used(at))
    if foreign:
        assert not spec.network.option("strictAffinity")
        blocks = ip_network(spec.pod_cidr).num_addresses // size
        assert sum(map(len, at.blocks.values())) == blocks, "a block was free"
        for node in foreign.values():
            assert fill[node] == len(at.blocks[node]) * size, "a block of its own had room"


@given(clusters())
def test_refused_is_only_what_does_not_fit(spec: ResolvedSpec) -> None:
    size = 1 << (32 - int(spec.network.option("blockSize")))
    tunnels = len(spec.nodes) if spec.network.backend == "vxlan" else 0
    wanted = len(spec.pods) + tunnels
    pool = ip_network(spec.pod_cidr).num_addresses
    on_a_node = wanted // len(spec.nodes)
    fits = wanted <= pool and on_a_node <= 20 * size
    if spec.network.option("strictAffinity"):
        fits = len(spec.nodes) * -(-on_a_node // size) * size <= pool and on_a_node <= 20 * size
    try:
        allocate(spec)
        assert fits
    except SpecError:
        assert not fits


@given(clusters(), st.data())
def test_one_pod_less_at_the_end_moves_nobody(spec: ResolvedSpec, data: st.DataObject) -> None:
    try:
        at = allocate(spec)
    except SpecError:
        return
    if not spec.pods:
        return
    left = allocate(spec._replace(pods=spec.pods[:-1]))
    assert left.pod == dict(list(at.pod.items())[:-1])
    assert left.tunnel == at.tunnel


def test_all_addresses_of_a_block_are_given_out_those_of_its_ends_too() -> None:
    at = allocate(cluster(1, 64))
    (block,) = at.blocks["n1"]
    assert list(at.pod.values()) == [str(a) for a in IPv4Network(block)]


def test_a_pool_of_ipv6_has_blocks_of_its_own_in_the_same_cluster() -> None:
    both = small_spec("calico", "vxlan", pods_per_node=64, families="46")
    at, six = allocate(both).families
    for node in ("n1", "n2"):
        assert [block.partition("/")[2] for block in at.blocks[node]] == ["26", "26"]
        assert [block.partition("/")[2] for block in six.blocks[node]] == ["122", "122"]
        assert six.tunnel[node] == six.blocks[node][0].partition("/")[0]
    assert allocate(small_spec("calico", "vxlan", pods_per_node=64)).pod == at.pod


def test_a_tunnel_takes_up_a_place() -> None:
    at = allocate(cluster(1, 64, backend="vxlan"))
    assert [
        len([a for a in used(at) if a in map(str, IPv4Network(b))]) for b in at.blocks["n1"]
    ] == [
        64,
        1,
    ]


def test_a_node_without_addresses_has_no_block() -> None:
    assert allocate(cluster(2, 0)).blocks == {"n1": (), "n2": ()}


def test_blocks_stay_when_nodes_come_and_go() -> None:
    three, two = cluster(3, 70), cluster(2, 70)
    assert allocate(two).blocks.items() <= allocate(three).blocks.items()
    without_first = three._replace(
        nodes=three.nodes[1:], pods=tuple(p for p in three.pods if p.node != "n1")
    )
    assert allocate(without_first).blocks.items() <= allocate(three).blocks.items()


def test_a_node_at_its_limit_of_blocks_borrows_nothing() -> None:
    """Calico gives up there, also where it may borrow: 20 blocks of 2 are 40 pods."""
    allocate(cluster(2, 40, blockSize=31))
    with pytest.raises(SpecError, match=r"expected at most 20 blocks of 2 addresses on each node"):
        allocate(cluster(2, 41, blockSize=31))


def test_a_pool_that_runs_out() -> None:
    allocate(cluster(2, 64, "10.244.0.0/25"))
    with pytest.raises(SpecError) as caught:
        allocate(cluster(2, 65, "10.244.0.0/25"))
    assert str(caught.value) == (
        "small.yaml:1:1: spec: found 130 addresses for 2 nodes from 10.244.0.0/25, a pool of 2 "
        "blocks of 64: nothing is left for node n2, which has 0 of them, expected a block to "
        "claim, or an address to borrow\n"
        "    hint: use a shorter prefix for podCIDR or fewer pods"
    )


def test_a_pool_smaller_than_a_block() -> None:
    with pytest.raises(SpecError, match="a pool of 0 blocks of 64"):
        allocate(cluster(1, 1, "10.244.0.0/27"))


@settings(max_examples=80)
@given(
    st.sampled_from(("bgp", "vxlan")),
    st.lists(st.tuples(st.sets(st.integers(0, 7), min_size=1), st.integers(0, 6)), min_size=2),
)
def test_blocks_and_pods_stay_while_nodes_come_and_go(
    backend: str, steps: list[tuple[set[int], int]]
) -> None:
    """Also where a block that somebody has left would come first in another node's walk."""
    at = None
    for names, pods in steps:
        whole = cluster(8, pods, "10.244.0.0/24", backend, blockSize=30)
        spec = whole._replace(
            nodes=tuple(whole.nodes[i] for i in sorted(names)),
            pods=tuple(pod for pod in whole.pods if int(pod.node[1:]) - 1 in names),
        )
        earlier, at = at, allocate(spec, at.ledger) if at else allocate(spec)
        if earlier is None:
            continue
        for node in earlier.blocks.keys() & at.blocks.keys():
            known = earlier.blocks[node]
            assert at.blocks[node][: len(known)] == known
        for pod in earlier.pod.keys() & at.pod.keys():
            assert at.pod[pod] == earlier.pod[pod]


def test_the_tunnel_of_a_node_that_comes_later_takes_nobodys_address() -> None:
    """Where there is no block left for it, it borrows what older pods have left."""
    whole = cluster(3, 3, "10.244.0.0/28", "vxlan", blockSize=29)
    before = whole._replace(
        nodes=whole.nodes[:2], pods=tuple(p for p in whole.pods if p.node != "n3")
    )
    first = allocate(before)
    second = allocate(whole, first.ledger)
    assert {pod: second.pod[pod] for pod in first.pod} == first.pod
    assert {node: second.tunnel[node] for node in first.tunnel} == first.tunnel
    assert second.tunnel["n3"] in second.borrowed
    assert allocate(whole, second.ledger) == second


def test_pods_stay_where_they_are_when_the_tunnels_go_and_come() -> None:
    first = allocate(cluster(2, 3, backend="vxlan"))
    second = allocate(cluster(2, 3, backend="bgp"), first.ledger)
    assert (second.pod, second.tunnel) == (first.pod, {})
    assert allocate(cluster(2, 3, backend="vxlan"), second.ledger) == first
    began = allocate(cluster(2, 3, backend="bgp"))
    later = allocate(cluster(2, 3, backend="vxlan"), began.ledger)
    assert later.pod == began.pod
    assert not set(later.tunnel.values()) & set(later.pod.values())
