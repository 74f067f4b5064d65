"""What has to happen so that the observed state becomes the desired one.

First ``up`` is the diff against nothing, ``apply`` the diff against what the lab holds,
``verify`` says that the diff is empty. What the kernel removes by itself together with
something else is known by :mod:`emulator.plan.cascade`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Literal, NamedTuple

from emulator.plan.cascade import Removal, cascade, interface_of
from emulator.plan.plan import ORDER, Entry, Plan
from emulator.plan.resources import Key, Netem, Resource, Route, Sysctl
from emulator.plan.text import line

State = Mapping[Key, Resource]
"""Observed state by identity."""

_CHANGED_IN_PLACE = frozenset(
    (
        "interface",
        "route",
        "xfrm-policy",
        "cutter",
        "netem",
        "class",
        "sysctl",
        "nft",
        "file",
        "wireguard",
        "peer",
    )
)
"""All other kinds are removed and made anew, as the kernel wants it."""

_STAYS = frozenset(("interface", "sysctl", "foreign"))
"""Kinds that are never doomed by name: interfaces go with their device, sysctls stay (and are
given back, see ``_given_back``), and what no plan contains is not ours."""


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
    neither made nor removed, except for what a process has left behind that is no longer
    wanted. To delete a sysctl is to give it back the value that it was born with. After the
    steps a second look can show more to do, where the kernel moves one value with another (a
    bridge's MTU with its last port's).
    """
    wanted = {k: e.resource for k, e in desired.entries.items() if e.owner == "applied"}
    if not observed:
        return _sorted([Op("create", r, None) for r in wanted.values()])
    doomed = _doomed(desired, wanted, observed, owned)
    removal = cascade(doomed, observed)
    deletes = [Op("delete", r, r) for k, r in observed.items() if k in removal.named]
    if owned is not None:
        deletes += [Op("delete", r, r) for r in _given_back(desired, observed, owned, removal)]
    makes: list[Op] = []
    for key, resource in wanted.items():
        before = observed.get(key)
        if before is None or key in removal.named or key in removal.gone:
            if type(resource) is not Sysctl or _can_be_set(resource, observed, removal.devices):
                makes.append(Op("create", resource, None))
            continue
        if before != resource:
            same = before.kind == resource.kind  # not so where something foreign has the name
            makes.append(Op("change", resource, before) if same else Op("create", resource, None))
    return _sorted(deletes, backwards=True) + _sorted(makes)


def _doomed(
    desired: Plan, wanted: Mapping[Key, Resource], observed: State, owned: Plan | None
) -> set[Key]:
    """What must go: no longer wanted, or not to be changed in place."""
    removable: Set[Key] = observed.keys()
    kept = {k for k, e in desired.entries.items() if e.owner != "applied"}
    if owned is not None:
        removable = observed.keys() & owned.entries.keys()
        kept |= {
            k
            for k, e in owned.entries.items()
            if e.owner != "applied" and not _orphan(e, desired, owned)
        }
    doomed = {
        key
        for key in removable
        if key not in wanted
        and (key not in kept or _handed_over(key, desired, observed, owned))
        and observed[key].kind not in _STAYS
    }
    for key, resource in wanted.items():
        before = observed.get(key)
        if (
            before is not None
            and before != resource
            and (
                resource.kind not in _CHANGED_IN_PLACE
                or before.kind != resource.kind
                or _in_its_own_way(before, resource)
            )
            and before.kind != "foreign"
        ):
            doomed.add(key)
    return doomed


def _in_its_own_way(before: Resource, after: Resource) -> bool:
    """Whether one cannot take the place of what is there. IPv6 looks for a gateway that is said to
    be on-link, and refuses one that the old route leads to by another device. A netem does not
    forget a table of its jitter."""
    if type(after) is Netem and type(before) is Netem:
        return (after.handle, after.parent) != (before.handle, before.parent)
    return (
        type(after) is Route
        and type(before) is Route
        and after.onlink
        and ":" in after.via
        and after.dev != before.dev
    )


def _orphan(entry: Entry, desired: Plan, owned: Plan) -> bool:
    """Whether the process that wrote something is no longer wanted: nobody will remove it."""
    writer = (entry.resource.ns, "process", entry.writer)
    return writer in owned.entries and writer not in desired.entries


def _handed_over(key: Key, desired: Plan, observed: State, owned: Plan | None) -> bool:
    """Whether a daemon is to write in its own way what we have written: ours is in its way."""
    ours = owned.entries.get(key) if owned is not None else None
    theirs = desired.entries.get(key)
    return (
        ours is not None
        and ours.owner == "applied"
        and theirs is not None
        and theirs.resource != ours.resource
        and observed[key] == ours.resource
    )


def _given_back(
    desired: Plan, observed: State, owned: Plan, removal: Removal
) -> Iterator[Resource]:
    """Sysctls that still have the value of the plan before, and that the new one does not name."""
    for key, entry in owned.entries.items():
        r = entry.resource
        if (
            type(r) is Sysctl
            and key not in desired.entries
            and entry.owner == "applied"
            and observed.get(key) == r
            and key not in removal.gone
            and (r.ns, interface_of(r)) not in removal.devices
        ):
            yield r


def _can_be_set(r: Sysctl, observed: State, remade: Set[tuple[str, str]]) -> bool:
    """Whether a sysctl that was not seen may be there: it always is, or its namespace or
    interface is only about to be made. Otherwise this kernel has none, and needs none."""
    if not r.if_present or (r.ns, "netns", "") not in observed:
        return True
    dev = interface_of(r)
    return bool(dev) and ((r.ns, "interface", dev) not in observed or (r.ns, dev) in remade)


def _sorted(ops: list[Op], backwards: bool = False) -> list[Op]:
    """By kind, and otherwise in the order that they came in."""
    groups: dict[str, list[Op]] = {kind: [] for kind in ORDER}
    for op in ops:
        groups[op.resource.kind].append(op)
    kinds = reversed(ORDER) if backwards else ORDER
    return [op for kind in kinds for op in groups[kind]]


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
