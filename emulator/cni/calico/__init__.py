"""Calico: addresses in blocks, pods without a bridge, and routes by VXLAN or BGP.

Faithful, to Calico 3.32: pods as its CNI plugin and Felix wire them; blocks and what borrows of
them (:mod:`emulator.ipam.blocks`); a blackhole for each block of a node, so that an address that
no pod has is not sent back to the default route; ``vxlan.calico`` with its MAC address drawn
from the node's name, neighbours, forwarding entries and routes ``proto 80``, for ``vxlanMode``
``Always`` and ``CrossSubnet``; with backend ``bgp`` a BIRD on each node
(:mod:`emulator.cni.calico.confd`) and the routes that it writes; the rules that Felix programs
without any policy (:mod:`emulator.cni.calico.rules`); ``/var/lib/calico/mtu``.

Not modelled: policy chains; the datastore, confd and Typha: what they would render is written
at once; IPIP, WireGuard and eBPF; IPv6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from emulator.cni.calico import confd, rules, sessions
from emulator.cni.context import Context, Learnt
from emulator.datapath import bird, routed, vxlan
from emulator.datapath.autonomous import Announced
from emulator.datapath.offload import features
from emulator.plan.resources import (
    Addr,
    Fdb,
    File,
    Hop,
    Interface,
    Neigh,
    NftTable,
    Resource,
    Route,
    Sysctl,
    Vxlan,
    daemon,
    multipath,
)
from emulator.spec.resolved import Node, Pod

DEVICE = "vxlan.calico"
VNI = 4096
FELIX = "80"
"""The protocol number of Felix's routes."""
METRIC = 1024
"""Of what BIRD learns within one autonomous system: the priority of a pod that stays put."""
EXTERNAL_METRIC = 2_147_483_647 - 100
"""Of what BIRD learns from another one: Calico turns its local preference of 100 around."""


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Everything but the pods: Felix's part, and BIRD where there is BGP."""
    yield from routed.node(node.name)
    yield File(node.name, "/var/lib/calico/mtu", str(mtu(context)))
    tunnel = context.spec.network.backend == "vxlan"
    for table, text in rules.tables(context, DEVICE if tunnel else ""):
        yield NftTable(node.name, "ip", table, text)
    if tunnel:
        yield from _vxlan(context, node)
        for block in _blackholes(context, node):
            yield Route(node.name, block, "", "", proto=FELIX, type="blackhole")
    else:
        yield File(node.name, confd.CONFIG, confd.config(context, node))
        argv = (*bird.argv(confd.CONFIG, confd.SOCKET), "-R")
        yield daemon(node.name, sessions.DAEMON, argv, confd.CONFIG)


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod with an interface of its own on its node."""
    spec = context.spec
    address = context.addressing.pod[pod.id]
    return routed.pod(pod, address, mtu(context), spec.links.offload, spec.congestion_control)


def learnt(context: Context, node: Node) -> Learnt:
    """The routes of BIRD: its own blocks, those of the nodes that it hears of, and what routers
    say beside; Calico takes all that a peer says.

    A route to a node of another segment leads to whatever router leads there, whether that
    knows of pods or not.
    """
    if context.spec.network.backend != "bgp":
        return
    for block in _blackholes(context, node):
        yield sessions.DAEMON, Route(node.name, block, "", "", proto="bird", type="blackhole")
    segments = {segment.name: segment.cidr for segment in context.spec.segments}
    for heard in sessions.heard(context, node):
        known = segments.get(heard.origin)
        for prefix in [known] if known else prefixes(context, heard.origin):
            metric = EXTERNAL_METRIC if heard.external else METRIC
            route = Route(node.name, prefix, "", "", proto="bird", metric=metric)
            hops = [Hop(gateway, node.interface) for gateway in heard.gateways]
            yield sessions.DAEMON, multipath(route, hops)


def announced(context: Context, node: Node) -> Announced | None:
    """What a node says to the routers of its rack; None where its daemon does not run."""
    network = context.spec.network
    if network.backend != "bgp" or not network.option("peerWithRouters"):
        return None
    if context.wires.dead(node.name, sessions.DAEMON):
        return None
    return Announced(int(network.option("asNumber")), tuple(prefixes(context, node.name)))


def mtu(context: Context) -> int:
    """Of pods and of the tunnel; CrossSubnet has the tunnel's everywhere."""
    links = context.spec.links.mtu
    return links - vxlan.OVERHEAD_IPV4 if context.spec.network.backend == "vxlan" else links


def prefixes(context: Context, node: str) -> Iterator[str]:
    """What other nodes have routes to a node for: its blocks, and what it has borrowed."""
    at = context.addressing
    yield from at.blocks[node]
    yield from (f"{address}/32" for address, user in at.borrowed.items() if user == node)


def _blackholes(context: Context, node: Node) -> Iterator[str]:
    """Blocks of one address have none: it would stand in the way of the pod's own route."""
    for block in context.addressing.blocks[node.name]:
        if not block.endswith("/32"):
            yield block


def _vxlan(context: Context, node: Node) -> Iterator[Resource]:
    spec, at = context.spec, context.addressing
    yield Vxlan(
        node.name, DEVICE, VNI, node.interface, at.node[node.name], rules.VXLAN_PORT, learning=False
    )
    yield Interface(
        node.name,
        DEVICE,
        True,
        mtu(context),
        vtep_mac(node.name),
        "",
        False,
        *features(spec.links.offload, "tunnel"),
    )
    yield Addr(node.name, DEVICE, f"{at.tunnel[node.name]}/32")
    yield Sysctl(node.name, f"net/ipv6/conf/{DEVICE}/accept_ra", "0", True)
    cross = spec.network.option("vxlanMode") == "CrossSubnet"
    for peer in spec.nodes:
        if peer.name == node.name:
            continue
        # Felix knows every tunnel, also of nodes that it has no use for one to
        yield Neigh(node.name, DEVICE, at.tunnel[peer.name], vtep_mac(peer.name))
        yield Fdb(node.name, DEVICE, vtep_mac(peer.name), at.node[peer.name])
        direct = cross and peer.segment == node.segment
        via = at.node[peer.name] if direct else at.tunnel[peer.name]
        dev = node.interface if direct else DEVICE
        for prefix in prefixes(context, peer.name):
            yield Route(node.name, prefix, via, dev, onlink=True, proto=FELIX)


def vtep_mac(node: str) -> str:
    """The MAC address of a node's ``vxlan.calico``: 66, and what its name hashes to."""
    digest = hashlib.sha1(node.encode(), usedforsecurity=False).digest()
    return ":".join(f"{byte:02x}" for byte in (0x66, *digest[:5]))
