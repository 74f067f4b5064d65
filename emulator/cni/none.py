"""No pod network: each node has its own bridge, all with the same subnet, and nothing between.

This is what a container runtime gives before a network plugin is installed: pods of one
node reach each other, pods of different nodes hold the same addresses, and a packet to
"the other" pod ends at the local holder of its address. There is no masquerading, so
that outside hosts are not reached either.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni.context import Context
from emulator.datapath import bridged
from emulator.ipam import Addressing
from emulator.plan.resources import Resource
from emulator.spec.resolved import Node, Pod

BRIDGE = "cni0"


def node(context: Context, node: Node) -> Iterator[Resource]:
    """The bridge of one node."""
    yield from bridged.bridge(_bridge(context, node, context.addressing))
    for at in context.addressing.others:
        yield from bridged.bridge_addresses(_bridge(context, node, at))


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod on its node's bridge."""
    at, pinned = context.addressing, context.spec.congestion_control
    yield from bridged.pod(_bridge(context, node, at), pod.id, at.pod[pod.id], pinned)
    for other in at.others:
        yield from bridged.pod_addresses(_bridge(context, node, other), pod.id, other.pod[pod.id])


def _bridge(context: Context, node: Node, at: Addressing) -> bridged.BridgeSettings:
    return bridged.BridgeSettings(
        node=node.name,
        bridge=BRIDGE,
        gateway=at.gateway[node.name],
        prefix=at.prefix,
        mtu=context.spec.links.mtu,
        offload=context.spec.links.offload,
        hairpin=False,
        cluster_route="",
    )
