"""Felix's WireGuard, on top of whatever leads from node to node.

A rule sends every packet but WireGuard's own through a table that knows the pods of other nodes
alone, and leads to them by the device. ``throw`` sends what is for the node's own pods back to the
main table. There the routes that Felix writes for VXLAN and IPIP stand as ever, and carry what
WireGuard does not take; of BIRD's those whose next hop is a peer are kept from the kernel. A node
speaks to other nodes' pods under an address of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from emulator.cni.calico import sessions
from emulator.cni.context import Context
from emulator.datapath import wireguard
from emulator.family import IPV6
from emulator.ipam import Addressing
from emulator.plan.resources import Addr, Resource, Route, Rule
from emulator.spec.resolved import Node

TABLE = 1
"""Of both families: the first of Felix's range. A second one, set aside for IPv6, nobody asks."""
PRIORITY = 99
MARK = 0x200000
"""The sixth bit of Felix's mask 0xffff0000: those before are for verdicts of its chains."""


def enabled(context: Context, at: Addressing) -> bool:
    """Whether the pods of a family are encrypted."""
    six = at.family is IPV6
    return bool(context.spec.network.option("wireguardEnabledV6" if six else "wireguardEnabled"))


def device(at: Addressing) -> str:
    """The device of a family."""
    return "wg-v6.cali" if at.family is IPV6 else "wireguard.cali"


def port(at: Addressing) -> int:
    """UDP."""
    return 51821 if at.family is IPV6 else 51820


def overhead(at: Addressing) -> int:
    """Bytes."""
    return wireguard.OVERHEAD_IPV6 if at.family is IPV6 else wireguard.OVERHEAD_IPV4


def node(context: Context, at: Addressing, node: Node) -> Iterator[Resource]:
    """The device, its peers, the table and the rule."""
    spec, dev = context.spec, device(at)
    mtu, offload = spec.links.mtu - overhead(at), spec.links.offload
    key = f"{node.name} {dev}"
    yield from wireguard.device(node.name, dev, key, port(at), mtu, offload, MARK)
    yield Addr(node.name, dev, f"{at.wireguard[node.name]}/{at.family.bits}")
    scope = "global" if at.family is IPV6 else "link"
    selector = f"not from all fwmark {MARK:#x}/{MARK:#x}"
    yield Rule(node.name, PRIORITY, selector, TABLE, at.family.nft)
    for prefix in _own(at, node.name):
        yield Route(node.name, prefix, "", "", table=TABLE, type="throw")
    for peer in spec.nodes:
        if peer.name == node.name:
            continue
        prefixes = list(_of(at, peer.name))
        for prefix in prefixes:
            yield Route(node.name, prefix, "", dev, scope=scope, table=TABLE)
        key = f"{peer.name} {dev}"
        yield wireguard.peer(node.name, dev, key, at.node[peer.name], port(at), prefixes)


def _of(at: Addressing, node: str) -> Iterator[str]:
    """What is encrypted to a node: its blocks, what it has borrowed, and its tunnels' addresses."""
    yield from sessions.prefixes(at, node)
    for tunnels in (at.tunnel, at.wireguard):
        if node in tunnels and tunnels[node] not in at.borrowed:
            yield f"{tunnels[node]}/{at.family.bits}"


def _own(at: Addressing, node: str) -> Iterator[str]:
    """A node's own: of single addresses those that lie in no block of its own."""
    blocks = [ip_network(block) for block in at.blocks[node]]
    for prefix in _of(at, node):
        own = ip_network(prefix)
        if prefix in at.blocks[node] or not any(own.subnet_of(block) for block in blocks):  # type: ignore[arg-type]
            yield prefix
