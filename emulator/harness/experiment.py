"""What an experiment declares: conditions, pairs to compare, metrics, and two callables.

A *condition* is one arm (a mode, such as ``vxlan``) under one set of factors (such as offload
and MTU).  A *pair* names the arms whose ratio is reported, for every set of factors that has
both, unless the pair says where it holds.  The A/A pair is declared like any other, with
``twin=True``.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import product
from typing import Generic, Literal, NamedTuple, TypeVar

from emulator.errors import Problem, SpecError
from emulator.measure.sample import Measured, Sample

Factor = str | int | float | bool
LabT = TypeVar("LabT")


class Metric(NamedTuple):
    """A metric whose ratios are reported.

    ``better`` says what "faster" means; None makes the verdicts "higher" and "lower".
    """

    name: str
    unit: str
    better: Literal["higher", "lower"] | None = None
    title: str = ""


class Pair(NamedTuple):
    """Two arms; ratios are treatment over baseline. ``twin``: the same thing under two names.

    ``where``: factors under which the pair is compared, of those that it names; ``without``:
    metrics that are not, since the two were not measured alike.
    """

    treatment: str
    baseline: str
    twin: bool = False
    where: Mapping[str, Factor] = {}
    without: tuple[str, ...] = ()

    def holds(self, metric: str, factors: Mapping[str, Factor]) -> bool:
        """Whether this metric is compared under these factors."""
        return metric not in self.without and self.where.items() <= factors.items()


@dataclass(frozen=True)
class Condition:
    """One arm under one set of factors; the name is unique and fit for a file name."""

    arm: str
    factors: Mapping[str, Factor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``<arm>`` and the values of the factors, ``_`` between them."""
        parts = (self.arm, *(str(value) for value in self.factors.values()))
        return "_".join(re.sub(r"[^A-Za-z0-9.+-]+", "-", part) for part in parts)


@dataclass(frozen=True)
class Matrix:
    """All conditions and all pairs; SpecError when they contradict each other."""

    conditions: tuple[Condition, ...]
    pairs: tuple[Pair, ...]

    def __post_init__(self) -> None:
        names = [condition.name for condition in self.conditions]
        arms = {condition.arm for condition in self.conditions}
        problems = [
            Problem(f"condition {name}", f"{names.count(name)} of this name", "one of each name")
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        problems += [
            Problem(f"pair {pair.treatment} / {pair.baseline}", f"no condition of arm {arm!r}",
                    f"one of {', '.join(sorted(arms))}")
            for pair in self.pairs for arm in (pair.treatment, pair.baseline) if arm not in arms
        ]  # fmt: skip
        if not names:
            problems.append(Problem("matrix", "no condition", "at least one"))
        if problems:
            raise SpecError(*problems)

    @classmethod
    def cross(
        cls,
        arms: Sequence[str],
        factors: Mapping[str, Sequence[Factor]],
        pairs: Sequence[Pair],
        keep: Callable[[Condition], bool] = lambda condition: True,
    ) -> Matrix:
        """Every arm under every combination of factors that ``keep`` lets through."""
        crossed = (
            Condition(arm, dict(zip(factors, values, strict=True)))
            for values in product(*factors.values())
            for arm in arms
        )
        return cls(tuple(filter(keep, crossed)), tuple(pairs))

    def order(self, seed: int, block: int) -> tuple[Condition, ...]:
        """Every condition once, shuffled afresh for each block; the same for the same seed."""
        shuffled = list(self.conditions)
        random.Random(block_seed(seed, block)).shuffle(shuffled)
        return tuple(shuffled)


def block_seed(seed: int, block: int) -> int:
    """A 63-bit seed for the nuisance factors of one block, the same for all its conditions."""
    digest = hashlib.sha256(f"{seed}:{block}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Step(NamedTuple):
    """A measurement still to be made: only where the bench can say something of its metrics.

    ``metrics``: the names of what ``run`` returns, all in the vocabulary of ``measure.sample``.
    """

    metrics: tuple[str, ...]
    run: Callable[[], Measured]


class Exclusion(NamedTuple):
    """A reason, declared before the run, for which a cell does not count.

    The samples are kept, marked with the name; the number of excluded cells is reported.
    """

    name: str
    applies: Callable[[Condition, Sequence[Sample]], bool]


class Description(NamedTuple):
    """The resolved spec (YAML) and the plan (canonical text) of one condition."""

    spec: str
    plan: str


def nothing_lacking(condition: Condition) -> str:
    """What an experiment lacks that any kernel can carry."""
    return ""


def no_gate(lab: object, condition: Condition, samples: Sequence[Sample]) -> Sequence[Problem]:
    """The gate of an experiment that has none."""
    return ()


@dataclass(frozen=True)
class Experiment(Generic[LabT]):
    """Everything that the loop needs; nothing in it knows how a lab is made.

    ``build`` gets a condition and the block's seed and returns a context manager: the lab is
    ready inside and gone after.  ``measure`` yields what its instruments return, or steps: those
    with a metric of speed are left undone where there is none.  ``gate`` looks at the lab after
    measuring and says in which way it was not what the condition claims; any problem ends the run,
    since numbers under a false name are worse than none.

    ``counts`` are metrics that are measured and stored without ratios: what is exact needs none.
    ``lacking`` says what this kernel or bench misses for a condition, or nothing; no lab is built
    for one that misses something, and its rows say so.
    """

    name: str
    question: str
    matrix: Matrix
    metrics: tuple[Metric, ...]
    describe: Callable[[Condition], Description]
    build: Callable[[Condition, int], AbstractContextManager[LabT]]
    measure: Callable[[LabT, Condition], Iterable[Measured | Step]]
    gate: Callable[[LabT, Condition, Sequence[Sample]], Sequence[Problem]] = no_gate
    headline: tuple[str, ...] = ()
    counts: tuple[Metric, ...] = ()
    lacking: Callable[[Condition], str] = nothing_lacking
    exclusions: tuple[Exclusion, ...] = ()
