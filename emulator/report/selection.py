"""From a stored run to what the plots take: ratios, groups of bars, pooled distributions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from emulator.harness.store import Row, StoredRun
from emulator.report import statistics
from emulator.report.pairing import Cell, Paired, cells, pairs
from emulator.report.plots import Curve, Group, Ratio


def ratios(
    run: StoredRun,
    summary: Mapping[str, Any],
    metric: str,
    label: Callable[[Paired], str],
    keep: Callable[[Paired], bool] = lambda pair: True,
) -> list[Ratio]:
    """The comparisons of one metric with the ratios of their blocks, for ``plots.forest``."""
    better = {one["name"]: one["better"] for one in run.manifest["metrics"]}
    floor = summary["noise_floor"].get(metric)
    result = []
    for pair in pairs(run, cells(run)):
        if pair.metric == metric and pair.blocks and keep(pair):
            effect = statistics.effect(pair.logs)
            low, high, _ = effect.interval
            points = [float(one) for one in np.exp(pair.logs)]
            verdict = statistics.verdict(effect, floor, better[metric])
            result.append(
                Ratio(label(pair), pair.treatment.arm, effect.ratio, low, high, points, verdict)
            )
    return result


def factors(run: StoredRun, metric: str) -> list[Mapping[str, Any]]:
    """The factors of the conditions in which a metric has values."""
    return [cell.factors for cell in cells(run) if cell.metric == metric and cell.values]


def sameness(found: Sequence[Cell]) -> str:
    """Whether what ought to be the same in every block is, in words for a caption."""
    several = [cell for cell in found if len(cell.values) > 1]
    differ = [cell for cell in several if len(set(cell.values.values())) > 1]
    if not several:
        return "no two blocks to compare"
    if not differ:
        return "equal in all blocks"
    names = ", ".join(f"{cell.metric} of {cell.condition}" for cell in differ)
    return f"{len(differ)} of {len(several)} values differ between blocks ({names})"


def groups(run: StoredRun, metric: str, label: Callable[[Cell], str]) -> list[Group]:
    """The absolute values of one metric; cells of the same label stand side by side."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell in cells(run):
        if cell.metric == metric and cell.values:
            found.setdefault(label(cell), {})[cell.arm] = list(cell.values.values())
    return [Group(name, values) for name, values in found.items()]


def curves(run: StoredRun, metric: str, keep: Callable[[Row], bool]) -> list[Curve]:
    """One distribution for each arm from ``curve_us`` in the details of the rows kept.

    The blocks are pooled as a mixture with equal weights: distributions are added up, their
    percentiles are never averaged.
    """
    found: dict[str, list[list[tuple[float, float]]]] = {}
    for row in run.complete():
        curve = row.detail.get("curve_us")
        if row.metric == metric and curve and not row.excluded and keep(row):
            found.setdefault(row.arm, []).append(curve)
    arms = dict.fromkeys(one["arm"] for one in run.manifest["conditions"])
    return [_mixture(arm, found[arm]) for arm in arms if arm in found]


def _mixture(arm: str, blocks: list[list[tuple[float, float]]]) -> Curve:
    times = np.unique([value for block in blocks for _, value in block])
    share = np.zeros(len(times))
    for block in blocks:
        levels = np.array([0.0, *(level for level, _ in block)])
        reached = np.searchsorted([value for _, value in block], times, side="right")
        share += levels[reached] / len(blocks)
    return Curve(arm, share.tolist(), times.tolist())
