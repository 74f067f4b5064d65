"""Which cables and interfaces still carry: the underlay as the oracle sees it.

Routing is static and does not turn away from a fault: packets take the way with the
fewest routers, and among equals the one whose router stands first in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from emulator.faults import Fault, cables
from emulator.spec.resolved import ResolvedSpec


class Wires:
    """The cables of a spec under a set of faults. Every reason is a sentence, empty if all is well.

    ``segment`` is the segment of each node and outside host.
    """

    def __init__(self, spec: ResolvedSpec, faults: Iterable[Fault]) -> None:
        self.segment = {n.name: n.segment for n in spec.nodes}
        self.segment |= {h.name: h.segment for h in spec.hosts}
        self._home = {p.id: p.node for p in spec.pods}
        self._faults = frozenset(faults)
        self._routers = spec.routers
        self._cables = cables(spec)
        self.between = cache(self._between)

    def _between(self, near: str, far: str) -> tuple[int, str]:
        """(routers on the way, why nothing passes or empty) between nodes or outside hosts."""
        broken = self.cut_off(near) or self.cut_off(far)
        there = self._route(self.segment[near], self.segment[far])
        back = self._route(self.segment[far], self.segment[near])
        if there is None or back is None:
            segments = f"{self.segment[near]} and {self.segment[far]}"
            return 0, broken or f"no router joins {segments}"
        for router, interface in there + back:
            broken = broken or self._end(router, interface)
        return len(there) // 2, broken

    def _route(self, start: str, goal: str) -> list[tuple[str, str]] | None:
        """Interfaces of routers on the shortest way between segments, two for each router."""
        ways: dict[str, list[tuple[str, str]]] = {start: []}
        edge = [start]
        while edge and goal not in ways:
            here = edge.pop(0)
            for router in self._routers:
                if here not in router.segments:
                    continue
                inside = (router.name, f"eth{router.segments.index(here)}")
                for index, segment in enumerate(router.segments):
                    if segment not in ways:
                        ways[segment] = [*ways[here], inside, (router.name, f"eth{index}")]
                        edge.append(segment)
        return ways.get(goal)

    def cut_off(self, name: str) -> str:
        """Why nothing passes the one cable of a node, outside host or pod; empty when it does."""
        home = self._home.get(name, name)
        if Fault("node", home) in self._faults:
            return f"node {home} is cut off"
        return self._end(name, self._cables[name][0])

    def _end(self, name: str, interface: str) -> str:
        for target in (name, f"{name}:{interface}"):
            if Fault("link", target) in self._faults:
                return f"the cable at {target} has no carrier"
        return self.down(name, interface)

    def dead(self, name: str, daemon: str) -> str:
        """Why a daemon of a node or router does not run; empty when it does."""
        target = f"{name}:{daemon}"
        return f"{target} is dead" if Fault("daemon", target) in self._faults else ""

    def down(self, name: str, interface: str) -> str:
        target = f"{name}:{interface}"
        return f"{target} is down" if Fault("interface", target) in self._faults else ""
