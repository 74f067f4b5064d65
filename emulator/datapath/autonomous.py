"""Autonomous systems of an underlay that is routed by BGP: who has which number.

Every router is one of its own, as RFC 7938 has it for data centres, with a number of the private
range of 32 bits, which no plugin takes for its nodes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from emulator.datapath.bird import Speaker
from emulator.ipam import Addressing
from emulator.spec.resolved import Node, ResolvedSpec

BEFORE_FIRST: Final = 4_200_000_000
"""The first router of the file has the number after this one."""


class Announced(NamedTuple):
    """What a node that speaks BGP with the routers of its segment says: its AS, and prefixes."""

    as_number: int
    prefixes: tuple[str, ...]


def as_numbers(spec: ResolvedSpec) -> dict[str, int]:
    """By router."""
    return {router.name: BEFORE_FIRST + i for i, router in enumerate(spec.routers, 1)}


def rack_routers(spec: ResolvedSpec, addressing: Addressing, node: Node) -> list[Speaker]:
    """The routers of a node's segment that it can speak BGP with; none where routing is static."""
    if spec.routing != "bgp":
        return []
    numbers = as_numbers(spec)
    return [
        Speaker(addressing.router[router.name, node.segment], numbers[router.name])
        for router in spec.routers
        if node.segment in router.segments
    ]
