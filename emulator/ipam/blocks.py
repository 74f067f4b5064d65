"""Calico's IPAM: a pool cut into blocks, claimed by nodes as they need them.

As Calico hands addresses out: a node claims a block with its first address and a further one
when all of its own are full; in a block the lowest free address is next, and all of them are
usable, those of network and broadcast included. A tunnel's address is the first that a node
takes. When all blocks of the pool are claimed, the node borrows an address of another node's
block; with strict affinity it gets none, and a node that has as many blocks as it may have
gets none either way. Where a node begins to look for a block is drawn from its
name, so that blocks stay where they are when nodes come and go; what a node has claimed stays its
own as long as the node is there.

A pool of IPv6 is cut by the same rules into blocks of a size of its own.

Not modelled: the draw is ours (Calico seeds Go's generator with the name), blocks that are given
back when they are empty (under IPIP a pool of IPv6 has no tunnels, and here their addresses are
left out all the same, so that pods keep theirs when the backend changes), reservations, several
pools. When a node leaves from which others have borrowed, these get other addresses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from emulator.errors import Problem
from emulator.family import IPV6, family
from emulator.ipam.ledger import Ledger, tunnel_kinds
from emulator.spec.resolved import ResolvedSpec


class Assigned(NamedTuple):
    """``blocks``: of each node, in order of claim. ``tunnel``: address of each node's tunnel
    device, none where the backend has no tunnel. ``pod``: by pod id, hostNetwork pods excepted.
    ``wireguard``: of each node's WireGuard device, where there are such.
    ``borrowed``: each address that lies in another node's block, with the node that uses it.
    """

    blocks: dict[str, tuple[str, ...]]
    tunnel: dict[str, str]
    pod: dict[str, str]
    borrowed: dict[str, str]
    wireguard: dict[str, str]


def assign(spec: ResolvedSpec, ledger: Ledger, cidr: str, problems: list[Problem]) -> Assigned:
    """Addresses of the pool ``cidr``: of tunnels, by node, then of pods, in the order in which
    they came.

    Adds to ``problems`` once, at the first address that there is no room for.
    """
    network = spec.network
    pool = _Pool(
        ip_network(cidr),
        int(network.option("blockSizeIPv6" if family(cidr) is IPV6 else "blockSize")),
        int(network.option("maxBlocksPerHost")),
        bool(network.option("strictAffinity")),
        ledger.blocks,
    )
    own_kind = " wireguard-v6" if family(cidr) is IPV6 else " wireguard"
    books: dict[str, dict[str, str]] = {"": {}, own_kind: {}}
    pod: dict[str, str] = {}
    wanted = [(seat, 1, name, node) for seat, (name, node) in enumerate(ledger.seats)]
    # a node that came later took what others' pods had left; and pods stay where they are when a
    # backend follows that needs no tunnel
    bare = network.backend == "ipip" and family(cidr) is IPV6
    named = tunnel_kinds(spec) | ({"": False} if bare else {})
    for key, seat in ledger.tunnels.items():
        node, kind = _split(key)
        if kind in books:  # of the other family none
            wanted.append((seat, 0, key if named[kind] else "", node))
    wanted.sort(key=itemgetter(0, 1))
    for _, is_pod, name, node in wanted:
        address = pool.take(node)
        if address is None:
            problems.append(pool.exhausted(str(spec.place), len(spec.nodes), len(wanted), node))
            break
        if is_pod and name:
            pod[name] = address
        elif name:
            books[_split(name)[1]][node] = address
    blocks = {n.name: tuple(map(pool.text, pool.claimed.get(n.name, ()))) for n in spec.nodes}
    return Assigned(blocks, books[""], pod, pool.borrowed, books[own_kind])


def _split(key: str) -> tuple[str, str]:
    """A node, and what kind of tunnel."""
    node, blank, kind = key.partition(" ")
    return node, blank + kind


class _Pool:
    """Blocks by their number in the pool."""

    def __init__(
        self,
        cidr: IPv4Network | IPv6Network,
        length: int,
        most: int,
        strict: bool,
        held: Mapping[str, Iterable[str]],
    ) -> None:
        self._cidr, self._length, self._most, self._strict = cidr, length, most, strict
        self._size = 1 << (cidr.max_prefixlen - length)
        self._count = cidr.num_addresses // self._size
        self._used: dict[int, int] = {}
        self._holder = {block: node for node, own in held.items() for block in self._own(own)}
        self.claimed: dict[str, list[int]] = {}
        self.borrowed: dict[str, str] = {}

    def take(self, node: str) -> str | None:
        """An address for a node: of its last block, of a new one, or a borrowed one."""
        own = self.claimed.setdefault(node, [])
        if own and self._used[own[-1]] < self._size:
            return self._next(own[-1])
        if len(own) >= self._most:
            return None
        mine = [block for block, holder in self._holder.items() if holder == node]
        for block in chain(mine, self._walk(node)):
            if block not in self._used and self._holder.get(block, node) == node:
                self._used[block] = 0
                own.append(block)
                return self._next(block)
        return None if self._strict else self._borrow(node)

    def _borrow(self, node: str) -> str | None:
        for block in self._walk(node):
            if self._used.get(block, self._size) < self._size:
                address = self._next(block)
                self.borrowed[address] = node
                return address
        return None

    def _next(self, block: int) -> str:
        address = self._cidr.network_address + (block * self._size + self._used[block])
        self._used[block] += 1
        return str(address)

    def _own(self, texts: Iterable[str]) -> Iterator[int]:
        for held in map(ip_network, texts):
            if held.version == self._cidr.version and held.prefixlen == self._length:
                yield (int(held.network_address) - int(self._cidr.network_address)) // self._size

    def _walk(self, node: str) -> Iterator[int]:
        digest = hashlib.sha1(node.encode(), usedforsecurity=False).digest()
        start = int.from_bytes(digest[:8], "big") % self._count if self._count else 0
        for step in range(self._count):
            yield (start + step) % self._count

    def text(self, block: int) -> str:
        """A block as a prefix."""
        return f"{self._cidr.network_address + block * self._size}/{self._length}"

    def exhausted(self, place: str, nodes: int, wanted: int, node: str) -> Problem:
        """What is said when there is no address for ``node``."""
        own = len(self.claimed[node])
        found = (
            f"{wanted} addresses for {nodes} nodes from {self._cidr}, a pool of {self._count} "
            f"blocks of {self._size}: nothing is left for node {node}, which has {own} of them"
        )
        if own >= self._most:
            limit = f"at most {self._most} blocks of {self._size} addresses on each node"
            return Problem(place, found, limit, "use fewer pods per node or a smaller blockSize")
        expected = "a block to claim" + ("" if self._strict else ", or an address to borrow")
        remedy = "use a shorter prefix for podCIDR or fewer pods"
        if self._strict:
            remedy += ", or strictAffinity: false, which lets a node borrow"
        return Problem(place, found, expected, remedy)
