"""What has to happen so that the observed state becomes the desired one.

First ``up`` is the diff against nothing, ``apply`` the diff against what the lab holds,
``verify`` says that the diff is empty. One function, :func:`diff`, knows what goes away
together with what (a device with its namespace, a route with its device), because the
kernel removes those by itself and would refuse to remove them twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from emulator.plan.plan import ORDER, Plan
from emulator.plan.resources import Interface, Key, Resource, Veth
from emulator.plan.text import line

State = Mapping[Key, Resource]
"""Observed state by identity."""


class Op(NamedTuple):
    """One step. ``before`` is what the kernel holds now (None for create)."""

    action: Literal["create", "change", "delete"]
    resource: Resource
    before: Resource | None

    def __str__(self) -> str:
        sign = {"create": "+", "change": "~", "delete": "-"}[self.action]
        text = f"{sign} {line(self.resource)}"
        if self.action == "change" and self.before is not None:
            text += f"\n  was: {line(self.before)}"
        return text


def diff(desired: Plan, observed: State, owned: Plan | None = None) -> list[Op]:
    """The steps from ``observed`` to ``desired``, in an order that the kernel accepts.

    ``owned`` is the plan that made the observed state: only what it holds is ever
    removed, so that a thing which somebody made by hand stays. Without it, everything
    observed that is not desired is removed. Resources that are not ``applied`` are
    neither made nor removed.
    """
    wanted = {k: e.resource for k, e in desired.entries.items() if e.owner == "applied"}
    if not observed:
        return _sorted([Op("create", r, None) for r in wanted.values()])
    removable = observed.keys() if owned is None else owned.entries.keys() & observed.keys()
    keep = {k for k, e in desired.entries.items() if e.owner != "applied"}
    if owned is not None:
        keep |= {k for k, e in owned.entries.items() if e.owner != "applied"}
    deletes: list[Op] = []
    rest: list[Op] = []
    doomed = {
        key
        for key in removable
        if key not in wanted and key not in keep and _removable(observed[key])
    }
    for key, resource in wanted.items():
        before = observed.get(key)
        if before is not None and before != resource and _only_by_recreation(resource):
            doomed.add(key)
    gone = _gone_with(doomed, observed)
    for key in doomed:
        if key not in gone:
            deletes.append(Op("delete", observed[key], observed[key]))
    for key, resource in wanted.items():
        before = observed.get(key)
        if before is None or key in gone or key in doomed:
            rest.append(Op("create", resource, None))
        elif before != resource:
            rest.append(Op("change", resource, before))
    return _sorted(deletes, backwards=True) + _sorted(rest)


def _removable(resource: Resource) -> bool:
    """Interfaces go with their device; sysctls and foreign state are never taken back."""
    return resource.kind not in ("interface", "sysctl", "foreign")


def _only_by_recreation(resource: Resource) -> bool:
    return resource.kind in ("veth", "vxlan", "bridge", "neigh", "fdb", "rule", "process")


def _gone_with(doomed: set[Key], observed: State) -> set[Key]:
    """What the kernel removes by itself when ``doomed`` goes (without ``doomed``'s roots)."""
    if not doomed:
        return set()
    namespaces = {key[0] for key in doomed if key[1] == "netns"}
    devices = {(key[0], key[2]) for key in doomed if key[1] == "device"}
    for resource in observed.values():
        if type(resource) is Veth and (
            (resource.ns, resource.name) in devices
            or resource.ns in namespaces
            or resource.peer_ns in namespaces
        ):
            devices.add((resource.ns, resource.name))
            devices.add((resource.peer_ns, resource.peer))
    gone: set[Key] = set()
    for key, resource in observed.items():
        if key[1] == "netns":
            continue
        if key[0] in namespaces:
            gone.add(key)
        elif type(resource) is Veth:
            if resource.ns in namespaces or resource.peer_ns in namespaces:
                gone.add(key)
        elif key[1] != "device" and (key[0], _device_of(resource)) in devices:
            gone.add(key)
    return gone


def _device_of(resource: Resource) -> str:
    if type(resource) is Interface:
        return resource.name
    return str(getattr(resource, "dev", ""))


def _sorted(ops: list[Op], backwards: bool = False) -> list[Op]:
    """By kind; interfaces that stand on others (VXLAN) after these. Stable otherwise."""
    if backwards:
        ops.sort(key=lambda op: -ORDER[op.resource.kind])
        return ops
    ops.sort(key=lambda op: ORDER[op.resource.kind])
    return ops


class Finding(NamedTuple):
    """One deviation of the kernel from the plan."""

    problem: Literal["missing", "differs", "extra"]
    expected: Resource | None
    found: Resource | None

    def __str__(self) -> str:
        if self.problem == "missing" and self.expected is not None:
            return f"missing: {line(self.expected)}"
        if self.problem == "extra" and self.found is not None:
            return f"extra: {line(self.found)}"
        assert self.expected is not None and self.found is not None
        return f"differs: {line(self.found)}\n  expected: {line(self.expected)}"


def deviations(desired: Plan, observed: State) -> list[Finding]:
    """Every difference, whoever owns it; empty when the kernel holds exactly the plan."""
    findings: list[Finding] = []
    for key, entry in desired.entries.items():
        found = observed.get(key)
        if found is None:
            if not getattr(entry.resource, "if_present", False):
                findings.append(Finding("missing", entry.resource, None))
        elif found != entry.resource:
            findings.append(Finding("differs", entry.resource, found))
    planned = desired.entries.keys()
    findings.extend(
        Finding("extra", None, resource) for key, resource in observed.items() if key not in planned
    )
    return findings
