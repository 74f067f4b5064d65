"""The places and cables of a cluster as Mininet shows them."""

from __future__ import annotations

from emulator.plan import Plan
from emulator.plan.resources import Addr, Veth
from emulator.spec.resolved import ResolvedSpec
from emulator.substrate.mininet import Cable, Station


def stations(spec: ResolvedSpec) -> list[Station]:
    """Every place by role; a hostNetwork pod stands in its node's namespace."""
    out = [Station(w.name, w.name, "switch") for s in spec.segments for w in s.tree]
    out += [Station(r.name, r.name, "router") for r in spec.routers]
    out += [Station(n.name, n.name, "node") for n in spec.nodes]
    out += [Station(h.name, h.name, "host") for h in spec.hosts]
    out += [Station(p.id, p.node if p.host_network else p.id, "pod") for p in spec.pods]
    return out


def cables(spec: ResolvedSpec, plan: Plan) -> list[Cable]:
    """Every veth pair between two places, with the addresses of its ends."""
    addresses: dict[tuple[str, str], str] = {}
    for entry in plan:
        r = entry.resource
        if type(r) is Addr:
            addresses.setdefault((r.ns, r.dev), r.address)
    return [
        Cable(
            r.ns,
            r.name,
            addresses.get((r.ns, r.name), ""),
            r.peer_ns,
            r.peer,
            addresses.get((r.peer_ns, r.peer), ""),
        )
        for entry in plan
        if type(r := entry.resource) is Veth and r.ns != r.peer_ns
    ]
