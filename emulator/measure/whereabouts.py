"""Where the names of a spec live: what a prober must know of a lab."""

from __future__ import annotations

from typing import NamedTuple

from emulator.oracle.model import model
from emulator.spec.resolved import ResolvedSpec


class Whereabouts(NamedTuple):
    """The network namespace of something, and the node (or outside host) that it is on.

    ``segment``: of what it reaches by asking for a MAC address: its node's name, or one name for
    all whose pods are on one layer-2 segment.
    """

    namespace: str
    node: str
    segment: str


def whereabouts(spec: ResolvedSpec) -> dict[str, Whereabouts]:
    """By the names that probes use. A hostNetwork pod lives in its node's namespace."""
    one = "pods" if model(spec.network.plugin).one_segment else ""
    found = {n.name: Whereabouts(n.name, n.name, one or n.name) for n in spec.nodes}
    found |= {h.name: Whereabouts(h.name, h.name, h.name) for h in spec.hosts}
    for p in spec.pods:
        namespace = p.node if p.host_network else p.id
        found[p.id] = Whereabouts(namespace, p.node, one or p.node)
    return found
