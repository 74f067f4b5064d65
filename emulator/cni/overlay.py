"""An overlay and nothing else: what a tunnel costs in itself.

Nobody's plugin. Each node has a bridge ``cni0`` with its pods, as CNI's bridge plugin wires them,
and a device of the kernel's for the way to the other nodes; no daemon, no rule of nftables and no
masquerade. Two backends differ in the device, and in what its kind wants to know of the peers:

``vxlan``   one device ``overlay``; a neighbour, a forwarding entry and a route for each peer
``geneve``  one device ``gnv-<peer>`` for each peer, for the kernel's Geneve has no table of
            peers: it has one other end, or takes it from each packet's route or program; a
            neighbour and a route for each
``ipip``    one device ``overlay``; a route for each peer, whose gateway is its underlay address

Faithful: devices, MTU and overhead as the kernel has them. A device has the first address of the
node's subnet, with a prefix of one address, which is what the node speaks to remote pods with. With
IPv6 there are devices of their own for it (``overlay-v6``, ``gnv6-<peer>``), over IPv6; pods have
the MTU of the narrower ones. IPIP is of IPv4.

Not modelled: Geneve's options, and a device that takes its other end from routes or programs
(``external``), which is Cilium's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from emulator.cni.context import Context
from emulator.datapath import bridged, ipip, vxlan
from emulator.datapath.inet import addresses
from emulator.datapath.naming import towards
from emulator.datapath.offload import features
from emulator.family import IPV6
from emulator.ipam import Addressing
from emulator.plan.resources import Geneve, Interface, Neigh, Resource, Route, Vxlan
from emulator.spec.resolved import Node, Pod

BRIDGE = "cni0"
_PORTS: Final = {"vxlan": 4789, "geneve": 6081}


def node(context: Context, node: Node) -> Iterator[Resource]:
    """The bridge, and the way to every other node."""
    yield from bridged.bridge(_bridge(context, node, context.addressing))
    for other in context.addressing.others:
        yield from bridged.bridge_addresses(_bridge(context, node, other))
    made = {"vxlan": _vxlan, "geneve": _geneve, "ipip": _ipip}[context.spec.network.backend]
    for at in context.addressing.families:
        yield from made(context, node, at)


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod on its node's bridge."""
    at, pinned = context.addressing, context.spec.congestion_control
    yield from bridged.pod(_bridge(context, node, at), pod.id, at.pod[pod.id], pinned)
    for other in at.others:
        yield from bridged.pod_addresses(_bridge(context, node, other), pod.id, other.pod[pod.id])


def mtu(context: Context) -> int:
    """Of the bridge and of the pods: what the longest of the headers leaves."""
    links, families = context.spec.links.mtu, context.addressing.families
    return links - max(_overhead(context, at) for at in families)


def _overhead(context: Context, at: Addressing) -> int:
    """Geneve without options takes as much as VXLAN."""
    if context.spec.network.backend == "ipip":
        return ipip.OVERHEAD
    return vxlan.OVERHEAD_IPV6 if at.family is IPV6 else vxlan.OVERHEAD_IPV4


def _bridge(context: Context, node: Node, at: Addressing) -> bridged.BridgeSettings:
    return bridged.BridgeSettings(
        node=node.name,
        bridge=BRIDGE,
        gateway=at.gateway[node.name],
        prefix=at.prefix,
        mtu=mtu(context),
        offload=context.spec.links.offload,
        hairpin=False,
        cluster_route="",
    )


def _vxlan(context: Context, node: Node, at: Addressing) -> Iterator[Resource]:
    dev, own, vni = device(at), at.node[node.name], int(context.spec.network.option("vni"))
    yield Vxlan(node.name, dev, vni, node.interface, own, _port(context), learning=False)
    yield from _ethernet(context, node, at, dev)
    for peer in _peers(context, node):
        subnet, gateway = at.node_subnet[peer.name], _address(at, peer)
        lladdr = context.vtep_mac(peer.name, dev)
        yield from vxlan.peer(node.name, dev, subnet, gateway, lladdr, at.node[peer.name])


def _geneve(context: Context, node: Node, at: Addressing) -> Iterator[Resource]:
    vni, six = int(context.spec.network.option("vni")), at.family is IPV6
    for peer in _peers(context, node):
        dev, back = towards("gnv", peer.name, six), towards("gnv", node.name, six)
        yield Geneve(node.name, dev, vni, at.node[peer.name], _port(context))
        yield from _ethernet(context, node, at, dev)
        gateway = _address(at, peer)
        yield Neigh(node.name, dev, gateway, context.vtep_mac(peer.name, back))
        yield Route(node.name, at.node_subnet[peer.name], gateway, dev, onlink=True)


def _ipip(context: Context, node: Node, at: Addressing) -> Iterator[Resource]:
    dev, own = device(at), at.node[node.name]
    yield from ipip.device(node.name, dev, own, mtu(context), context.spec.links.offload)
    yield from addresses(node.name, dev, f"{_address(at, node)}/{at.family.bits}")
    for peer in _peers(context, node):
        yield ipip.peer(node.name, dev, at.node_subnet[peer.name], at.node[peer.name])


def _ethernet(context: Context, node: Node, at: Addressing, dev: str) -> Iterator[Resource]:
    """Settings and address of a device that has a MAC address."""
    links, lladdr = context.spec.links, context.vtep_mac(node.name, dev)
    most, offload = links.mtu - _overhead(context, at), features(links.offload, "tunnel")
    yield Interface(node.name, dev, True, most, lladdr, "", False, *offload)
    yield from addresses(node.name, dev, f"{_address(at, node)}/{at.family.bits}")


def device(at: Addressing) -> str:
    """The device that leads to all peers."""
    return "overlay-v6" if at.family is IPV6 else "overlay"


def _peers(context: Context, node: Node) -> Iterator[Node]:
    return (peer for peer in context.spec.nodes if peer.name != node.name)


def _port(context: Context) -> int:
    network = context.spec.network
    return int(network.option("port")) or _PORTS[network.backend]


def _address(at: Addressing, node: Node) -> str:
    return at.node_subnet[node.name].partition("/")[0]
