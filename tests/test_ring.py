"""The ring of Weave's allocator: what it says by its own account, and laws for any cluster."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_specs import small_spec

from emulator.errors import SpecError
from emulator.ipam import allocate
from emulator.ring import Full, Ring, peer_name

FIRST, END = int(IPv4Address("10.32.0.0")), int(IPv4Address("10.48.0.0"))


def text(spans: Sequence[tuple[int, int]]) -> list[str]:
    return [f"{IPv4Address(a)}-{IPv4Address(b - 1)}" for a, b in spans]


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (1, ["10.32.0.0/12"]),
        (2, ["10.32.0.0/13", "10.40.0.0/13"]),
        (3, ["10.32.0.0/13", "10.40.0.0/14", "10.44.0.0/14"]),
        (5, ["10.32.0.0/14", "10.36.0.0/14", "10.40.0.0/14", "10.44.0.0/15", "10.46.0.0/15"]),
    ],
)
def test_shares_of_the_default_range(count: int, shares: list[str]) -> None:
    peers = [f"peer{i}" for i in range(count)]
    ring = Ring(FIRST, END, peers)
    blocks = [block for peer in peers for block in ring.blocks(peer)]
    assert [f"{IPv4Address(at)}/{33 - size.bit_length()}" for at, size in blocks] == shares


def test_only_the_ends_of_the_range_are_left_out_not_those_of_a_share() -> None:
    ring = Ring(FIRST, END, ["a", "b"])
    first = [str(IPv4Address(ring.allocate(peer))) for peer in "aabb"]
    assert first == ["10.32.0.1", "10.32.0.2", "10.40.0.0", "10.40.0.1"]


def test_a_peer_without_space_gets_half_of_what_another_has() -> None:
    ring = Ring(0, 16, ["a", "b"])
    assert [ring.allocate("a") for _ in range(8)] == [1, 2, 3, 4, 5, 6, 7, 12]
    assert ring.owned("a") == [(0, 8), (12, 16)]
    assert ring.owned("b") == [(8, 12)]
    assert [ring.allocate("b") for _ in range(4)] == [8, 9, 10, 11]


def test_a_block_that_is_no_more_than_half_is_given_whole() -> None:
    ring = Ring(0, 32, ["a", "b"])
    assert [ring.allocate("b") for _ in range(3)] == [16, 17, 18]
    for address in (*range(1, 16), 28):  # of 19 to 31, which is 13: the upper half of 24 to 31
        assert ring.allocate("a") == address
    # of 19 to 27, which is 9, all of 20 to 23: the lowest block of four
    assert [ring.allocate("a") for _ in range(3)] == [29, 30, 20]
    assert ring.owned("b") == [(16, 20), (24, 28)]


def test_the_one_with_most_space_is_asked() -> None:
    ring = Ring(0, 64, ["a", "b", "c"])
    assert [len(range(*ring.owned(peer)[0])) for peer in "abc"] == [32, 16, 16]
    taken = [ring.allocate("b") for _ in range(17)]
    assert taken[-1] == 16 and ring.owned("a") == [(0, 16)]


@given(st.integers(2, 8), st.integers(1, 9), st.data())
def test_every_address_is_handed_out_once_and_by_its_owner(
    bits: int, count: int, data: st.DataObject
) -> None:
    size, peers = 1 << bits, [f"peer{i}" for i in range(count)]
    ring = Ring(size, 2 * size, peers)
    taken: list[int] = []
    for peer in data.draw(st.lists(st.sampled_from(peers), max_size=size)):
        try:
            taken.append(ring.allocate(peer))
        except Full:
            assert len(taken) == size - 2
            break
        assert any(start <= taken[-1] < end for start, end in ring.owned(peer))
    assert len(set(taken)) == len(taken) <= size - 2
    assert all(size < address < 2 * size - 1 for address in taken)
    # what the peers own is the whole range, no part of it twice
    spans = sorted(span for peer in peers for span in ring.owned(peer))
    assert spans[0][0] == size and spans[-1][1] == 2 * size
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    for peer in peers:
        blocks = list(ring.blocks(peer))
        assert all(at % length == 0 and length & (length - 1) == 0 for at, length in blocks)
        assert sum(length for _, length in blocks) == sum(b - a for a, b in ring.owned(peer))


@given(st.integers(1, 40))
def test_shares_are_aligned_and_fair(count: int) -> None:
    ring = Ring(FIRST, END, [f"peer{i:02}" for i in range(count)])
    sizes = [size for i in range(count) for _, size in ring.blocks(f"peer{i:02}")]
    assert len(sizes) == count and max(sizes) <= 2 * min(sizes)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1))
def test_a_peer_is_named_like_a_local_unicast_address(node: str) -> None:
    name = peer_name(node)
    assert int(name[:2], 16) & 3 == 2 and len(name) == 17
    assert name == peer_name(node) != peer_name(node + "x")


def test_shares_go_by_the_names_of_peers_and_not_by_those_of_nodes() -> None:
    at = allocate(small_spec("weave", nodes=["rack-a"] * 4))
    order = sorted(at.blocks, key=peer_name)
    assert [at.blocks[name] for name in order] == [(f"10.{n}.0.0/14",) for n in (32, 36, 40, 44)]
    assert order != sorted(order), "the example tells nothing"


@given(st.integers(1, 5), st.integers(0, 12), st.integers(27, 30))
def test_a_range_is_full_when_it_is_used_up_and_not_before(
    nodes: int, pods: int, length: int
) -> None:
    spec = small_spec("weave", nodes=["rack-a"] * nodes, pods_per_node=pods)
    spec = spec._replace(pod_cidrs=(f"10.50.0.0/{length}",))
    pool = IPv4Network(spec.pod_cidr)
    try:
        at = allocate(spec)
    except SpecError as error:
        assert nodes * (pods + 1) > pool.num_addresses - 2
        assert f"at most {pool.num_addresses - 2} addresses" in str(error)
        return
    assert nodes * (pods + 1) <= pool.num_addresses - 2
    held = {**at.gateway, **at.pod}
    assert len(set(held.values())) == nodes * (pods + 1)
    assert set(held.values()) <= set(map(str, pool.hosts()))
    for pod in spec.pods:
        blocks = map(IPv4Network, at.blocks[pod.node])
        assert any(IPv4Address(at.pod[pod.id]) in block for block in blocks)
