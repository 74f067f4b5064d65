"""Which nodes speak BGP with which, and what they hear of each other by it.

A full mesh; or *route reflectors*, with whom all others peer and who hand on what their clients
say; or the routers of the racks. Reflectors are of one cluster: each peers with every other one,
and takes nothing back that has passed one of them. Each family has sessions of its own, of a
daemon of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import NamedTuple

from emulator.cni.context import Context
from emulator.datapath.autonomous import rack_routers
from emulator.datapath.inet import link_local
from emulator.datapath.naming import mac
from emulator.datapath.paths import Paths
from emulator.family import IPV6
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.spec.resolved import Node, Router
from emulator.wires import Wires

ROUTERS_DAEMON = "bird"
"""The name of its process on routers, for all families."""


def daemon(at: Addressing) -> str:
    """The name of the process of a node that speaks BGP for a family."""
    return "bird6" if at.family is IPV6 else "bird"


class Session(NamedTuple):
    """One end of a session, as its node sees it.

    ``kind`` is ``Mesh`` or ``Node``. ``passive``: it waits for the other end to begin.
    ``client``: the other end is a client of this one, a reflector. ``external``: the other end is
    a router, of an AS of its own.
    """

    kind: str
    address: str
    as_number: int
    passive: bool = False
    client: bool = False
    external: bool = False

    @property
    def name(self) -> str:
        """``Mesh_192_168_1_12``, as confd calls it; for IPv6 ``Mesh_fd00_192_168_1__c``."""
        return f"{self.kind}_{re.sub('[.:]', '_', self.address)}"


class Heard(NamedTuple):
    """``prefixes`` of which ``gateways`` are told to be the way: of a node, or of a segment of
    the fabric, which only routers speak of (``external``).
    """

    prefixes: tuple[str, ...]
    gateways: tuple[str, ...]
    external: bool = False


def of(context: Context, at: Addressing, node: Node) -> Iterator[Session]:
    """The sessions of a node in a family, in the order of the file.

    In the mesh the end whose address is the smaller *text* is passive: 10.0.0.10 waits for
    10.0.0.9.
    """
    network = context.spec.network
    own = int(network.option("asNumber"))
    reflectors = network.names("routeReflectors")
    if network.option("peerWithRouters"):
        for router in rack_routers(context.spec, at, node):
            yield Session("Node", router.address, router.as_number, external=True)
    for peer in context.spec.nodes:
        address = at.node[peer.name]
        if peer.name == node.name:
            continue
        if network.option("nodeToNodeMeshEnabled"):
            yield Session("Mesh", address, own, passive=at.node[node.name] < address)
        elif node.name in reflectors or peer.name in reflectors:
            client = node.name in reflectors and peer.name not in reflectors
            yield Session("Node", address, own, client=client)


def prefixes(at: Addressing, node: str) -> Iterator[str]:
    """What other nodes have routes to a node for: its blocks, and what it has borrowed."""
    yield from at.blocks[node]
    bits = at.family.bits
    yield from (f"{address}/{bits}" for address, user in at.borrowed.items() if user == node)


def heard(context: Context, at: Addressing, node: Node) -> Iterator[Heard]:
    """What a node has routes to in a family, once all daemons have converged.

    A daemon that is dead has left what it knew when it died, and the kernel forgets that as well
    when the interface goes down.
    """
    if context.wires.down(node.name, node.interface):
        return
    wires = context.wires.before(Fault("daemon", f"{node.name}:{daemon(at)}"))
    if context.spec.network.option("peerWithRouters"):
        yield from _heard_of_routers(context, at, wires, node)
        return
    for peer in context.spec.nodes:
        if peer.name == node.name:
            continue
        told = tuple(
            prefix
            for prefix in prefixes(at, peer.name)
            if _told(context, at, wires, peer.name, node.name, prefix)
        )
        if told and peer.segment == node.segment:
            yield Heard(told, (at.node[peer.name],))
        elif told and (router := wires.first_router(node.name, peer.name)):
            yield Heard(told, (at.router[router, node.segment],))


def _told(
    context: Context, at: Addressing, wires: Wires, origin: str, near: str, prefix: str
) -> bool:
    """Whether word of a node's prefix comes to another one.

    A reflector hands on nothing that lies within a block of its own: its filter takes it for one
    of its own pods. So of what is borrowed from it, it alone knows who has it.
    """
    mine = daemon(at)

    def speak(one: str, other: str) -> bool:
        silent = wires.dead(one, mine) or wires.dead(other, mine)
        return not (silent or wires.between(one, other)[1])

    network = context.spec.network
    reflectors = network.names("routeReflectors")
    if network.option("nodeToNodeMeshEnabled") or near in reflectors:
        return speak(near, origin)
    borrowed = prefix not in at.blocks[origin]
    return any(
        speak(near, r)
        and (r == origin or (speak(r, origin) and not (borrowed and _within(prefix, at.blocks[r]))))
        for r in reflectors
    )


def _within(prefix: str, blocks: tuple[str, ...]) -> bool:
    address = ip_network(prefix).network_address
    return any(address in ip_network(block) for block in blocks)


def _heard_of_routers(
    context: Context, at: Addressing, wires: Wires, node: Node
) -> Iterator[Heard]:
    """The blocks of all nodes and the fabric's own segments, whatever the routers say."""
    spec = context.spec
    if wires.apart(node.name):
        return
    here = node.name  # a segment of the node's sessions, so that other nodes are no neighbours
    speakers = [Router(here, (here,), node.place)]
    for router in spec.routers:
        lit = [s for s in router.segments if not wires.dark(router.name, s)]
        if node.segment in lit:
            lit.append(here)
        silent = wires.dead(router.name, ROUTERS_DAEMON)
        speakers.append(router._replace(segments=() if silent else tuple(lit)))
    goals = [segment.name for segment in spec.segments if segment.name != node.segment]
    for peer in spec.nodes:
        if peer is not node and not (wires.apart(peer.name) or wires.dead(peer.name, daemon(at))):
            goals.append(peer.name)
            speakers.append(Router(peer.name, (peer.segment, peer.name), peer.place))
    paths = Paths(speakers)
    for goal in goals:
        hops = paths.hops(speakers[0], goal)
        if hops:
            gateways = (_next_hop(context, at, name, node.segment) for name, _ in hops)
            known = at.segment.get(goal)
            told = (known,) if known else tuple(prefixes(at, goal))
            yield Heard(told, tuple(gateways), True)


def _next_hop(context: Context, at: Addressing, router: str, segment: str) -> str:
    """What a router calls itself to a neighbour; in IPv6 it adds its link-local address, which is
    the one that is taken."""
    if at.family is not IPV6:
        return at.router[router, segment]
    found = next(r for r in context.spec.routers if r.name == router)
    return link_local(mac(router, f"eth{found.segments.index(segment)}"))
