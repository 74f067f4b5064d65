"""Where instructions went: their split by subsystem, and how far the method can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from emulator.harness.store import Row, StoredRun
from emulator.measure.sample import INSTRUCTIONS as METRICS
from emulator.measure.subsystems import NAMES, OTHER
from emulator.report import summary as summaries
from emulator.report.table import Table

TITLES = dict(zip(METRICS, ("round trip", "packet", "byte"), strict=True))
"""Of one unit, by metric."""
_SHOWN = ("host", "host-gw", "vxlan")
"""Modes in the table on the terminal, of those that there are."""
_FUNCTIONS = 12

Split = Mapping[str, float]
"""Instructions of one unit, by subsystem."""


class Error(NamedTuple):
    """Of a metric, the worst of all cells, as shares: ``clock``, what was counted against what the
    guest's own clock says of the same stretch; ``spread``, between blocks, the largest less the
    smallest value over the median; ``other``, what no rule knows."""

    clock: float
    spread: float
    other: float


def analyse(run: StoredRun) -> dict[str, Any]:
    """The summary with ``splits`` (a row for each metric and arm) and ``errors`` (by metric)."""
    summary = summaries.summarise(run)
    rows = [row for row in run.complete() if row.value is not None and "kernel" in row.detail]
    arms = dict.fromkeys(one["arm"] for one in run.manifest["conditions"])
    here = {
        (metric, arm): found
        for metric in METRICS
        for arm in arms
        if (found := [row for row in rows if (row.metric, row.arm) == (metric, arm)])
    }
    splits = [
        {"metric": metric, "arm": arm, "functions": _functions(found),
         "subsystems": _mean([row.detail["subsystems"] for row in found])}
        for (metric, arm), found in here.items()
    ]  # fmt: skip
    errors = {
        metric: _error([found for (one, _), found in here.items() if one == metric])._asdict()
        for metric in METRICS
        if any(one == metric for one, _ in here)
    }
    return {**summary, "splits": splits, "errors": errors}


def _mean(found: Sequence[Split]) -> dict[str, float]:
    return {name: sum(one.get(name, 0.0) for one in found) / len(found) for name in NAMES}


def _functions(rows: Sequence[Row]) -> list[list[Any]]:
    total: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        for name, module, subsystem, count in row.detail["functions"]:
            total[name, module, subsystem] += count / len(rows)
    return [[*one, count] for one, count in total.most_common(_FUNCTIONS)]


def _error(cells: Sequence[Sequence[Row]]) -> Error:
    every = [row for rows in cells for row in rows]
    return Error(
        max(abs(_on_clock(row.detail)) for row in every),
        max(_spread([row.value for row in rows if row.value is not None]) for rows in cells),
        max(row.detail["subsystems"][OTHER] / row.value for row in every if row.value),
    )


def _on_clock(detail: Mapping[str, Any]) -> float:
    return float((detail["kernel"] + detail["user"]) / detail["elapsed_ns"] - 1)


def _spread(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / sorted(values)[len(values) // 2]


def splits(summary: Mapping[str, Any]) -> dict[tuple[str, str], Split]:
    """By metric and arm."""
    return {(one["metric"], one["arm"]): one["subsystems"] for one in summary["splits"]}


def shares(summary: Mapping[str, Any]) -> Table:
    """A row for each subsystem, for some modes: of a round trip, a packet and a byte."""
    found = splits(summary)
    arms = [arm for arm in _SHOWN if any(arm == there for _, there in found)]
    columns = [(metric, arm) for metric in METRICS for arm in arms if (metric, arm) in found]
    headings = [f"{TITLES[metric]}, {arm}" for metric, arm in columns]
    rows = [(name, *(_number(found[one][name], one[0]) for one in columns)) for name in NAMES]
    rows.append(("all", *(_number(sum(found[one].values()), one[0]) for one in columns)))
    return Table(
        ("instructions of the kernel", *headings),
        tuple(rows),
        frozenset(headings),
        summary["bench"],
    )


def whole(summary: Mapping[str, Any]) -> Table:
    """A row for each metric and mode, a column for each subsystem."""
    rows = [
        (f"a {TITLES[metric]}", arm, *(_number(split[name], metric) for name in NAMES),
         _number(sum(split.values()), metric))
        for (metric, arm), split in splits(summary).items()
    ]  # fmt: skip
    right = frozenset((*NAMES, "all"))
    return Table(("for", "mode", *NAMES, "all"), tuple(rows), right, summary["bench"])


def functions(summary: Mapping[str, Any]) -> Table:
    """The functions with the most instructions."""
    rows = [
        (f"a {TITLES[one['metric']]}", one["arm"], name, module or "kernel", subsystem,
         _number(count, one["metric"]))
        for one in summary["splits"]
        for name, module, subsystem, count in one["functions"]
    ]  # fmt: skip
    headings = ("for", "mode", "function", "module", "subsystem", "instructions")
    return Table(headings, tuple(rows), frozenset({"instructions"}), summary["bench"])


def errors(summary: Mapping[str, Any]) -> Table:
    """How far the method can be trusted."""
    rows = [
        (f"a {TITLES[metric]}", *(f"{one[name]:.2%}" for name in Error._fields))
        for metric, one in summary["errors"].items()
    ]
    headings = ("the method, at worst", "off the clock", "between blocks", "in other")
    return Table(headings, tuple(rows), frozenset(headings[1:]), summary["bench"])


def _number(value: float, metric: str) -> str:
    return f"{value:.3f}" if metric == METRICS[2] else f"{value:.0f}"
