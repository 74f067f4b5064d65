"""Calico: addresses in blocks, pods without a bridge, and routes by VXLAN, IPIP or BGP.

Faithful, to Calico on its way from 3.32 to 3.33 (its main branch of August 2026): pods as its CNI
plugin and Felix wire them; blocks and what borrows of them (:mod:`emulator.ipam.blocks`); a
blackhole for each block of a node, so that an address that no pod has is not sent back to the
default route; ``vxlan.calico`` with its MAC address drawn from the node's name, neighbours,
forwarding entries and routes ``proto 80``, for ``vxlanMode`` ``Always`` and ``CrossSubnet``;
``tunl0``, of which the kernel makes one by itself and Felix takes that, with routes of the same
kind for ``ipipMode`` ``Always`` and ``CrossSubnet``, which are Felix's since 3.33 (before, a BIRD
wrote them that was Calico's own); with backend ``bgp`` a BIRD on each node
(:mod:`emulator.cni.calico.confd`) and the routes that it writes; Felix's rules for masquerading and
for the guards of VXLAN and IPIP (:mod:`emulator.cni.calico.rules`); ``/var/lib/calico/mtu``. With
IPv6 each family has a pool, a tunnel (``vxlan-v6.calico``), a daemon (``bird6``) and rules of its
own; IPIP is of IPv4, and beside it a pool of IPv6 is BIRD's affair, as with ``bgp``; the pool of
IPv6 is not masqueraded unless it is asked for; pods have the MTU of the narrowest tunnel. With
``wireguardEnabled`` what goes between pods is encrypted on top of any backend
(:mod:`emulator.cni.calico.wireguard`), and with ``wireguardEnabledV6`` in IPv6.

One attribute is not Felix's: under IPIP the route to a pod says with which source its node speaks
to it, which on a real node goes without saying (see ``_spoken``).

Not modelled: the chains of policies and of each pod, which Felix has also where there is no policy:
they decide nothing but that a pod may not take another one's address, nor send VXLAN or IPIP
itself, nor packets of no known connection; here it may, and what the chains cost is in no
measurement. The datastore, confd and Typha: what they would render is written at once, and what
somebody else removes or adds is not mended. eBPF, and encryption of what nodes say themselves; the
MTU that Felix repeats on each route through ``tunl0`` or a device of VXLAN; the daemon of a family
that is not used, which Calico starts all the same. ``podCIDR`` is 10.244.0.0/16 unless given, as
for other plugins: Calico's own default, 192.168.0.0/16, holds the addresses of the racks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from emulator.cni.calico import confd, rules, sessions, wireguard
from emulator.cni.context import Context, Learnt
from emulator.datapath import bird, ipip, routed, vxlan
from emulator.datapath.autonomous import Announced
from emulator.datapath.inet import link_local
from emulator.datapath.offload import features
from emulator.family import IPV6
from emulator.ipam import Addressing
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
    for at in context.addressing.families:
        tunnel = device(context, at)
        for table, text in rules.tables(context, at, node, tunnel):
            yield NftTable(node.name, at.family.nft, table, text)
        if wireguard.enabled(context, at):
            yield from wireguard.node(context, at, node)
        if tunnel:
            made = _ipip if tunnel == ipip.TUNL0 else _vxlan
            yield from made(context, at, node)
            yield from _routes(context, at, node, tunnel)
            for block in _blackholes(at, node):
                yield Route(node.name, block, "", "", proto=FELIX, type="blackhole")
        else:
            path, socket = confd.paths(at)
            yield File(node.name, path, confd.config(context, at, node))
            yield daemon(node.name, sessions.daemon(at), (*bird.argv(path, socket), "-R"), path)


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod with an interface of its own on its node."""
    spec, at = context.spec, context.addressing
    pinned = spec.congestion_control
    own, links = _spoken(context, at, node), spec.links
    yield from routed.pod(pod, at.pod[pod.id], mtu(context), links.offload, pinned, own)
    for other in at.others:
        yield from routed.pod_addresses(pod, other.pod[pod.id], _spoken(context, other, node))


def _spoken(context: Context, at: Addressing, node: Node) -> str:
    """What a node speaks to its own pods as, where it would not be what it is on a real node.

    Towards pods it has no address, and the kernel takes that of its oldest interface. Uplinks are
    older than ``tunl0``; but a namespace has ``tunl0`` before anything else.
    """
    return at.node[node.name] if device(context, at) == ipip.TUNL0 else ""


def learnt(context: Context, node: Node) -> Learnt:
    """The routes of BIRD: its own blocks, those of the nodes that it hears of, and what routers
    say beside; Calico takes all that a peer says.

    A route to a node of another segment leads to whatever router leads there, whether that
    knows of pods or not. What is encrypted to a node is kept from the kernel, unless the next hop
    is a router.
    """
    for at in context.addressing.families:
        if device(context, at):
            continue
        writer = sessions.daemon(at)
        for block in _blackholes(at, node):
            yield writer, Route(node.name, block, "", "", proto="bird", type="blackhole")
        encrypted = wireguard.enabled(context, at)
        for heard in sessions.heard(context, at, node):
            if encrypted and not heard.external:
                continue
            for prefix in heard.prefixes:
                route = Route(node.name, prefix, "", "", proto="bird", metric=_metric(at, heard))
                hops = [Hop(gateway, node.interface) for gateway in heard.gateways]
                yield writer, multipath(route, hops)


