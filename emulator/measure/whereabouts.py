"""Where the names of a spec live: what a prober must know of a lab."""

from __future__ import annotations

from typing import NamedTuple

from emulator.spec.resolved import ResolvedSpec


class Whereabouts(NamedTuple):
    """The network namespace of something, and the node (or outside host) that it is on."""

    namespace: str
    node: str


def whereabouts(spec: ResolvedSpec) -> dict[str, Whereabouts]:
    """By the names that probes use. A hostNetwork pod lives in its node's namespace."""
    found = {n.name: Whereabouts(n.name, n.name) for n in spec.nodes}
    found |= {h.name: Whereabouts(h.name, h.name) for h in spec.hosts}
    found |= {p.id: Whereabouts(p.node if p.host_network else p.id, p.node) for p in spec.pods}
    return found
