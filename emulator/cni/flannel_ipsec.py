"""flannel's backend ``ipsec``: policies for each other node, and the daemon that has the keys.

Not modelled: the rule 220 that strongSwan adds, to a table that flannel's way of running it leaves
empty.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni.context import Context, Learnt
from emulator.datapath import ipsec
from emulator.plan.resources import Resource
from emulator.spec.resolved import Node


def overhead(context: Context) -> int:
    """Bytes that pods are spared."""
    return ipsec.OVERHEAD + (ipsec.UDP_OVERHEAD if _encap(context) else 0)


def node(context: Context, node: Node) -> Iterator[Resource]:
    """No device and no route."""
    own, peers = _end(context, node), [_end(context, peer) for peer in _others(context, node)]
    for peer in peers:
        yield from ipsec.policies(own, peer)
    yield from ipsec.charon(own, peers, _encap(context))


def learnt(context: Context, node: Node) -> Learnt:
    """What charon has negotiated. Nobody asks whether a peer still lives, so what stands goes on
    standing."""
    wires = context.wires
    for peer in _others(context, node):
        ends = (node.name, peer.name)
        dead = any(wires.dead(one, ipsec.CHARON) for one in ends)
        sure = not (dead or wires.between(*ends)[1])
        both = (_end(context, node), _end(context, peer))
        for sa in ipsec.negotiated(*both, _encap(context), sure):
            yield ipsec.CHARON, sa


def _end(context: Context, node: Node) -> ipsec.End:
    at = context.addressing
    return ipsec.End(node.name, at.node_subnet[node.name], at.node[node.name])


def _encap(context: Context) -> bool:
    return bool(context.spec.network.option("udpEncap"))


def _others(context: Context, node: Node) -> list[Node]:
    return [peer for peer in context.spec.nodes if peer.name != node.name]
