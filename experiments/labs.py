"""Labs for experiments: up, and compared with their plan before anything is measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

from emulator import doctor
from emulator.cluster import Cluster
from emulator.compile import compile_spec
from emulator.conflist.model import parse
from emulator.errors import PodwireError, Problem
from emulator.harness.experiment import Condition, Description
from emulator.needs import needs
from emulator.plan.plan import Plan
from emulator.plan.resources import Attachment
from emulator.spec import dump
from emulator.spec.resolved import ResolvedSpec
from emulator.substrate.binaries import find

PACKAGES = {"cryptography": "{public key", "vici": ": strongswan "}
"""Python's packages that only some plans ask for, by what stands in these."""


@contextmanager
def as_planned(resolved: ResolvedSpec, experiment: str, condition: Condition) -> Iterator[Cluster]:
    """A lab that holds its plan; PodwireError with every deviation when it does not."""
    with Cluster(resolved, f"{experiment}-{os.getpid()}") as cluster:
        deviations = cluster.verify(probes=False).deviations
        if deviations:
            place = f"lab of {condition.name}"
            raise PodwireError(*(Problem(place, text, "as in the plan") for text in deviations))
        yield cluster


class Specs(Mapping[str, ResolvedSpec]):
    """The specs of conditions, by the conditions' names; each is resolved when it is asked for.

    A cell wants one of them, and where a CPU is emulated all would take longer than the cell.
    """

    def __init__(
        self, conditions: Iterable[Condition], make: Callable[[Condition], ResolvedSpec]
    ) -> None:
        self._conditions = {one.name: one for one in conditions}
        self._made = cache(lambda name: make(self._conditions[name]))

    def __getitem__(self, name: str) -> ResolvedSpec:
        return self._made(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._conditions)

    def __len__(self) -> int:
        return len(self._conditions)


def describer(specs: Mapping[str, ResolvedSpec]) -> Callable[[Condition], Description]:
    """Spec and plan of each condition, from the specs by the conditions' names."""

    def describe(condition: Condition) -> Description:
        resolved = specs[condition.name]
        return Description(dump(resolved), compile_spec(resolved).text())

    return describe


def lacking(specs: Mapping[str, ResolvedSpec]) -> Callable[[Condition], str]:
    """What this kernel or machine misses for a condition, from what its plan needs; features of the
    kernel are tried once for each."""
    tried = cache(lambda wanted: doctor.lacking(wanted))

    def missing(condition: Condition) -> str:
        plan = compile_spec(specs[condition.name])
        absent = [f"{one} in this kernel" for one in tried(needs(each.resource for each in plan))]
        absent += list(dict.fromkeys(_programs(plan))) + _packages(plan.text())
        return f"no {', no '.join(absent)}: run with --on vm" if absent else ""

    return missing


def _programs(plan: Plan) -> Iterator[str]:
    """Binaries of CNI that are not installed here."""
    for entry in plan:
        one = entry.resource
        if isinstance(one, Attachment):
            programs = parse(one.conflist, one.network).programs()
            yield from (f"program {name}" for name in programs if find(name, one.path) is None)


def _packages(text: str) -> list[str]:
    """Packages of Python that a plan asks for, and that are not here."""
    return [
        f"Python package {one}" for one, word in PACKAGES.items()
        if word in text and find_spec(one) is None
    ]  # fmt: skip