def announced(context: Context, node: Node) -> Announced | None:
    """What a node says to the routers of its rack; None where no daemon of its runs."""
    network = context.spec.network
    if not network.option("peerWithRouters"):
        return None
    alive = [
        at
        for at in context.addressing.families
        if not context.wires.dead(node.name, sessions.daemon(at))
    ]
    if not alive:
        return None
    said = (prefix for at in alive for prefix in sessions.prefixes(at, node.name))
    return Announced(int(network.option("asNumber")), tuple(said))


def mtu(context: Context) -> int:
    """Of pods: what the narrowest tunnel leaves, CrossSubnet or not."""
    families = context.addressing.families
    overheads = [_overhead(context, at) for at in families]
    overheads += [wireguard.overhead(at) for at in families if wireguard.enabled(context, at)]
    return context.spec.links.mtu - max(overheads)


def device(context: Context, at: Addressing) -> str:
    """The tunnel of a family; empty where there is none, and the way is BIRD's affair."""
    backend = context.spec.network.backend
    if backend == "ipip":
        return "" if at.family is IPV6 else ipip.TUNL0
    if backend == "bgp":
        return ""
    return "vxlan-v6.calico" if at.family is IPV6 else "vxlan.calico"


def _metric(at: Addressing, heard: sessions.Heard) -> int:
    if heard.external:
        return EXTERNAL_METRIC
    return METRIC if at.family is not IPV6 else 0  # which stands for IPv6's own, the same


def _overhead(context: Context, at: Addressing) -> int:
    tunnel = device(context, at)
    if tunnel in ("", ipip.TUNL0):
        return ipip.OVERHEAD if tunnel else 0
    return vxlan.OVERHEAD_IPV6 if at.family is IPV6 else vxlan.OVERHEAD_IPV4


def _blackholes(at: Addressing, node: Node) -> Iterator[str]:
    """Blocks of one address have none: it would stand in the way of the pod's own route."""
    for block in at.blocks[node.name]:
        if not block.endswith(f"/{at.family.bits}"):
            yield block


def _vxlan(context: Context, at: Addressing, node: Node) -> Iterator[Resource]:
    spec, own, dev = context.spec, at.node[node.name], device(context, at)
    yield Vxlan(node.name, dev, VNI, node.interface, own, rules.VXLAN_PORT, learning=False)
    yield Interface(
        node.name,
        dev,
        True,
        spec.links.mtu - _overhead(context, at),
        vtep_mac(node.name, at),
        "",
        False,
        *features(spec.links.offload, "tunnel"),
    )
    yield Addr(node.name, dev, f"{at.tunnel[node.name]}/{at.family.bits}")
    if at.family is IPV6:
        yield Addr(node.name, dev, f"{link_local(vtep_mac(node.name, at))}/64", "link")
    yield Sysctl(node.name, f"net/ipv6/conf/{dev}/accept_ra", "0", True)
    for peer in spec.nodes:
        if peer.name != node.name:
            # Felix knows every tunnel, also of nodes that it has no use for one to
            yield Neigh(node.name, dev, at.tunnel[peer.name], vtep_mac(peer.name, at))
            yield Fdb(node.name, dev, vtep_mac(peer.name, at), at.node[peer.name])


def _ipip(context: Context, at: Addressing, node: Node) -> Iterator[Resource]:
    links = context.spec.links
    mtu = links.mtu - ipip.OVERHEAD
    yield from ipip.device(node.name, ipip.TUNL0, "", mtu, links.offload)
    yield Addr(node.name, ipip.TUNL0, f"{at.tunnel[node.name]}/32")


def _routes(context: Context, at: Addressing, node: Node, tunnel: str) -> Iterator[Resource]:
    """Felix's, to the pods of all other nodes."""
    spec = context.spec
    modes = {spec.network.option("vxlanMode"), spec.network.option("ipipMode")}
    for peer in spec.nodes:
        direct = "CrossSubnet" in modes and peer.segment == node.segment
        if peer.name == node.name:
            continue
        via = at.node[peer.name] if direct or tunnel == ipip.TUNL0 else at.tunnel[peer.name]
        leaves_by = node.interface if direct else tunnel
        for prefix in sessions.prefixes(at, peer.name):
            yield Route(node.name, prefix, via, leaves_by, onlink=True, proto=FELIX)


def vtep_mac(node: str, at: Addressing) -> str:
    """The MAC address of a node's tunnel: 66, and what its name hashes to."""
    name = f"{node}-v6" if at.family is IPV6 else node
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).digest()
    return ":".join(f"{byte:02x}" for byte in (0x66, *digest[:5]))
