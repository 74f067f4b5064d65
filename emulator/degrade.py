"""A plan under faults: the same cluster with cables cut and interfaces down.

Applying it makes the fault, applying the whole plan again heals it; nothing else knows
how a fault is made. A cable is cut by taking its *far* end down, so that the near end
loses carrier and stays administratively up. What the kernel forgets by itself when an
interface goes down (its routes, its neighbours) is left out of the plan, or verify
would miss it.
"""

from __future__ import annotations

from collections.abc import Iterable

from emulator.faults import Fault
from emulator.plan import Plan
from emulator.plan.resources import Interface, Key, Veth


def degraded(plan: Plan, faults: Iterable[Fault]) -> Plan:
    """The plan with faults laid over it. The plan itself stays as it is."""
    far = _far_ends(plan)
    down: set[Key] = set()
    for fault in faults:
        name, _, interface = fault.target.partition(":")
        if fault.kind == "interface":
            down.add((name, "interface", interface))
        elif fault.kind == "node":
            down |= {
                (peer_ns, "interface", peer)
                for (ns, own), (peer_ns, peer) in far.items()
                if ns == name and not _is_port(plan, ns, own)
            }
            # the cables of the node's pods end in ports of its bridge: cut at that end
            down |= {
                (ns, "interface", own) for ns, own in far if ns == name and _is_port(plan, ns, own)
            }
        else:
            ends = [interface] if interface else [own for ns, own in far if ns == name]
            down |= {
                (far[name, own][0], "interface", far[name, own][1])
                for own in ends
                if not _is_port(plan, name, own)
            }
    return _without(plan, down)


def _far_ends(plan: Plan) -> dict[tuple[str, str], tuple[str, str]]:
    ends: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in plan:
        r = entry.resource
        if type(r) is Veth:
            ends[r.ns, r.name] = (r.peer_ns, r.peer)
            ends[r.peer_ns, r.peer] = (r.ns, r.name)
    return ends


def _is_port(plan: Plan, ns: str, name: str) -> bool:
    found = plan.get((ns, "interface", name))
    return type(found) is Interface and bool(found.master)


def _without(plan: Plan, down: set[Key]) -> Plan:
    gone = {(key[0], key[2]) for key in down}
    result = Plan()
    for entry in plan:
        r = entry.resource
        if r.key in down and type(r) is Interface:
            r = r._replace(up=False)
        elif r.kind in ("route", "neigh") and (r.ns, getattr(r, "dev", "")) in gone:
            continue
        result.add([r], entry.source, entry.owner)
    return result
