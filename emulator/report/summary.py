"""A stored run to its ``summary.json``: ratios, intervals, verdicts, noise floors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from emulator.harness.bench import Bench
from emulator.harness.store import StoredRun
from emulator.report import statistics
from emulator.report.pairing import Cell, cells, pairs, twin_logs


def summarise(run: StoredRun) -> dict[str, Any]:
    """The summary document over the complete blocks of a run.

    ``comparisons`` and ``noise_floor`` are as docs/results-format.md says, ratios dimensionless
    and treatment over baseline.  ``cells`` has the absolute values with their units, ``notes``
    what a reader should know, ``bench`` where all of it was measured, empty for natively.
    """
    found = cells(run)
    twins = {metric: np.concatenate(list(logs.values())) for metric, logs in twin_logs(run).items()}
    floors = {
        metric: statistics.noise_floor(logs)
        for metric, logs in twins.items() if logs.size >= statistics.FEWEST_BLOCKS
    }  # fmt: skip
    better = {one["name"]: one["better"] for one in run.manifest["metrics"]}
    comparisons, notes = [], list(run.notes)
    for pair in pairs(run, found):
        treatment, baseline = pair.treatment, pair.baseline
        title = f"{pair.metric}: {treatment.condition} / {baseline.condition}"
        if not pair.blocks and (treatment.unsupported or baseline.unsupported):
            continue
        if not pair.blocks:
            notes.append(f"{title}: no block has both values, so there is no ratio")
            continue
        effect = statistics.effect(pair.logs)
        comparisons.append(
            {
                "metric": pair.metric,
                "treatment": treatment.arm,
                "baseline": baseline.arm,
                "factors": dict(treatment.factors),
                "ratio": effect.ratio,
                "ci": [effect.interval.low, effect.interval.high],
                "n": effect.n,
                "verdict": statistics.verdict(effect, floors.get(pair.metric), better[pair.metric]),
            }
        )
        if effect.interval.kind == "range":
            notes.append(f"{title}: ci is the range of {effect.n} blocks, not an interval")
        drift = statistics.drift(list(pair.logs), [treatment.order[one] for one in pair.blocks])
        if drift:
            notes.append(f"{title}: the ratio drifts with time (Spearman {drift:+.2f})")
        unpaired = len(treatment.values.keys() & baseline.values.keys()) - len(pair.blocks)
        if unpaired:
            notes.append(f"{title}: {unpaired} blocks with a value not above 0 have no ratio")
    notes += _unsupported(found)
    notes += [note for cell in found for note in _cell_notes(cell)]
    notes += _unsteady(run, floors)
    for metric in run.manifest["headline"]:
        if floors.get(metric, 0.0) > statistics.NOISY_ABOVE:
            notes.append(
                f"noisy machine: two cells of one mode differ in {metric} by up to "
                f"{np.expm1(floors[metric]):.0%} (95th percentile)"
            )
    if run.manifest["status"] != "complete":
        notes.append(f"the run is {run.manifest['status']}: {run.manifest['why'] or 'not ended'}")
    return {
        "comparisons": comparisons,
        "noise_floor": floors,
        "cells": [_cell(one) for one in found],
        "notes": notes,
        "bench": Bench.of_fingerprint(run.manifest["fingerprint"]).words(),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    values = np.array(list(cell.values.values()))
    row: dict[str, Any] = {
        "metric": cell.metric, "unit": cell.unit, "condition": cell.condition, "arm": cell.arm,
        "factors": dict(cell.factors), "n": len(values), "failed": len(cell.failures),
        "excluded": dict(cell.excluded), "median": None, "ci": [None, None],
        "unsupported": cell.unsupported,
    }  # fmt: skip
    if len(values):
        low, high, _ = statistics.median_interval(values)
        row.update(median=float(np.median(values)), ci=[low, high])
    return row


def _unsupported(found: Iterable[Cell]) -> Iterable[str]:
    """What was not measured at all, one note for each reason."""
    lacking: dict[str, list[Cell]] = {}
    for cell in found:
        if cell.unsupported:
            lacking.setdefault(cell.unsupported, []).append(cell)
    for why, cells_ in lacking.items():
        metrics = ", ".join(dict.fromkeys(cell.metric for cell in cells_))
        conditions = ", ".join(dict.fromkeys(cell.condition for cell in cells_))
        yield f"unsupported ({why}): {metrics} of {conditions}"


def _cell_notes(cell: Cell) -> Iterable[str]:
    title = f"{cell.metric} of {cell.condition}"
    if cell.failures:
        yield f"{title}: {len(cell.failures)} failed, the first in {cell.failures[0]}"
    for name, count in cell.excluded.items():
        yield f"{title}: {count} excluded ({name})"
    values = list(cell.values.values())
    drift = statistics.drift(values, [cell.order[block] for block in cell.values])
    if drift:
        yield f"{title}: drifts with time (Spearman {drift:+.2f})"
    far = [label for label in statistics.tukey(values) if label == "far"]
    if far and len(values) >= statistics.FEWEST_BLOCKS:
        yield f"{title}: {len(far)} of {len(values)} blocks far outside the others (kept)"


def _unsteady(run: StoredRun, floors: Mapping[str, float]) -> Iterable[str]:
    """Cells whose first half differs from their second by more than two cells of one mode do."""
    rows = [
        row for row in run.complete() if row.metric in floors and "interval_bit_s" in row.detail
    ]
    for condition in dict.fromkeys(row.condition for row in rows):
        here = [row for row in rows if row.condition == condition and not row.excluded]
        series = [row.detail["interval_bit_s"] for row in here]
        count = sum(
            not statistics.steady(one, floors[row.metric])
            for row, one in zip(here, series, strict=True)
        )
        if count:
            yield (
                f"{here[0].metric} of {condition}: in {count} of {len(here)} blocks the halves "
                "differ by more than the noise floor (kept)"
            )
