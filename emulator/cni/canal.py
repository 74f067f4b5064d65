"""Canal: Calico's pods, flannel between the nodes.

Faithful: pods as Calico's CNI plugin and Felix wire them (no bridge, ``/32`` addresses from
the node's subnet by host-local, gateway 169.254.1.1, ``cali`` interfaces that all have the MAC
address ee:ee:ee:ee:ee:ee, a route and a permanent neighbour entry for each; of IPv6 ``/128``
and the link-local address of those interfaces for a gateway), and everything that flanneld
leaves on a node for its backends, masquerade rules included (see ``flannel``).

Not modelled: the chains of Felix, as in :mod:`emulator.cni.calico`; its blackhole route of an
option that is off by default.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni import flannel
from emulator.cni.context import Context
from emulator.datapath import routed
from emulator.plan.resources import Resource
from emulator.spec.resolved import Node, Pod


def node(context: Context, node: Node) -> Iterator[Resource]:
    """flannel's part, and what Felix sets. There is no bridge."""
    yield from routed.node(node.name)
    yield from flannel.daemon(context, node)


learnt = flannel.learnt


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod with an interface of its own on its node."""
    spec, at = context.spec, context.addressing
    mtu, offload = flannel.mtu(context), spec.links.offload
    yield from routed.pod(pod, at.pod[pod.id], mtu, offload, spec.congestion_control)
    for other in at.others:
        yield from routed.pod_addresses(pod, other.pod[pod.id])
