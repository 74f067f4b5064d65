"""The network below the pod network: segments with a switch each, routers, nodes, hosts.

A switch is a namespace of its own with one bridge ``br0`` whose ports are ``eth1``,
``eth2``, … in the order routers, nodes, hosts; it must not hand frames to the packet
filter (bridge-nf off), for a real switch has none. Routers forward and send no
redirects, which would hide a missing route. Nodes and hosts have a default route by the
first router of their segment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from emulator.datapath.base import namespace, no_reverse_path_filter
from emulator.datapath.naming import mac
from emulator.datapath.offload import features
from emulator.datapath.shaping import shape
from emulator.ipam import Addressing
from emulator.plan.resources import (
    Addr,
    Bridge,
    Interface,
    Resource,
    Route,
    Sysctl,
    veth,
)
from emulator.spec.resolved import ResolvedSpec

SWITCH_BRIDGE = "br0"


class Cable(NamedTuple):
    """A link of the underlay: a device's interface in a port of a segment's switch."""

    device: str
    interface: str
    switch: str
    port: str
    address: str


def cables(spec: ResolvedSpec, addressing: Addressing) -> list[Cable]:
    """Every cable, in the order of the switches' ports."""
    out: list[Cable] = []
    ports = {segment.name: 0 for segment in spec.segments}

    def plug(device: str, interface: str, segment: str, address: str) -> None:
        ports[segment] += 1
        out.append(Cable(device, interface, segment, f"eth{ports[segment]}", address))

    for router in spec.routers:
        for index, segment in enumerate(router.segments):
            plug(router.name, f"eth{index}", segment, addressing.router[router.name, segment])
    for node in spec.nodes:
        plug(node.name, node.interface, node.segment, addressing.node[node.name])
    for host in spec.hosts:
        plug(host.name, host.interface, host.segment, addressing.host[host.name])
    return out


def switches(spec: ResolvedSpec) -> Iterator[Resource]:
    """The switch of every segment, without its ports."""
    for segment in spec.segments:
        yield from namespace(segment.name, forwards=False, congestion_control=None)
        for table in ("arptables", "ip6tables", "iptables"):
            yield Sysctl(segment.name, f"net/bridge/bridge-nf-call-{table}", "0", True)
        yield Bridge(segment.name, SWITCH_BRIDGE)
        yield Interface(
            segment.name,
            SWITCH_BRIDGE,
            True,
            spec.links.mtu,
            mac(segment.name, SWITCH_BRIDGE),
            "",
            False,
            *features(spec.links.offload, "bridge"),
        )


def devices(spec: ResolvedSpec) -> Iterator[Resource]:
    """The namespaces of routers, nodes and hosts."""
    for router in spec.routers:
        yield from namespace(router.name, forwards=True, congestion_control=None)
        yield from no_reverse_path_filter(router.name)
        for scope in ("all", "default"):
            yield Sysctl(router.name, f"net/ipv4/conf/{scope}/send_redirects", "0")
    for node in spec.nodes:
        # a node forwards because the bridge plugin needs it to: that plugin says so
        yield from namespace(
            node.name,
            forwards=spec.network.plugin != "host",
            congestion_control=spec.congestion_control,
        )
        yield from no_reverse_path_filter(node.name)
        yield Sysctl(node.name, "net/bridge/bridge-nf-call-iptables", "1", True)
    for host in spec.hosts:
        yield from namespace(host.name, forwards=False, congestion_control=spec.congestion_control)


def cable(spec: ResolvedSpec, link: Cable, routers: bool) -> Iterator[Resource]:
    """One cable with the configuration of both its ends and the address of the device."""
    settings = spec.links
    offload = features(settings.offload, "underlay")
    prefix = next(s.cidr for s in spec.segments if s.name == link.switch).partition("/")[2]
    yield veth(link.device, link.interface, link.switch, link.port)
    yield Interface(
        link.device,
        link.interface,
        True,
        settings.mtu,
        mac(link.device, link.interface),
        "",
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
    yield Addr(link.device, link.interface, f"{link.address}/{prefix}")
    if settings.rate:
        yield shape(link.device, link.interface, settings.rate, settings.mtu)
        yield shape(link.switch, link.port, settings.rate, settings.mtu)


def routes(spec: ResolvedSpec, addressing: Addressing) -> Iterator[Resource]:
    """Static routes: every segment from every router; a default for nodes and hosts."""
    for router in spec.routers:
        for segment in spec.segments:
            if segment.name in router.segments:
                continue
            hop = _next_hop(spec, router.segments, segment.name)
            if hop is not None:
                via = addressing.router[hop]
                dev = f"eth{router.segments.index(hop[1])}"
                yield Route(router.name, segment.cidr, via, dev)
    ends = [(n.name, n.segment, n.interface) for n in spec.nodes]
    ends += [(h.name, h.segment, h.interface) for h in spec.hosts]
    for name, own, interface in ends:
        first = next((r.name for r in spec.routers if own in r.segments), None)
        if first is None:
            continue
        yield Route(name, "default", addressing.router[first, own], interface)
        for segment in spec.segments:
            if segment.name == own:
                continue
            hop = _next_hop(spec, (own,), segment.name)
            if hop is not None and hop[0] != first:
                yield Route(name, segment.cidr, addressing.router[hop], interface)


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
