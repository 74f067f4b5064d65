"""The network below the pod network: segments with a switch each, routers, nodes, hosts.

A switch is a namespace of its own with one bridge ``br0`` whose ports are ``eth1``,
``eth2``, … in the order uplink, switches below, routers, nodes, hosts; it must not hand
frames to the packet filter (bridge-nf off), for a real switch has none. Routers stand at the
first switch of a segment. They forward and send no redirects, which would hide a missing
route. Where equal paths lead somewhere they share the flows, by addresses and ports, and a
next hop without carrier is none, as the switches of a fabric are set. Nodes and hosts have a
default route by the first router of their segment.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from emulator.datapath.base import namespace, no_reverse_path_filter
from emulator.datapath.inet import addresses, forwarding
from emulator.datapath.naming import mac
from emulator.datapath.offload import features
from emulator.datapath.paths import Aggregates, Behind, Paths
from emulator.datapath.shaping import shaped
from emulator.family import IPV6
from emulator.ipam import Addressing
from emulator.plan.resources import (
    Bridge,
    Hop,
    Interface,
    Resource,
    Route,
    Sysctl,
    multipath,
    veth,
)
from emulator.spec.media import Ways, media
from emulator.spec.resolved import UPLINK, Host, Node, ResolvedSpec, Router

SWITCH_BRIDGE = "br0"


class Cable(NamedTuple):
    """A link of the underlay: an interface in a port of a switch.

    ``device`` is a router, node or host with ``addresses``, one of each family (and its
    prefix), or a switch below this one, whose interface is a port as well and has none.
    ``ways``: what happens to what the device sends, and to what the switch sends to it.
    """

    device: str
    interface: str
    switch: str
    port: str
    addresses: tuple[str, ...]
    ways: Ways


def cables(spec: ResolvedSpec, addressing: Addressing) -> list[Cable]:
    """Every cable, in the order of the switches' ports."""
    out: list[Cable] = []
    ports: dict[str, int] = {}
    prefix = {s.name: [cidr.partition("/")[2] for cidr in s.cidrs] for s in spec.segments}
    first = {s.name: s.tree[0].name for s in spec.segments}

    families = addressing.families
    ways = media(spec)

    def plug(device: str, interface: str, switch: str, addresses: tuple[str, ...]) -> None:
        ports[switch] = ports.get(switch, 0) + 1
        port = f"eth{ports[switch]}"
        out.append(Cable(device, interface, switch, port, addresses, ways[device, interface]))

    def within(segment: str, found: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"{a}/{length}" for a, length in zip(found, prefix[segment], strict=True))

    for segment in spec.segments:
        for switch in segment.switches[1:]:
            ports[switch.name] = 1
            plug(switch.name, UPLINK, switch.uplink, ())
    for router in spec.routers:
        for index, name in enumerate(router.segments):
            own = within(name, (at.router[router.name, name] for at in families))
            plug(router.name, f"eth{index}", first[name], own)
    stations: list[tuple[Node | Host, list[str]]] = [
        (n, [at.node[n.name] for at in families]) for n in spec.nodes
    ]
    stations += [(h, [at.host[h.name] for at in families]) for h in spec.hosts]
    for end, bare in stations:
        own = within(end.segment, bare)
        plug(end.name, end.interface, end.switch or first[end.segment], own)
    return out


def switches(spec: ResolvedSpec) -> Iterator[Resource]:
    """The switches of every segment, without their ports."""
    for switch in (switch.name for segment in spec.segments for switch in segment.tree):
        yield from namespace(switch, forwards=False, congestion_control=None)
        for table in ("arptables", "ip6tables", "iptables"):
            yield Sysctl(switch, f"net/bridge/bridge-nf-call-{table}", "0", True)
        yield Bridge(switch, SWITCH_BRIDGE)
        yield Interface(
            switch,
            SWITCH_BRIDGE,
            True,
            spec.links.mtu,
            mac(switch, SWITCH_BRIDGE),
            "",
            False,
            *features(spec.links.offload, "bridge"),
        )


def devices(spec: ResolvedSpec) -> Iterator[Resource]:
    """The namespaces of routers, nodes and hosts."""
    paths = Paths(spec.routers)
    for router in spec.routers:
        yield from namespace(router.name, forwards=True, congestion_control=None)
        if spec.ipv6:
            yield forwarding(router.name, IPV6, True)
        yield from no_reverse_path_filter(router.name)
        for scope in ("all", "default"):
            yield Sysctl(router.name, f"net/ipv4/conf/{scope}/send_redirects", "0")
        shares = paths.shares(router)
        if shares:
            for ip in ("ipv4", "ipv6") if spec.ipv6 else ("ipv4",):
                yield Sysctl(router.name, f"net/{ip}/fib_multipath_hash_policy", "1")
        if shares or spec.routing == "bgp":
            # without it the kernel goes on to send into a cable that is cut
            for ip in ("ipv4", "ipv6") if spec.ipv6 else ("ipv4",):
                yield Sysctl(router.name, f"net/{ip}/conf/all/ignore_routes_with_linkdown", "1")
    for node in spec.nodes:
        # a node forwards because the bridge plugin needs it to: that plugin says so
        yield from namespace(
            node.name,
            forwards=spec.network.plugin != "host",
            congestion_control=spec.congestion_control,
        )
        yield from no_reverse_path_filter(node.name)
        yield Sysctl(node.name, "net/bridge/bridge-nf-call-iptables", "1", True)
        if spec.ipv6:
            yield forwarding(node.name, IPV6, spec.network.plugin != "host")
            yield Sysctl(node.name, "net/bridge/bridge-nf-call-ip6tables", "1", True)
    for host in spec.hosts:
        yield from namespace(host.name, forwards=False, congestion_control=spec.congestion_control)
        if spec.ipv6:
            yield forwarding(host.name, IPV6, False)


