"""Which cables and interfaces still carry: the underlay as the oracle sees it.

Static routing does not turn away from a fault. Packets take the ways with the fewest routers;
where a router has several, the hash of a flow chooses, and that is drawn anew in every lab. A
router with several next hops leaves out those whose cable it sees to be dead, but what is cut
further on it does not see. Routing by BGP takes the shortest ways of what is left. Nodes and
outside hosts send to one router always: the first in the file on a shortest way. Only nodes that
speak BGP with routers choose, as these do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Literal, NamedTuple

from emulator.faults import Fault, cables, link_ends
from emulator.spec.media import media
from emulator.spec.resolved import UPLINK, Host, Node, ResolvedSpec, Router


class Way(NamedTuple):
    """What can come of a packet: through so many routers, or lost for a reason."""

    routers: int
    broken: str


class Wires:
    """The cables of a spec under a set of faults. Every reason is a sentence, empty if all is well.

    ``segment`` is the segment of each node and outside host. Faults are in the order in which
    they came. ``listener``: the daemon by which nodes hear routers, where they do.
    """

    def __init__(self, spec: ResolvedSpec, faults: Iterable[Fault], listener: str = "bird") -> None:
        stations: list[Node | Host] = [*spec.nodes, *spec.hosts]
        self.segment = {x.name: x.segment for x in stations}
        self._home = {p.id: p.node for p in spec.pods}
        self._spec, self._order, self._listener = spec, tuple(faults), listener
        self._faults = frozenset(self._order)
        self._routers = spec.routers
        self._by_name = {r.name: r for r in spec.routers}
        self._turns_away = spec.routing == "bgp"
        hearing = self._turns_away and spec.network.peers_with_routers
        self._listening = {n.name for n in spec.nodes} if hearing else set[str]()
        self._cables = cables(spec)
        self._media = media(spec)
        self._other_end = link_ends(spec)
        self._root = {s.name: s.tree[0].name for s in spec.segments}
        self._uplink = {w.name: w.uplink for s in spec.segments for w in s.switches}
        self._switch = {x.name: x.switch or self._root[x.segment] for x in stations}
        self._met: dict[str, list[Router]] = {s.name: [] for s in spec.segments}
        for router in spec.routers:
            for segment in router.segments:
                self._met[segment].append(router)
        self._ways = cache(self._find_ways)
        self._far = cache(self._find_far)
        self._first_routers = cache(self._find_first_routers)
        self._one_way = cache(self._find_one_way)
        self.between = cache(self._between)
        self.doubt = cache(self._doubt)
        self.dark = cache(self._dark)
        self._unheard = cache(self._find_unheard)

    def _between(
        self, near: str, far: str, there_by_default: bool = False, back_by_default: bool = False
    ) -> tuple[int, str]:
        """(routers on the way, why nothing passes or empty) between nodes or outside hosts.

        What passes by one way of several and not by another passes: see :meth:`doubt`. Packets
        for an address *behind* one of them, which only routers know, go by the default route of
        the sender, though both be on one segment: ``there_by_default``, ``back_by_default``.
        """
        there = self._one_way(near, far, there_by_default)
        back = self._one_way(far, near, back_by_default)
        broken = self.cut_off(near) or self.cut_off(far)
        for ways in (there, back):
            if all(way.broken for way in ways):
                broken = broken or ways[0].broken
        # of the ways that pass all are equally long
        routers = next((way.routers for way in there if not way.broken), there[0].routers)
        return routers, broken

    def _doubt(
        self, near: str, far: str, there_by_default: bool = False, back_by_default: bool = False
    ) -> str:
        """Why it depends on the flow whether anything passes; empty where it does not."""
        if self.between(near, far, there_by_default, back_by_default)[1]:
            return ""
        there = self._one_way(near, far, there_by_default)
        ways = (*there, *self._one_way(far, near, back_by_default))
        broken = next((way.broken for way in ways if way.broken), "")
        return broken and f"the hash of the flow chooses among equal paths, and on one {broken}"

    def _find_one_way(self, near: str, far: str, by_default: bool) -> tuple[Way, ...]:
        """What can come of packets from one to the other, their own cables excepted."""
        start, goal = self.segment[near], self.segment[far]
        if by_default and not self._met[start]:
            return (Way(0, f"no router stands on {start}"),)
        if start == goal and not by_default:
            return (Way(0, self._across(start, self._switch[near], self._switch[far])),)
        first = self._met[start][0] if by_default else self._first_routers(start).get(goal)
        if first is None:
            return (Way(0, f"no router joins {start} and {goal}"),)
        found: dict[Way, None] = {}
        last = self._across(goal, self._root[goal], self._switch[far])
        heard = [] if by_default else self._heard(near, goal)
        for router in heard or [first]:
            broken = self._across(start, self._switch[near], self._root[start])
            broken = broken or self._into(*_port(router, start))
            behind = (Way(0, broken),) if broken else self._ways(router.name, goal)
            found |= dict.fromkeys(Way(way.routers + 1, way.broken or last) for way in behind)
        return tuple(found)

    def _heard(self, near: str, goal: str) -> list[Router]:
        """The routers that tell a node of the best ways to a segment, where nodes listen."""
        if near not in self._listening:
            return []
        now = self.before(Fault("daemon", f"{near}:{self._listener}"))
        start = self.segment[near]
        far = now._far(goal)
        told = [r for r in self._met[start] if r.name in far and not now._unheard(r.name, start)]
        return [r for r in told if far[r.name] == min(far[other.name] for other in told)]

    def _find_first_routers(self, start: str) -> dict[str, Router]:
        """By segment, the router of this one that packets to it are sent to: the first that stands
        on a shortest way of the whole underlay, whatever is broken."""
        found: dict[str, Router] = {}
        edge = [start]
        while edge:
            here = edge.pop(0)
            for router in self._met[here]:
                for segment in router.segments:
                    if segment != start and segment not in found:
                        found[segment] = found.get(here, router)
                        edge.append(segment)
        return found

    def _find_ways(self, name: str, goal: str) -> tuple[Way, ...]:
        """What can come of packets for a segment that have reached a router; the routers behind
        it are counted."""
        router = self._by_name[name]
        if goal in router.segments and not (self._turns_away and self.dark(router.name, goal)):
            return (Way(0, self._end(*_port(router, goal)) or self._out(*_port(router, goal))),)
        hops = list(self._known_to(router)._hops(router, goal))
        if not hops:
            return (Way(0, f"{name} has no way left to {goal}"),)
        # a router with one next hop goes on to send to it, another one leaves the dead out
        alive = [hop for hop in hops if not self.dark(name, hop[1])]
        if not alive:
            return (Way(0, self.dark(name, hops[0][1])),)
        found: dict[Way, None] = {}
        for neighbour, segment in alive:
            broken = self._out(*_port(router, segment)) or self._into(*_port(neighbour, segment))
            behind = (Way(0, broken),) if broken else self._ways(neighbour.name, goal)
            found |= dict.fromkeys(Way(way.routers + 1, way.broken) for way in behind)
        return tuple(found)

    def _known_to(self, router: Router) -> Wires:
        """What a router goes by; where its daemon is dead, what was so when that died."""
        return self.before(Fault("daemon", f"{router.name}:bird"))

    def has_default(self, near: str) -> bool:
        """Whether a node or outside host has a default route: a router stands on its segment."""
        return bool(self._met[self.segment[near]])

    def first_router(self, near: str, far: str) -> str:
        """The router that a node sends to for a node of another segment; empty if there is none."""
        router = self._first_routers(self.segment[near]).get(self.segment[far])
        return router.name if router else ""

    def _find_unheard(self, name: str, segment: str) -> bool:
        """Whether neighbours in a segment do not hear a router, for those that listen."""
        silent = self.dead(name, "bird") or self.dark(name, segment)
        return self._turns_away and bool(silent)

    def _hops(self, router: Router, goal: str) -> Iterator[tuple[Router, str]]:
        """The neighbours on shortest ways, and where they are met."""
        far = self._far(goal)
        own = far.get(router.name)
        for segment in router.segments:
            if self._unheard(router.name, segment):
                continue
            for neighbour in self._met[segment]:
                there = far.get(neighbour.name)
                if own is None or there != own - 1:
                    continue
                if not self._unheard(neighbour.name, segment):
                    yield neighbour, segment

    def _find_far(self, goal: str) -> dict[str, int]:
        """Routers between each router and a segment, over what the routing knows to be whole."""
        edge = [r for r in self._met[goal] if not self._unheard(r.name, goal)]
        far = {router.name: 0 for router in edge}
        while edge:
            here = edge.pop(0)
            for segment in here.segments:
                if self._unheard(here.name, segment):
                    continue
                for other in self._met[segment]:
                    if other.name not in far and not self._unheard(other.name, segment):
                        far[other.name] = far[here.name] + 1
                        edge.append(other)
        return far

    def _dark(self, name: str, segment: str) -> str:
        """Why a router's own interface in a segment has no carrier or is down; empty if it has."""
        end = _port(self._by_name[name], segment)
        own = self._end(*end)
        if own or end not in self._other_end:
            return own
        return self._end(*self._other_end[end])

    def _across(self, segment: str, one: str, other: str) -> str:
        """Why nothing passes between two switches of a segment; empty when it does."""
        up, down = list(self._upwards(one)), list(self._upwards(other))
        ways = [(s, self._out) for s in up if s not in down]
        ways += [(s, self._into) for s in down if s not in up]
        for switch, lost in ways:
            if broken := self._end(switch, UPLINK) or lost(switch, UPLINK):
                return broken
        return ""

    def _upwards(self, switch: str) -> Iterator[str]:
        while switch:
            yield switch
            switch = self._uplink.get(switch, "")

    def cut_off(self, name: str) -> str:
        """Why nothing passes the one cable of a node, outside host or pod; empty when it does."""
        home = self._home.get(name, name)
        if Fault("node", home) in self._faults:
            return f"node {home} is cut off"
        end = name, self._cables[name][0]
        return self._into(*end) or self._out(*end)

    def apart(self, name: str) -> str:
        """Why a node or outside host does not reach the routers of its own segment, or empty."""
        segment = self.segment[name]
        across = self._across(segment, self._switch[name], self._root[segment])
        return self.cut_off(name) or across

    def _end(self, name: str, interface: str) -> str:
        for target in (name, f"{name}:{interface}"):
            if Fault("link", target) in self._faults:
                return f"the cable at {target} has no carrier"
        return self.down(name, interface)

    def _into(self, name: str, interface: str) -> str:
        """Why nothing comes into an interface from its cable; empty when it does."""
        return self._end(name, interface) or self._lost(name, interface, "ingress")

    def _out(self, name: str, interface: str) -> str:
        """Why a cable loses all that an interface sends; empty when it does not."""
        return self._lost(name, interface, "egress")

    def _lost(self, name: str, interface: str, way: Literal["egress", "ingress"]) -> str:
        ways = self._media.get((name, interface))
        if ways and getattr(ways, way).deaf:
            return f"the cable at {name}:{interface} loses all that it {_DOES[way]}"
        return ""

    def dead(self, name: str, daemon: str) -> str:
        """Why a daemon of a node or router does not run; empty when it does."""
        target = f"{name}:{daemon}"
        return f"{target} is dead" if Fault("daemon", target) in self._faults else ""

    def before(self, *faults: Fault) -> Wires:
        """What still carried before the first of these faults came; this where none has come."""
        for place, one in enumerate(self._order):
            if one in faults:
                return Wires(self._spec, self._order[:place], self._listener)
        return self

    def down(self, name: str, interface: str) -> str:
        target = f"{name}:{interface}"
        return f"{target} is down" if Fault("interface", target) in self._faults else ""


_DOES = {"egress": "sends", "ingress": "is sent"}


def _port(router: Router, segment: str) -> tuple[str, str]:
    return router.name, f"eth{router.segments.index(segment)}"
