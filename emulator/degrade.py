"""A plan under faults: the same cluster with cables cut and interfaces down.

Applying it makes the fault, applying the whole plan again heals it; nothing else knows
how a fault is made. A cable is cut by taking its *far* end down, so that the near end
loses carrier and stays administratively up. Between the ends of a point-to-point link there
is a switch that stands for the fibre: what goes out at one end goes out at both. What the
kernel forgets by itself when an interface goes down (its routes, its neighbours, its addresses
of IPv6 but those that a setting keeps) is left out of the plan, or verify would miss it. A
daemon that has failed is not in the plan. What daemons write is left out as well: they see the
fault themselves, and their rooms say what they make of it (``compile.faulted``). What binaries
have left that ran once stays, and nobody but us gives it back (``mended``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from emulator.family import IPV6, family
from emulator.faults import End, Fault
from emulator.plan import Plan
from emulator.plan.cascade import device_of
from emulator.plan.resources import (
    Addr,
    Interface,
    Key,
    Neigh,
    NftTable,
    Process,
    Resource,
    Route,
    Sysctl,
    Tun,
    Veth,
    multipath,
)


def degraded(
    plan: Plan,
    faults: Iterable[Fault],
    cables: Mapping[str, Sequence[str]],
    links: Mapping[End, End],
) -> Plan:
    """The plan with faults laid over it. The plan itself stays as it is.

    ``cables``: the interfaces that each device and pod hangs by (:func:`emulator.faults.cables`);
    any other end of a cable on a node is the node's end of a pod's. Where a pod hangs by something
    else than a pair there is nothing to cut. ``links``: the other end of each of a point-to-point
    link (:func:`emulator.faults.link_ends`).
    """
    far = _far_ends(plan)
    down: set[Key] = set()
    dead: set[Key] = set()
    for fault in faults:
        name, _, interface = fault.target.partition(":")
        if (name, interface) in links:
            ns, end = far[links[name, interface]]
            down.add((ns, "interface", end))
        if fault.kind == "daemon":
            dead.add((name, "process", interface))
        elif fault.kind == "interface":
            down.add((name, "interface", interface))
        else:
            own = [interface] if interface else cables[name]
            ends = (far[name, one] for one in own if (name, one) in far)
            down |= {(ns, "interface", end) for ns, end in ends}
            if fault.kind == "node":  # its pods hang by its own ends of their cables
                down |= {(ns, "interface", end) for ns, end in far if ns == name and end not in own}
    return _without(plan, down, dead)


def mended(desired: Plan, before: Plan) -> Plan:
    """The plan with what a fault of ``before`` has taken from a binary that ran once, and is in
    ``desired`` again, as ours to give back."""
    result = Plan()
    for key, entry in desired.entries.items():
        was = before.entries.get(key)
        if (
            entry.owner == "expected"
            and not entry.writer
            and type(entry.resource) is not NftTable
            and (was is None or was.resource != entry.resource)
        ):
            entry = entry._replace(owner="applied")
        result.keep(entry)
    return result


def _far_ends(plan: Plan) -> dict[tuple[str, str], tuple[str, str]]:
    """Of cables; a pair within one namespace joins two bridges of a node."""
    ends: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in plan:
        r = entry.resource
        if type(r) is Veth and r.ns != r.peer_ns:
            ends[r.ns, r.name] = (r.peer_ns, r.peer)
            ends[r.peer_ns, r.peer] = (r.ns, r.name)
    return ends


def _without(plan: Plan, down: set[Key], dead: set[Key]) -> Plan:
    gone = {(key[0], key[2]) for key in down}
    closed = {
        (r.ns, name)
        for entry in plan
        if type(r := entry.resource) is Process and r.key in dead
        for name in r.holds
    }
    result = Plan()
    for entry in plan:
        r = entry.resource
        if (entry.owner == "expected" and entry.writer) or r.key in dead:
            continue
        if closed and (r.ns, r.name if type(r) is Tun else device_of(r)) in closed:
            continue
        if r.key in down and type(r) is Interface:
            r, entry = r._replace(up=False), entry._replace(owner="applied")
        elif type(r) is Route and r.hops:
            left = [hop for hop in r.hops if (r.ns, hop.dev) not in gone]
            if not left:
                continue
            r = multipath(r, left)
        elif (r.ns, getattr(r, "dev", "")) in gone and _goes(plan, r):
            continue
        result.keep(entry._replace(resource=r))
    return result


def _goes(plan: Plan, r: Resource) -> bool:
    """Whether what stands on an interface goes when that goes down.

    A route of scope host the kernel takes for one to itself, and keeps (CNI's ptp writes such).
    """
    if type(r) is Route:
        return r.scope != "host"
    if type(r) is not Addr:
        return type(r) is Neigh
    if family(r.address) is not IPV6:
        return False
    keeps = Sysctl(r.ns, f"net/ipv6/conf/{r.dev}/keep_addr_on_down", "1", True)
    return r.scope == "link" or plan.get(keeps.key) != keeps
