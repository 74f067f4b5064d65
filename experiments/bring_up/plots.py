"""The figures of a bring-up run, from its stored samples alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.harness.store import StoredRun
from emulator.report import figure, plots, table
from emulator.report.pairing import Cell, cells
from experiments.bring_up import bars
from experiments.bring_up.sizes import parse

_ARMS = ("podwire", "replay", "mininet")


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """Time against size, and memory per pod. Returns the files."""
    files: list[Path] = []
    links = [run.manifest["settings"]["options"]["links"]]
    for metrics, name, axis, sentence in (
        (("up_s",), "time", "time to a ready lab (s)",
         "Time to bring a cluster up against its size (nodes and pods together): Podwire, the "
         "same kernel operations replayed by a C program, and stock Mininet with as many hosts"),
        (("down_s", "drain_s"), "drain", "time until all is freed (s)",
         "Time from the word to take a lab down until its kernel memory is free again: what down "
         "itself takes, and what the kernel does afterwards"),
    ):  # fmt: skip
        lines = _lines(run, metrics)
        if lines:
            drawn = plots.scaling(lines, "nodes and pods", axis)
            text = figure.caption(
                sentence, run, summary, metrics, factors=links,
                counts=[len(values) for line in lines for values in line.values],
            )  # fmt: skip
            files += figure.save(drawn.figure, folder, name, text, drawn.rows, pgf=pgf)
    groups = _memory(run)
    if groups:
        drawn = plots.bars(groups, "memory per pod (KiB)")
        text = figure.caption(
            "Memory per pod while a lab stands idle: slab memory of the kernel, and proportional "
            "set size of its processes (Podwire as its command starts it; the replay is no lab)",
            run, summary, ["kernel_kib_per_pod", "user_kib_per_pod"], factors=links,
            counts=[len(values) for one in groups for values in one.values.values()],
        )  # fmt: skip
        files += figure.save(drawn.figure, folder, "memory", text, drawn.rows, pgf=pgf)
    return files


def report(summary: Mapping[str, Any]) -> str:
    """What is asked of bringing up, and what the run showed, as a table."""
    return table.text(bars.table(bars.bars(summary)))


def _lines(run: StoredRun, metrics: Sequence[str]) -> list[plots.Line]:
    """By arm, the sum of the metrics of each block that has them all."""
    found: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells(run):
        if cell.metric in metrics and cell.arm in _ARMS:
            found.setdefault((cell.arm, parse(str(cell.factors["size"])).hosts), []).append(cell)
    sums: dict[str, dict[int, list[float]]] = {}
    for (arm, hosts), parts in found.items():
        blocks = set.intersection(*(set(part.values) for part in parts))
        if len(parts) == len(metrics) and blocks:
            sums.setdefault(arm, {})[hosts] = [
                sum(part.values[block] for part in parts) for block in sorted(blocks)
            ]
    return [
        plots.Line(arm, sorted(sums[arm]), [sums[arm][hosts] for hosts in sorted(sums[arm])])
        for arm in _ARMS
        if arm in sums
    ]


def _memory(run: StoredRun) -> list[plots.Group]:
    """Of the largest size that every arm was brought up at."""
    found = [cell for cell in cells(run) if cell.values]
    sizes = {str(cell.factors["size"]) for cell in found if cell.arm == "mininet"}
    if not sizes:
        return []
    largest = max(sizes, key=lambda size: parse(size).hosts)
    here = [cell for cell in found if cell.factors["size"] == largest]

    def values(metric: str, arm: str) -> list[float]:
        return next((_values(c) for c in here if (c.metric, c.arm) == (metric, arm)), [])

    # started by its command a lab shares no memory with the program that measures it
    user = {"podwire": values("user_kib_per_pod", "command"),
            "mininet": values("user_kib_per_pod", "mininet")}  # fmt: skip
    groups = (
        plots.Group(f"kernel, {largest}", {a: values("kernel_kib_per_pod", a) for a in _ARMS}),
        plots.Group(f"processes, {largest}", user),
    )
    return [group for group in groups if any(group.values.values())]


def _values(cell: Cell) -> list[float]:
    return list(cell.values.values())
