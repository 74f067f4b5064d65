"""Romana's IPAM: addresses that follow the topology.

The range is divided among *prefix groups*, which may hold smaller ones: at each level by as many
as there are, brought up to a power of two, so that three groups of a /16 have a /18 each and a
fourth one stays empty. A host is put into the group that takes it and has the fewest so far. By
default a group is a segment of the underlay, so that a router needs one prefix for all pods
behind it.

Within its group a host takes a block when it has no free address for a *tenant* (the pod's
namespace) and segment (its label ``romana.io/segment``): the next one behind the last of the group,
whoever has that. All addresses of a block are used, those of network and broadcast included, the
lowest free one first. What a host has taken stays its own as long as it is there.

Not modelled: several networks, hosts named in a group, blacked-out ranges; blocks whose pods are
all gone go to nobody else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from emulator.errors import Problem
from emulator.ipam.ledger import Ledger
from emulator.spec.resolved import Node, ResolvedSpec


class Group(NamedTuple):
    """A group without smaller ones: its prefix, and its hosts in their order."""

    name: str
    cidr: str
    nodes: tuple[str, ...]


class Assigned(NamedTuple):
    """``blocks``: of each node, in order of claim. ``pod``: by pod id, without hostNetwork pods."""

    blocks: dict[str, tuple[str, ...]]
    pod: dict[str, str]


class _Leaf(NamedTuple):
    """A group to be filled: the segments that each level above and itself asks for."""

    name: str
    cidr: IPv4Network
    asked: frozenset[str]
    nodes: list[str]


def groups(spec: ResolvedSpec, problems: list[Problem]) -> list[Group]:
    """The groups with their hosts. Adds to ``problems`` where a host has none, where one asks for
    a segment that is not there, and where the range is too small to be divided."""
    place = str(spec.network.place)
    leaves = list(_divided(_map(spec), IPv4Network(spec.pod_cidr), "", frozenset()))
    known = {segment.name for segment in spec.segments}
    for name in sorted({one for leaf in leaves for one in leaf.asked} - known):
        found = f'a group for hosts of the segment "{name}"'
        problems.append(Problem(place, found, f"one of {', '.join(sorted(known))}"))
    for node in spec.nodes:
        taking = [leaf for leaf in leaves if leaf.asked <= {node.segment}]
        if not taking:
            found = f"no group that takes {node.name} of the segment {node.segment}"
            problems.append(Problem(place, found, "a group for each host", _REMEDY))
            continue
        min(taking, key=lambda leaf: len(leaf.nodes)).nodes.append(node.name)
    _one_segment_each(spec, leaves, problems)
    return [Group(leaf.name, str(leaf.cidr), tuple(leaf.nodes)) for leaf in leaves]


_REMEDY = "give each group under network.map the segment whose hosts it is for"


def of_segments(spec: ResolvedSpec) -> dict[str, tuple[str, ...]]:
    """The prefixes of all groups that have hosts, by the segment of these."""
    home = {node.name: node.segment for node in spec.nodes}
    found: dict[str, tuple[str, ...]] = {}
    for group in groups(spec, []):
        if group.nodes:
            segment = home[group.nodes[0]]
            found[segment] = (*found.get(segment, ()), group.cidr)
    return found


def assign(spec: ResolvedSpec, ledger: Ledger, problems: list[Problem]) -> Assigned:
    """Addresses of all pods in the order in which they came.

    Adds to ``problems`` once for each group that has no room for a block.
    """
    length = int(spec.network.option("blockMask"))
    taken: dict[str, list[IPv4Network]] = {node.name: [] for node in spec.nodes}
    pod: dict[str, str] = {}
    for group in groups(spec, problems):
        cidr = IPv4Network(group.cidr)
        held = {name: _held(ledger, name, cidr, length) for name in group.nodes}
        book = _Book(cidr, length, held)
        for (name, node), of in zip(ledger.seats, ledger.owners, strict=True):
            if node not in held:
                continue
            address = book.take(node, of)
            if address is None:
                problems.append(_full(spec, group, length))
                break
            if name:
                pod[name] = str(address)
        taken |= book.taken
    blocks = {name: tuple(map(str, own)) for name, own in taken.items()}
    return Assigned(blocks, pod)


def _held(ledger: Ledger, node: str, cidr: IPv4Network, length: int) -> list[IPv4Network]:
    """What a host has claimed of its group before, unless groups or blocks have changed."""
    blocks = map(IPv4Network, ledger.blocks.get(node, ()))
    return [block for block in blocks if block.subnet_of(cidr) and block.prefixlen == length]


class _Book:
    """The blocks of a group. ``held``: what hosts have claimed before, in that order."""

    def __init__(self, cidr: IPv4Network, length: int, held: dict[str, list[IPv4Network]]) -> None:
        self._cidr, self._length, self._held = cidr, length, held
        self._end = max(
            (int(b.broadcast_address) for own in held.values() for b in own),
            default=int(cidr.network_address) - 1,
        )
        self._open: dict[tuple[str, str], Iterator[IPv4Address]] = {}
        self.taken: dict[str, list[IPv4Network]] = {node: [] for node in held}

    def take(self, node: str, of: str) -> IPv4Address | None:
        """The next address of a host for an owner; None where the group is full."""
        address = next(self._open.get((node, of), iter(())), None)
        if address is not None:
            return address
        block = self._claim(node)
        if block is None:
            return None
        self.taken[node].append(block)
        self._open[node, of] = iter(block)
        return next(self._open[node, of])

    def _claim(self, node: str) -> IPv4Network | None:
        if self._held[node]:
            return self._held[node].pop(0)
        first, size = self._end + 1, 1 << (32 - self._length)
        if first + size - 1 > int(self._cidr.broadcast_address):
            return None
        self._end += size
        return IPv4Network((first, self._length))


def _map(spec: ResolvedSpec) -> list[dict[str, Any]]:
    """The groups as the spec has them, or one for each segment with nodes."""
    told: list[dict[str, Any]] = json.loads(str(spec.network.option("map")))
    if told:
        return told
    named = {node.segment for node in spec.nodes}
    return [{"name": s.name, "segment": s.name} for s in spec.segments if s.name in named]


def _divided(
    told: list[dict[str, Any]], cidr: IPv4Network, above: str, asked: frozenset[str]
) -> Iterator[_Leaf]:
    bits = (len(told) - 1).bit_length()
    if cidr.prefixlen + bits > 32:
        return
    for number, (one, part) in enumerate(zip(told, cidr.subnets(bits), strict=False), 1):
        name = f"{above}/{one.get('name') or number}"
        asks = asked | ({one["segment"]} if one.get("segment") else frozenset())
        if one.get("groups"):
            yield from _divided(one["groups"], part, name, asks)
        else:
            yield _Leaf(name[1:], part, asks, [])


def _one_segment_each(spec: ResolvedSpec, leaves: list[_Leaf], problems: list[Problem]) -> None:
    """A group whose hosts are in several segments has no place that its prefix leads to."""
    home: dict[str, Node] = {node.name: node for node in spec.nodes}
    for leaf in leaves:
        segments = sorted({home[name].segment for name in leaf.nodes})
        if len(segments) > 1:
            found = f"the group {leaf.name} with hosts of {len(segments)} segments"
            found += f" ({', '.join(segments)})"
            expected = "hosts of one segment in each group: routers have one route for a group"
            problems.append(Problem(str(spec.network.place), found, expected, _REMEDY))


def _full(spec: ResolvedSpec, group: Group, length: int) -> Problem:
    return Problem(
        str(spec.place),
        f"the group {group.name} with {group.cidr}, whose blocks of {1 << (32 - length)} addresses "
        "are all taken",
        "a block for each host, namespace and segment of pods",
        "use a shorter prefix for podCIDR, fewer groups or a longer blockMask",
    )
