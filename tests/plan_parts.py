"""Looking into a plan: what tests ask of one."""

from __future__ import annotations

from typing import TypeVar

from emulator.plan import Plan
from emulator.plan.resources import Interface, Resource, Sysctl

T = TypeVar("T", bound=Resource)


def every(made: Plan, kind: type[T], ns: str = "", dev: str = "") -> list[T]:
    """The resources of a kind, of all namespaces and devices or of one."""
    return [
        r
        for e in made
        if type(r := e.resource) is kind
        and ns in ("", r.ns)
        and dev in ("", getattr(r, "dev", dev))
    ]


def setting(made: Plan, ns: str, name: str) -> str | None:
    """The value of a sysctl; None where the plan has none."""
    found = made.get((ns, "sysctl", name))
    return found.value if type(found) is Sysctl else None


def interface(made: Plan, ns: str, name: str) -> Interface:
    """The configuration of an interface that the plan must have."""
    found = made.get((ns, "interface", name))
    assert type(found) is Interface, f"{ns} {name}"
    return found
