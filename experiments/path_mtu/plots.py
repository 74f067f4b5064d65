"""The figure and the table of path-mtu, drawn from a stored run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.harness.store import StoredRun
from emulator.report import figure, selection, style, table
from emulator.report.pairing import cells
from emulator.report.plots import Drawn
from experiments.path_mtu.situations import PROBES, SITUATIONS
from experiments.path_mtu.tables import analyse, outcomes
from experiments.two_nodes.modes import MODES

__all__ = ["analyse", "draw", "report"]

FILLS = {"whole": "#FFFFFF", "in pieces": "#F1E3A5", "refused": "#A9CBE8", "lost": "#E58A7B",
         "failed": "#FFFFFF", "unsupported": "#EEEEEE"}  # fmt: skip
LETTERS = {"whole": "whole", "in pieces": "pieces", "lost": "lost", "failed": "?",
           "unsupported": ""}  # fmt: skip
"""Of a refusal the MTU is written."""
SHORT = ("DF", "no DF", "TCP", "clamped")


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """``fields``: one for each mode, situation and probe; and the table ``outcomes``."""
    drawn = fields(summary["outcomes"])
    files: list[Path] = []
    shown = [cell for cell in cells(run) if cell.metric in PROBES and cell.values]
    if drawn.rows:
        text = figure.caption(
            "What became of packets that are too large for the path: a datagram with and without "
            "Don't Fragment, a TCP stream, and one whose segments a rule at the sender's node "
            "keeps small; a number is the MTU with which the sender was refused",
            run, summary, [], marks=f"outcomes: {selection.sameness(shown)}",
            counts=[len(cell.values) for cell in shown], factors=[],
        )  # fmt: skip
        files += figure.save(drawn.figure, folder, "fields", text, drawn.rows, pgf=pgf)
    return files + table.write(outcomes(summary), folder, "outcomes")


def report(summary: Mapping[str, Any]) -> str:
    """The table of outcomes."""
    return table.text(outcomes(summary))


def fields(rows: list[dict[str, Any]]) -> Drawn:
    """A panel for each situation, a line for each mode, a column for each probe."""
    found = {(one["arm"], one["situation"], one["metric"]): one for one in rows}
    arms = [arm for arm in MODES if any(arm == key[0] for key in found)]
    situations = [one for one in SITUATIONS if any(one == key[1] for key in found)]
    plotted: list[dict[str, Any]] = []
    with style.thesis():
        drawn = style.column(0.8 + 0.2 * len(arms), style.PAGE_IN)
        if not found:
            return Drawn(drawn, plotted)
        every = drawn.subplots(1, len(situations), sharey=True, squeeze=False)[0]
        for axes, situation in zip(every, situations, strict=True):
            for line, arm in enumerate(arms):
                for at, metric in enumerate(PROBES):
                    one = found.get((arm, situation, metric))
                    if one is None:
                        continue
                    axes.axvspan(at - 0.5, at + 0.5, *_span(line, len(arms)),
                                 color=FILLS[one["word"]], lw=0)  # fmt: skip
                    axes.text(at, line, _letters(one), ha="center", va="center", fontsize=7)
                    plotted.append(one)
            axes.set_title(SITUATIONS[situation].title)
            axes.set_xticks(range(len(PROBES)), SHORT)
            axes.set_xlim(-0.5, len(PROBES) - 0.5)
            axes.set_ylim(len(arms) - 0.5, -0.5)
            axes.grid(visible=False)
            axes.tick_params(length=0)
            for line in range(1, len(arms)):
                axes.axhline(line - 0.5, color="white", lw=0.8)
            for at in range(1, len(PROBES)):
                axes.axvline(at - 0.5, color="white", lw=0.8)
        every[0].set_yticks(range(len(arms)), [MODES[arm].title for arm in arms])
    return Drawn(drawn, plotted)


def _span(line: int, count: int) -> tuple[float, float]:
    """The line's share of the panel's height, from below."""
    return (count - line - 1) / count, (count - line) / count


def _letters(one: Mapping[str, Any]) -> str:
    if one["word"] == "refused":
        return str(one["more"]).split()[0]
    return LETTERS[str(one["word"])]
