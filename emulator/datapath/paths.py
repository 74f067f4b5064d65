"""Shortest paths between the routers of an underlay, all of the shortest: equal cost multipath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from emulator.spec.resolved import Router

Behind = Mapping[str, Sequence[str]]
"""By node: the prefixes that routers of the underlay lead to it."""


class Aggregates(NamedTuple):
    """Prefixes of all pods behind a segment, by its name: what routers know of them.

    ``on_link``: a router in the segment has no more than that, and asks there for each address
    by ARP. Otherwise nodes tell it their own part, and it tells other routers the whole.
    """

    of: Mapping[str, Sequence[str]] = {}
    on_link: bool = False


class Paths:
    """Paths over routers, each of which costs the same."""

    def __init__(self, routers: Sequence[Router]) -> None:
        self._routers = routers
        self._joined: dict[str, list[Router]] = {}
        for router in routers:
            for segment in router.segments:
                self._joined.setdefault(segment, []).append(router)
        self._distance = cache(self._distances)

    def hops(self, router: Router, goal: str) -> list[tuple[str, str]]:
        """Every next hop on a shortest path to a segment: (router, the segment in which it is met).

        Empty for a segment of its own, and for one that no path leads to.
        """
        far = self._distance(goal)
        own = far.get(router.name, 0)
        return [
            (neighbour.name, segment)
            for segment in router.segments
            for neighbour in self._joined[segment]
            if own and far[neighbour.name] == own - 1
        ]

    def shares(self, router: Router) -> bool:
        """Whether it has several next hops to anywhere."""
        return any(len(self.hops(router, segment)) > 1 for segment in self._joined)

    def _distances(self, goal: str) -> dict[str, int]:
        """Routers between each router and a segment; one that it is reached from by none is left
        out."""
        found = {router.name: 0 for router in self._joined.get(goal, ())}
        edge = list(self._joined.get(goal, ()))
        while edge:
            here = edge.pop(0)
            for segment in here.segments:
                for neighbour in self._joined[segment]:
                    if neighbour.name not in found:
                        found[neighbour.name] = found[here.name] + 1
                        edge.append(neighbour)
        return found
