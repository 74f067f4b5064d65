"""The routers of an underlay with ``routing: bgp``: BIRD 2 on each, and what it writes.

Each router is an autonomous system (see :mod:`emulator.datapath.autonomous`) and has a session
with every router that it shares a segment with, by the addresses there, and one for each family
of addresses. It announces the networks of its interfaces and what it leads to nodes beside it, and
passes on what it hears. Of paths with equally many systems it takes all (``merge paths``), so that
a leaf spreads flows over its spines. Faithful to fabrics in operation: a cable without carrier ends
its session at once (``check link``), timers are short, and routes into dead cables are ignored by
the kernel. A neighbour that falls silent behind a live carrier is found out by the hold time, or
sooner by BFD, which routers have among each other and not with nodes: the speakers of these have
none. Where the pods of a segment have one prefix, the routers in it announce that and keep the
parts of it to themselves. Not modelled: the same number on all spines, authentication.

A router's daemon that is dead is no neighbour to anybody; its kernel keeps what was there when
it died, by the faults before that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from itertools import product

from emulator.datapath import bird
from emulator.datapath.autonomous import BEFORE_FIRST, Announced, as_numbers
from emulator.datapath.paths import Aggregates, Behind, Paths
from emulator.family import IPV6, family
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.plan.resources import File, Hop, Resource, Route, daemon, multipath
from emulator.spec.resolved import ResolvedSpec, Router
from emulator.wires import Wires

DAEMON = "bird"
CONFIG = "/run/bird/bird.conf"
SOCKET = "/run/bird/bird.ctl"
"""Where birdc looks for it."""

Announcers = Mapping[str, Announced]
"""By node."""

_RETRIES = (
    "connect delay time 1",
    "connect retry time 1",
    "error wait time 1, 4",
)
_OWN = "where source ~ [RTS_DEVICE, RTS_BGP]"
_OWN_AND_STATIC = "where source ~ [RTS_DEVICE, RTS_STATIC, RTS_BGP]"


def daemons(
    spec: ResolvedSpec,
    at: Addressing,
    announcers: Announcers,
    behind: Behind,
    whole: Aggregates,
) -> Iterator[Resource]:
    """The daemon of every router, and its configuration."""
    if spec.routing != "bgp":
        return
    for router in spec.routers:
        yield File(router.name, CONFIG, _config(spec, at, router, announcers, behind, whole))
        yield daemon(router.name, DAEMON, bird.argv(CONFIG, SOCKET), CONFIG)


def _config(
    spec: ResolvedSpec,
    at: Addressing,
    router: Router,
    announcers: Announcers,
    behind: Behind,
    whole: Aggregates,
) -> str:
    numbers, (hold_time_s, bfd) = as_numbers(spec), spec.bgp
    statements: list[bird.Statement] = [
        bird.device(),
        *(bird.direct(["eth*"], family=_channel(one)) for one in at.families),
        *(
            bird.kernel("where source = RTS_BGP", merge_paths=True, family=_channel(one))
            for one in at.families
        ),
        *([bird.bfd(["eth*"], *bfd)] if bfd else ()),
        bird.template("neighbours", [*_silence(hold_time_s), *_RETRIES]),
    ]
    beside = [node for node in spec.nodes if node.segment in router.segments]
    for one in at.families:
        led = [
            f"{prefix} via {one.node[node.name]}"
            for node in beside
            for prefix in behind.get(node.name, ())
            if family(prefix) is one.family
        ]
        if led:
            label = "pods" if one is at else f"pods-{_channel(one)}"
            static = bird.static(label, led, check_link=True, family=_channel(one))
            statements.append(static)
    own = [(segment, one) for segment in router.segments for one in whole.of.get(segment, ())]
    if own:
        on_link = [f'{one} via "eth{router.segments.index(segment)}"' for segment, one in own]
        statements.append(bird.static("groups", on_link, check_link=True))
    leads = own or any(behind.get(node.name) for node in beside)
    exports = _OWN_AND_STATIC if leads else _OWN
    if own:  # their parts are nobody else's affair
        parts = ", ".join(f"{one}{{{int(one.partition('/')[2]) + 1},32}}" for _, one in own)
        exports += f" && ! (net ~ [{parts}])"

    def session(
        one: Addressing,
        name: str,
        segment: str,
        address: str,
        as_number: int,
        options: Sequence[str] = (),
    ) -> None:
        local = bird.Speaker(one.router[router.name, segment], numbers[router.name])
        other = bird.Speaker(address, as_number)
        label = f"{name}-{segment}" if one is at else f"{name}-{segment}-{_channel(one)}"
        statements.append(
            bird.bgp(
                label,
                local,
                other,
                exports=exports,
                channel_options=["next hop self"],
                options=options,
                template="neighbours",
            )
        )

    for one, segment in product(at.families, router.segments):
        for other in spec.routers:
            if other is not router and segment in other.segments:
                address = one.router[other.name, segment]
                watched = ["bfd on"] if bfd else []
                session(one, other.name, segment, address, numbers[other.name], watched)
        for node in spec.nodes:
            if node.segment == segment and node.name in announcers:
                number = announcers[node.name].as_number
                session(one, node.name, segment, one.node[node.name], number)
    return bird.config(_router_id(at, router, numbers[router.name]), statements)


def _silence(hold_time_s: int) -> tuple[str, ...]:
    """What ends a session; keepalives three times in the hold time, as RFC 4271 has it."""
    keepalive_s = hold_time_s // 3
    return ("check link yes", f"hold time {hold_time_s}", f"keepalive time {keepalive_s}")


def _channel(at: Addressing) -> bird.Family:
    return "ipv6" if at.family is IPV6 else "ipv4"


def _router_id(at: Addressing, router: Router, as_number: int) -> str:
    """Its first address; where that is of IPv6, its place among the routers in the same form."""
    if at.family is not IPV6:
        return at.router[router.name, router.segments[0]]
    return str(IPv4Address(as_number - BEFORE_FIRST))


def learnt(
    spec: ResolvedSpec,
    at: Addressing,
    announcers: Callable[[Wires], Announcers],
    behind: Behind,
    whole: Aggregates,
    faults: Sequence[Fault] = (),
) -> Iterator[tuple[Router, Route]]:
    """The routes that the daemons of the routers write, once they have converged.

    ``announcers``: what nodes say under one state of the cables and daemons.
    """
    if spec.routing != "bgp":
        return
    wires = Wires(spec, faults)
    for one in at.families:
        now = _Table(spec, one, announcers(wires), behind, whole, wires)
        for router in spec.routers:
            died = Fault("daemon", f"{router.name}:{DAEMON}")
            if died not in faults:
                yield from ((router, route) for route in now.of(router))
                continue
            before = Wires(spec, faults[: faults.index(died)])
            then = _Table(spec, one, announcers(before), behind, whole, before)
            for route in then.of(router):
                left = [hop for hop in route.next_hops if not wires.down(router.name, hop.dev)]
                if left:
                    yield router, multipath(route, left)


class _Table:
    """The routes of all routers under one state of the cables."""

    def __init__(
        self,
        spec: ResolvedSpec,
        at: Addressing,
        announcers: Announcers,
        behind: Behind,
        whole: Aggregates,
        wires: Wires,
    ) -> None:
        self._at = at
        self._wires = wires
        self._kept = {
            prefix
            for node in spec.nodes
            if node.name in announcers and node.segment in whole.of
            for prefix in announcers[node.name].prefixes
        }
        """Parts of what is announced as a whole."""
        self._named = {cidr: name for name, cidr in at.segment.items()}
        for node in spec.nodes:  # whoever reaches its segment knows the way
            self._named |= dict.fromkeys(behind.get(node.name, ()), node.segment)
        for segment, prefixes in whole.of.items():
            self._named |= dict.fromkeys(prefixes, segment)
        said = [prefix for one in announcers.values() for prefix in one.prefixes]
        said += [prefix for prefixes in whole.of.values() for prefix in prefixes]
        said += [prefix for prefixes in behind.values() for prefix in prefixes]
        self._goals = list(at.segment.values())
        self._goals += [prefix for prefix in said if family(prefix) is at.family]
        speakers = [self._alive(router) for router in spec.routers]
        # a node that announces prefixes is a router to them which passes nothing on
        speakers += [
            Router(node.name, (node.segment, *announcers[node.name].prefixes), node.place)
            for node in spec.nodes
            if node.name in announcers and not wires.apart(node.name)
        ]
        self._paths = Paths(speakers)

    def _alive(self, router: Router) -> Router:
        """The router with those segments that it reaches; none where its daemon is dead."""
        if self._wires.dead(router.name, DAEMON):
            return router._replace(segments=())
        lit = (s for s in router.segments if not self._wires.dark(router.name, s))
        return router._replace(segments=tuple(lit))

    def of(self, router: Router) -> Iterator[Route]:
        speaker = self._alive(router)
        for cidr in self._goals:
            hops = [
                Hop(self._address(hop), f"eth{router.segments.index(hop[1])}")
                for hop in self._paths.hops(speaker, self._named.get(cidr, cidr))
                if cidr not in self._kept or hop not in self._at.router  # from the node itself
            ]
            if hops:
                route = Route(router.name, cidr, "", "", proto="bird", metric=bird.KERNEL_METRIC)
                yield multipath(route, hops)

    def _address(self, hop: tuple[str, str]) -> str:
        return self._at.router.get(hop) or self._at.node[hop[0]]
