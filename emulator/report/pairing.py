"""From the rows of a run to values per block, and to the pairs of arms under equal factors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, NamedTuple

from emulator.harness.experiment import Pair
from emulator.harness.store import Row, StoredRun
from emulator.report.statistics import Array, log_ratios


class Cell(NamedTuple):
    """One metric under one condition: a value per block that has one.

    ``order`` is the running number of the cell, by block; ``failures`` has a reason for each
    block without a value, ``excluded`` the number of blocks that an exclusion took out, by name.
    ``unsupported`` is what this bench lacks for it, or empty.
    """

    metric: str
    unit: str
    condition: str
    arm: str
    factors: Mapping[str, Any]
    values: Mapping[int, float]
    order: Mapping[int, int]
    failures: tuple[str, ...]
    excluded: Mapping[str, int]
    unsupported: str = ""


class Paired(NamedTuple):
    """Two cells of one metric under equal factors, in the blocks where both have a value."""

    metric: str
    treatment: Cell
    baseline: Cell
    blocks: tuple[int, ...]

    @property
    def logs(self) -> Array:
        """ln(treatment / baseline) by block."""
        return log_ratios(
            [self.treatment.values[block] for block in self.blocks],
            [self.baseline.values[block] for block in self.blocks],
        )


def cells(run: StoredRun) -> list[Cell]:
    """Every metric under every condition, over the complete blocks, in the manifest's order."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for row in run.complete():
        rows.setdefault((row.metric, row.condition), []).append(row)
    conditions = [one["name"] for one in run.manifest["conditions"]]
    declared = [one["name"] for kind in ("metrics", "counts") for one in run.manifest.get(kind, ())]
    names = declared + sorted({metric for metric, _ in rows} - set(declared))
    return [
        _cell(rows[metric, condition])
        for metric in names
        for condition in conditions
        if (metric, condition) in rows
    ]


def _cell(rows: list[Row]) -> Cell:
    """Several samples of a metric in one cell give their median: never more than one a block."""
    first = rows[0]
    values: dict[int, list[float]] = {}
    order: dict[int, int] = {}
    failures: list[str] = []
    out: dict[str, set[int]] = {}
    lacking = ""
    for row in rows:
        if row.excluded:
            out.setdefault(row.excluded, set()).add(row.block)
        elif row.unsupported:
            lacking = row.failure
        elif row.value is None:
            failures.append(f"block {row.block}: {row.failure}")
        else:
            values.setdefault(row.block, []).append(row.value)
            order[row.block] = row.cell
    return Cell(
        first.metric, first.unit, first.condition, first.arm, first.factors,
        {block: median(found) for block, found in sorted(values.items())}, order,
        tuple(failures), {name: len(blocks) for name, blocks in sorted(out.items())}, lacking,
    )  # fmt: skip


def pairs(run: StoredRun, found: Iterable[Cell], *, twins: bool | None = None) -> list[Paired]:
    """The declared pairs of the declared metrics, where they hold and both arms have equal factors.

    ``twins`` True: only A/A pairs, False: only the others.  A block in which a value is missing
    or not above 0 has no ratio and is left out.
    """
    by_place = {(one.metric, one.arm, _key(one.factors)): one for one in found}
    result = []
    for metric in (one["name"] for one in run.manifest["metrics"]):
        for pair in (Pair(**one) for one in run.manifest["pairs"]):
            if twins is not None and pair.twin != twins:
                continue
            for (name, arm, factors), treatment in by_place.items():
                baseline = by_place.get((metric, pair.baseline, factors))
                if name != metric or arm != pair.treatment or not baseline:
                    continue
                if pair.holds(metric, treatment.factors):
                    blocks = tuple(
                        block
                        for block in sorted(treatment.values.keys() & baseline.values.keys())
                        if treatment.values[block] > 0 and baseline.values[block] > 0
                    )
                    result.append(Paired(metric, treatment, baseline, blocks))
    return result


def twin_logs(run: StoredRun) -> dict[str, dict[str, Array]]:
    """ln(A1/A2) by block, by metric and by condition of A1."""
    result: dict[str, dict[str, Array]] = {}
    for pair in pairs(run, cells(run), twins=True):
        if pair.blocks:
            result.setdefault(pair.metric, {})[pair.treatment.condition] = pair.logs
    return result


def _key(factors: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(factors.items()))