def cable(spec: ResolvedSpec, link: Cable, routers: bool) -> Iterator[Resource]:
    """One cable with the configuration of both its ends and the address of the device."""
    settings = spec.links
    offload = features(settings.offload, "underlay")
    yield veth(link.device, link.interface, link.switch, link.port)
    yield Interface(
        link.device,
        link.interface,
        True,
        settings.mtu,
        mac(link.device, link.interface),
        "" if link.addresses else SWITCH_BRIDGE,
        False,
        *offload,
    )
    yield Interface(
        link.switch,
        link.port,
        True,
        settings.mtu,
        mac(link.switch, link.port),
        SWITCH_BRIDGE,
        False,
        *offload,
    )
    if routers:
        # eth0 may exist before conf/all is written, so each interface says it for itself
        yield Sysctl(link.device, f"net/ipv4/conf/{link.interface}/send_redirects", "0")
    yield from addresses(link.device, link.interface, *link.addresses)
    yield from shaped(link.device, link.interface, link.ways.egress, settings)
    yield from shaped(link.switch, link.port, link.ways.ingress, settings)


def routes(spec: ResolvedSpec, addressing: Addressing) -> Iterator[Resource]:
    """Static routes: every segment from every router, by all shortest paths (unless they find
    out by BGP); a default for nodes and hosts."""
    for at in addressing.families:
        yield from _routes(spec, at)


def _routes(spec: ResolvedSpec, at: Addressing) -> Iterator[Resource]:
    paths = Paths(spec.routers)
    for router in spec.routers if spec.routing == "static" else ():
        for segment in spec.segments:
            if hops := _hops(at, paths, router, segment.name):
                yield multipath(Route(router.name, at.segment[segment.name], "", ""), hops)
    standing = Counter(segment for router in spec.routers for segment in router.segments)
    ends = [(n.name, n.segment, n.interface) for n in spec.nodes]
    ends += [(h.name, h.segment, h.interface) for h in spec.hosts]
    for name, own, interface in ends:
        first = next((r.name for r in spec.routers if own in r.segments), None)
        if first is None:
            continue
        yield Route(name, at.family.default, at.router[first, own], interface)
        if standing[own] == 1:
            continue
        for segment in spec.segments:
            if segment.name == own:
                continue
            hop = _next_hop(spec, (own,), segment.name)
            if hop is not None and hop[0] != first:
                yield Route(name, at.segment[segment.name], at.router[hop], interface)


def behind(spec: ResolvedSpec, addressing: Addressing, prefixes: Behind) -> Iterator[Resource]:
    """Static routes to what is behind nodes: from every router, or where routers speak BGP from
    those beside the node, which tell the others."""
    paths = Paths(spec.routers)
    reached = [node for node in spec.nodes if prefixes.get(node.name)]
    for router in spec.routers:
        for node in reached:
            hops: list[Hop] = []
            if node.segment in router.segments:
                dev = f"eth{router.segments.index(node.segment)}"
                hops = [Hop(addressing.node[node.name], dev)]
            elif spec.routing == "static":
                hops = _hops(addressing, paths, router, node.segment)
            for prefix in prefixes[node.name] if hops else ():
                yield multipath(Route(router.name, prefix, "", ""), hops)


def aggregated(
    spec: ResolvedSpec, addressing: Addressing, prefixes: Aggregates
) -> Iterator[Resource]:
    """Static routes to what is behind segments: from routers in these where it is on link there,
    from all others unless they speak BGP."""
    paths = Paths(spec.routers)
    for router in spec.routers:
        for segment, whole in prefixes.of.items():
            beside = segment in router.segments
            if beside and prefixes.on_link:
                dev = f"eth{router.segments.index(segment)}"
                yield from (Route(router.name, one, "", dev, scope="link") for one in whole)
            if beside or spec.routing != "static":
                continue
            if hops := _hops(addressing, paths, router, segment):
                yield from (multipath(Route(router.name, one, "", ""), hops) for one in whole)


def _hops(addressing: Addressing, paths: Paths, router: Router, segment: str) -> list[Hop]:
    return [
        Hop(addressing.router[hop], f"eth{router.segments.index(hop[1])}")
        for hop in paths.hops(router, segment)
    ]


def _next_hop(spec: ResolvedSpec, start: tuple[str, ...], goal: str) -> tuple[str, str] | None:
    """(router, the segment in which it is met) on a shortest way from ``start`` to ``goal``."""
    queue: deque[tuple[str, tuple[str, str] | None]] = deque((s, None) for s in start)
    seen = set(start)
    while queue:
        segment, first = queue.popleft()
        for router in spec.routers:
            if segment not in router.segments:
                continue
            for neighbour in router.segments:
                if neighbour in seen:
                    continue
                hop = first or (router.name, segment)
                if neighbour == goal:
                    return hop
                seen.add(neighbour)
                queue.append((neighbour, hop))
    return None
