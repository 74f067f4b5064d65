"""How long a run goes on: blocks, warm-up, and the rule that stops it by precision."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from emulator.errors import Problem, SpecError
from emulator.harness.experiment import Matrix

FIRST_LOOK = 12
"""The fewest blocks that a precision is judged by: an interval that stops a run is narrow by luck
a little too often, the more so the earlier it may (docs/decisions/0002-intervals.md)."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run; a run is resumed only under the very same ones.

    ``precision`` is the half-width of the headline intervals as a share of the ratio (0.02 for
    2 %); with it ``blocks``, or 12 if that is more, are the fewest and ``most_blocks`` the most.
    ``budget_s`` is wall time: no block starts that would not fit, judged by the blocks before.
    ``options`` are the experiment's own (seconds per cell, CPU placement): plain JSON.
    """

    blocks: int
    seed: int = 1
    warm_up: bool = True
    precision: float | None = None
    most_blocks: int = 60
    budget_s: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        if self.blocks < 1:
            problems.append(Problem("blocks", str(self.blocks), "1 or more"))
        if self.precision is not None and not 0 < self.precision < 1:
            problems.append(Problem("precision", f"{self.precision:g}", "above 0 and below 1"))
        if self.most_blocks < self.fewest_blocks and self.precision is not None:
            problems.append(
                Problem("most blocks", str(self.most_blocks), f"at least {self.fewest_blocks}")
            )
        if problems:
            raise SpecError(*problems)

    @property
    def fewest_blocks(self) -> int:
        """The number of blocks that run in any case, unless the budget ends first."""
        return self.blocks if self.precision is None else max(self.blocks, FIRST_LOOK)

    @property
    def last_block(self) -> int:
        """The number of the last block that may run; blocks count from 1, warm-up is 0."""
        return self.blocks if self.precision is None else self.most_blocks

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return document


def parse_precision(text: str) -> float:
    """``2%`` or ``0.02`` as a share; SpecError otherwise."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share < 1:
        raise SpecError(
            Problem("--precision", repr(text), "a share such as 2% or 0.02",
                    "half the width of the 95 % interval, relative to the ratio")
        )  # fmt: skip
    return share


class Width(NamedTuple):
    """How wide one headline interval still is; ``half_width`` None while there is none."""

    name: str
    half_width: float | None


def widths(summary: Mapping[str, Any], headline: Collection[str], matrix: Matrix) -> list[Width]:
    """The half-widths of all comparisons of headline metrics that a matrix has, A/A left out.

    One over fewer than ``FIRST_LOOK`` blocks, or that the summary does not have, has none yet.
    """
    there = {
        (row["metric"], row["treatment"], row["baseline"], _words(row["factors"])): row
        for row in summary["comparisons"]
    }
    arms = {(one.arm, _words(one.factors)): one for one in matrix.conditions}
    found = []
    for metric in headline:
        for pair in matrix.pairs:
            for arm, factors in sorted(arms):
                if pair.twin or arm != pair.treatment or (pair.baseline, factors) not in arms:
                    continue
                if not pair.holds(metric, arms[arm, factors].factors):
                    continue
                row = there.get((metric, arm, pair.baseline, factors))
                half = None
                if row is not None and row["n"] >= FIRST_LOOK:
                    low, high = row["ci"]
                    half = (high - low) / 2 / row["ratio"]
                name = f"{metric} {arm}/{pair.baseline} {factors}".rstrip()
                found.append(Width(name, half))
    return found


def _words(factors: Mapping[str, Any]) -> str:
    return " ".join(str(value) for value in factors.values())


def narrow(found: Sequence[Width], target: float) -> bool:
    """Whether there is a headline comparison and every one is narrow enough."""
    return bool(found) and all(
        one.half_width is not None and one.half_width <= target for one in found
    )


def widest(found: Sequence[Width]) -> str:
    """The widest headline interval in words."""
    unready = [one.name for one in found if one.half_width is None]
    if unready or not found:
        return f"no interval yet for {unready[0]}" if unready else "no headline comparison"
    name, half = max(found, key=lambda one: one.half_width or 0.0)
    return f"±{half:.1%} ({name})"
