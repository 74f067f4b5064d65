"""The figures and tables of instructions, drawn from a stored run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.patches import Patch

from emulator.harness.store import StoredRun
from emulator.measure.sample import INSTRUCTIONS as METRICS
from emulator.measure.subsystems import NAMES
from emulator.report import figure, pairing, style, table
from emulator.report.plots import Drawn
from experiments.instructions import splits
from experiments.instructions.splits import Split, analyse
from experiments.two_nodes.modes import MODES

__all__ = ["analyse", "draw", "report"]

COLOURS = dict(zip(NAMES, (
    "#E3E3E3", "#C4C4C4", "#A3A3A3", "#808080", "#D8CFBF", "#B3A78F",
    "#BBD4EE", "#77AADD", "#4477AA", "#DDAA33", "#44AA77", "#CC3311", "#882277", "#000000",
), strict=True))  # fmt: skip
"""Grey and brown: what every packet needs; colours: what its way through the network adds."""
AXES = (
    ("instructions_per_round_trip", "UDP round trip\n(1000 instructions)", 1e3),
    ("instructions_per_packet", "UDP packet\n(1000 instructions)", 1e3),
    ("instructions_per_byte", "byte of a TCP stream\n(instructions)", 1.0),
)
BASES = ("host", "host-gw")
"""What other modes are compared with: the first that the run has."""
LIMITS = (
    "Every instruction counts the same; there are no caches, no waiting for memory and one CPU, so "
    "these are no times. The programs' own instructions are left out"
)
TOLERANCES = {
    "instructions_per_round_trip": 0.005,
    "instructions_per_packet": 0.005,
    "instructions_per_byte": 0.01,
}
"""By which a median may move from one version of the program to the next, before somebody has to
say that it is meant."""
SEEN = 0.004
"""What is a smaller share of the longest bar everywhere has no place in the legend."""
LINE_IN = 0.2
HEAD_IN = 1.55


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """``where``, and ``added`` with the differences; and the tables ``split`` and ``functions``."""
    found = splits.splits(summary)
    if not found:
        return []
    files: list[Path] = []
    base = next((arm for arm in BASES if (METRICS[0], arm) in found), "")
    for name, drawn, sentence in (
        ("where", bars(found, arms(found)),
         "Instructions of the kernel between two pods on two nodes, by the part of the kernel that "
         f"executes them. {LIMITS}"),
        ("added", bars(less(found, base), [one for one in arms(found) if one != base],
                       differences=True),
         f"What each network adds to {_title(base)}, by the part of the kernel; left of zero: what "
         f"it spares; mark: the sum. {LIMITS}"),
    ):  # fmt: skip
        if not drawn.rows:
            continue
        shown = [one for one in pairing.cells(run) if one.metric in METRICS and one.values]
        text = figure.caption(
            sentence, run, summary, list(METRICS), marks="bars: means over blocks",
            counts=[len(one.values) for one in shown], factors=[one.factors for one in shown],
        )  # fmt: skip
        files += figure.save(drawn.figure, folder, name, text, drawn.rows, pgf=pgf)
    files += table.write(splits.whole(summary), folder, "split")
    return files + table.write(splits.functions(summary), folder, "functions")


def report(summary: Mapping[str, Any]) -> str:
    """The split of some modes, and the method's own errors."""
    if not summary["splits"]:
        return ""
    return "\n".join(map(table.text, (splits.shares(summary), splits.errors(summary))))


Splits = Mapping[tuple[str, str], Split]


def arms(found: Splits) -> list[str]:
    """The cheapest round trip first."""
    there = dict.fromkeys(arm for _, arm in found)
    return sorted(there, key=lambda arm: sum(found.get((METRICS[0], arm), {}).values()))


def less(found: Splits, base: str) -> Splits:
    """What is more, or less, than under one of the modes."""
    return {
        (metric, arm): {name: split[name] - found[metric, base][name] for name in NAMES}
        for (metric, arm), split in found.items()
        if arm != base and (metric, base) in found
    }


def bars(found: Splits, order: Sequence[str], *, differences: bool = False) -> Drawn:
    """A panel for each metric, a bar for each mode, a piece of it for each subsystem that is seen.

    Of ``differences`` what is below zero stands left of it, and a mark is at the sum.
    """
    rows: list[dict[str, Any]] = []
    longest = {metric: max(_length(one) for (of, _), one in found.items() if of == metric)
               for metric, _ in found}  # fmt: skip
    names = [
        name for name in NAMES
        if any(abs(one[name]) > SEEN * longest[metric] for (metric, _), one in found.items())
    ]  # fmt: skip
    with style.thesis():
        drawn = style.column(HEAD_IN + LINE_IN * len(order), style.PAGE_IN)
        every = drawn.subplots(1, len(AXES), sharey=True, squeeze=False)[0]
        for axes, (metric, title, scale) in zip(every, AXES, strict=True):
            for line, arm in enumerate(order):
                ends = {True: 0.0, False: 0.0}
                for name in NAMES:
                    value = found.get((metric, arm), {}).get(name, 0.0) / scale
                    axes.barh(line, value, 0.72, left=ends[value > 0], color=COLOURS[name], lw=0)
                    ends[value > 0] += value
                    rows.append({"metric": metric, "arm": arm, "subsystem": name,
                                 "instructions": value * scale})  # fmt: skip
                if differences:
                    axes.plot(sum(ends.values()), line, "|", color="black", ms=6, mew=1.0)
            if differences:
                axes.axvline(0, color="black", lw=0.5)
            else:
                axes.set_xlim(left=0)
            axes.set_xlabel(title)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            axes.locator_params(axis="x", nbins=5)
        every[0].set_yticks(range(len(order)), [_title(arm) for arm in order])
        every[0].set_ylim(len(order) - 0.5, -0.5)
        handles = [Patch(color=COLOURS[name], lw=0, label=name) for name in names]
        drawn.legend(
            handles=handles, loc="outside upper center", ncols=5, handlelength=1.0,
            columnspacing=1.0,
        )  # fmt: skip
    return Drawn(drawn, rows)


def _length(split: Split) -> float:
    return sum(map(abs, split.values()))


def _title(arm: str) -> str:
    if arm in MODES:
        return MODES[arm].title
    return f"{MODES[arm.removesuffix(' again')].title} (A/A)"
