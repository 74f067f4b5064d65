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
from emulator.errors import PodwireError, Problem
from emulator.harness.experiment import Condition, Description
from emulator.needs import needs
from emulator.spec import dump
from emulator.spec.resolved import ResolvedSpec

_PACKAGES = {"cryptography": "{public key", "vici": ": strongswan "}
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
    """What this kernel or Python misses for a condition, from what its plan needs; tried once for
    each."""
    tried = cache(lambda wanted: doctor.lacking(wanted))

    def missing(condition: Condition) -> str:
        plan = compile_spec(specs[condition.name])
        absent = tried(needs(entry.resource for entry in plan))
        if absent:
            return f"no {', no '.join(absent)} in this kernel: run with --on vm"
        text = plan.text()
        packages = [one for one, word in _PACKAGES.items() if word in text and not find_spec(one)]
        return f"no Python package {packages[0]} here: run with --on vm" if packages else ""

    return missing
