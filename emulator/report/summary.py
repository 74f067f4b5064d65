"""A stored run to its ``summary.json``: ratios, intervals, verdicts, noise floors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from emulator.harness import fingerprint
from emulator.harness.store import StoredRun
from emulator.report import statistics
from emulator.report.pairing import Cell, cells, pairs, twin_logs


def summarise(run: StoredRun) -> dict[str, Any]:
    """The summary document over the complete blocks of a run.

    ``comparisons`` and ``noise_floor`` are as docs/results-format.md says, ratios dimensionless
    and treatment over baseline.  ``cells`` has the absolute values with their units, ``notes``
    what a reader should know.
    """
    found = cells(run)
    floors = {
        metric: statistics.noise_floor(np.concatenate(list(logs.values())))
        for metric, logs in twin_logs(run).items()
    }
    better = {one["name"]: one["better"] for one in run.manifest["metrics"]}
    comparisons, notes = [], list(run.notes)
    for pair in pairs(run, found):
        treatment, baseline = pair.treatment, pair.baseline
        title = f"{pair.metric}: {treatment.condition} / {baseline.condition}"
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
    notes += [note for cell in found for note in _cell_notes(cell)]
    if run.manifest["status"] != "complete":
        notes.append(f"the run is {run.manifest['status']}: {run.manifest['why'] or 'not ended'}")
    return {
        "comparisons": comparisons,
        "noise_floor": floors,
        "cells": [_cell(one) for one in found],
        "notes": notes,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    values = np.array(list(cell.values.values()))
    row: dict[str, Any] = {
        "metric": cell.metric, "unit": cell.unit, "condition": cell.condition, "arm": cell.arm,
        "factors": dict(cell.factors), "n": len(values), "failed": len(cell.failures),
        "excluded": dict(cell.excluded), "median": None, "ci": [None, None],
    }  # fmt: skip
    if len(values):
        low, high, _ = statistics.median_interval(values)
        row.update(median=float(np.median(values)), ci=[low, high])
    return row


def _cell_notes(cell: Cell) -> Iterable[str]:
    title = f"{cell.metric} of {cell.condition}"
    if cell.failures:
        yield f"{title}: {len(cell.failures)} failed, the first in {cell.failures[0]}"
    for name, count in cell.excluded.items():
        yield f"{title}: {count} excluded ({name})"
    values = list(cell.values.values())
    if statistics.drifts(values, [cell.order[block] for block in cell.values]):
        rho = statistics.spearman(values, [cell.order[block] for block in cell.values])
        yield f"{title}: drifts with time (Spearman {rho:+.2f}); ratios are within blocks"
    far = [label for label in statistics.tukey(values) if label == "far"]
    if far and len(values) >= statistics.FEWEST_BLOCKS:
        yield f"{title}: {len(far)} of {len(values)} blocks far outside the others (kept)"


def together(runs: Iterable[StoredRun]) -> list[dict[str, Any]]:
    """The comparisons of several runs for one table, each with its ``run``.

    They are listed, never pooled; PodwireError that names the fields when fingerprints differ.
    """
    several = list(runs)
    fingerprint.refuse_mixture((one.folder.name, one.manifest["fingerprint"]) for one in several)
    return [
        {"run": one.folder.name, **row} for one in several for row in summarise(one)["comparisons"]
    ]


def comparisons(summary: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    """The comparisons of one metric."""
    return [row for row in summary["comparisons"] if row["metric"] == metric]
