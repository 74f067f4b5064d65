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
from emulator.plan.resources import Resource
from emulator.spec.resolved import Node, Pod

BRIDGE = "cni0"


def node(context: Context, node: Node) -> Iterator[Resource]:
    """The bridge of one node."""
    return bridged.bridge(_bridge(context, node))


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod on its node's bridge."""
    return bridged.pod(
        _bridge(context, node),
        pod.id,
        context.addressing.pod[pod.id],
        context.spec.congestion_control,
    )


def _bridge(context: Context, node: Node) -> bridged.BridgeSettings:
    return bridged.BridgeSettings(
        node=node.name,
        bridge=BRIDGE,
        gateway=context.addressing.gateway[node.name],
        prefix=context.spec.node_prefix,
        mtu=context.spec.links.mtu,
        offload=context.spec.links.offload,
        hairpin=False,
        cluster_route="",
    )
