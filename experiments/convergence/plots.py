"""The figure of convergence: what was lost over time, from the stored samples alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from emulator.harness.store import StoredRun
from emulator.report import figure, selection, style, table
from emulator.report.plots import Drawn
from emulator.report.table import Table
from experiments.convergence.arms import ARMS, EVENTS, TITLES, possible

ROW_IN = 0.72
HEAD_IN = 0.85
LINES: Final[tuple[Any, ...]] = ("-", (0, (2, 1)))
"""Of the first hold time, and of the second; without BFD, and with it."""


class Series(NamedTuple):
    """Cells of one condition: the share lost by begin of the bin, and the outages; one a block.

    ``mended_s``: when the repair ended; all times in seconds from the failure.
    """

    hold_s: int
    bfd_ms: int
    shares: Sequence[Mapping[float, float]]
    outages_s: Sequence[float]
    open: bool
    mended_s: float


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """``loss``: a line of panels for each arm, a column for each event; and the table."""
    found = series(run)
    if not found:
        return []
    drawn = panels(found)
    text = figure.caption(
        "Share of a steady stream that was lost while something failed (first vertical "
        "line) and until it was mended (second one). In each panel the median of the longest gap; "
        "≥: still open at the end of the stream; dashed: the longer hold time, or with BFD",
        run, summary, ["outage_ms"], marks="lines: medians over blocks, thin: single blocks",
        counts=[len(one.shares) for many in found.values() for one in many],
        factors=selection.factors(run, "outage_ms"),
    )  # fmt: skip
    files = figure.save(drawn.figure, folder, "loss", text, drawn.rows, pgf=pgf)
    return files + table.write(outages(summary), folder, "outages")


def report(summary: Mapping[str, Any]) -> str:
    """The table of outages."""
    return table.text(outages(summary))


def series(run: StoredRun) -> dict[tuple[str, str], list[Series]]:
    """By arm and event, the hold times in rising order, and without BFD before with it."""
    rows: dict[tuple[str, str, int, int], list[Any]] = {}
    for row in run.complete():
        if row.metric == "outage_ms" and row.value is not None and not row.excluded:
            rows.setdefault(_where(row.arm, row.factors), []).append(row)
    found: dict[tuple[str, str], list[Series]] = {}
    for (arm, event, hold_s, bfd_ms), many in sorted(rows.items(), key=lambda item: item[0][2:]):
        found.setdefault((arm, event), []).append(
            Series(
                hold_s,
                bfd_ms,
                [{at: lost / sent for at, sent, lost in row.detail["bins"]} for row in many],
                [row.value / 1000 for row in many],
                any(row.detail["open"] for row in many),
                float(np.median([row.detail["events"][-1][2] for row in many])),
            )
        )
    return found


def _where(arm: str, factors: Mapping[str, Any]) -> tuple[str, str, int, int]:
    # runs from before there was BFD do not say that they have none
    return arm, str(factors["event"]), int(factors["hold_s"]), int(factors.get("bfd_ms", 0))


def panels(found: Mapping[tuple[str, str], Sequence[Series]]) -> Drawn:
    """Small multiples as wide as a page, all with the same axes."""
    arms = [arm for arm in ARMS if any(one == arm for one, _ in found)]
    events = [event for event in EVENTS if any(one == event for _, one in found)]
    rows: list[dict[str, Any]] = []
    with style.thesis():
        drawn = style.column(HEAD_IN + ROW_IN * len(arms), style.PAGE_IN)
        grid = drawn.subplots(len(arms), len(events), sharex=True, sharey=True, squeeze=False)
        for line, arm in enumerate(arms):
            for column, event in enumerate(events):
                axes = grid[line][column]
                many = found.get((arm, event), ())
                for at, one in enumerate(many):
                    _lines(axes, arm, one, at)
                    rows += _rows(arm, event, one)
                _words(axes, arm, event, many)
                if line == 0:
                    axes.set_title(TITLES[event])
            grid[line][0].set_ylabel(style.look(arm).label)
        grid[0][0].set_ylim(-0.08, 1.08)
        grid[0][0].set_yticks([0, 1], ["0", "1"])
        drawn.supxlabel("time since the failure (s)", fontsize=8)
        drawn.supylabel("share lost in 50 ms", fontsize=8)
    return Drawn(drawn, rows)


def _lines(axes: Axes, arm: str, one: Series, at: int) -> None:
    look = style.look(arm)
    axes.axvspan(0.0, one.mended_s, color="#eeeeee", lw=0, zorder=0)
    for moment in (0.0, one.mended_s):
        axes.axvline(moment, color="#777777", lw=0.5, zorder=1)
    for shares in one.shares if len(one.shares) > 1 else ():
        axes.plot(
            list(shares), list(shares.values()), color=look.colour, lw=0.3, alpha=0.4,
            drawstyle="steps-post", zorder=2,
        )  # fmt: skip
    times, medians = _medians(one)
    axes.plot(
        times, medians, ls=LINES[min(at, 1)], color="black" if at else look.colour, lw=0.9,
        drawstyle="steps-post", zorder=3 - at * 0.5,
    )  # fmt: skip


def _medians(one: Series) -> tuple[list[float], list[float]]:
    """Over the blocks, for each bin that all of them have."""
    times = sorted(set.intersection(*(set(shares) for shares in one.shares)))
    return times, [float(np.median([shares[at] for shares in one.shares])) for at in times]


def _words(axes: Axes, arm: str, event: str, many: Sequence[Series]) -> None:
    if not many:
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        words = "not in this run" if possible(arm, event) else "no daemon"
        axes.annotate(words, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center",
                      fontsize=7, color="#777777")  # fmt: skip
        return
    texts = [
        f"{'≥ ' if one.open else ''}{seconds(float(np.median(one.outages_s)))}{_setting(one, many)}"
        for one in many
    ]
    axes.annotate(
        "\n".join(texts), (0.97, 0.5), xycoords="axes fraction", ha="right", va="center",
        fontsize=7, linespacing=1.3, zorder=5,
        bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.0},
    )  # fmt: skip


def _setting(one: Series, many: Sequence[Series]) -> str:
    """What tells one from the others of its panel; empty where it is alone."""
    hold = [f"hold {one.hold_s} s"] if len({other.hold_s for other in many}) > 1 else []
    bfd = ["BFD" if one.bfd_ms else "no BFD"] if any(other.bfd_ms for other in many) else []
    return f" ({', '.join(hold + bfd)})" if hold + bfd else ""


def seconds(value: float) -> str:
    """``85 ms`` or ``5.2 s``."""
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def _rows(arm: str, event: str, one: Series) -> list[dict[str, Any]]:
    times, medians = _medians(one)
    return [
        {
            "arm": arm,
            "event": event,
            "hold_s": one.hold_s,
            "bfd_ms": one.bfd_ms,
            "time_s": at,
            "lost_share": share,
        }
        for at, share in zip(times, medians, strict=True)
    ]


def outages(summary: Mapping[str, Any]) -> Table:
    """A line for each condition: outage, recovery after the repair, datagrams lost."""
    cells = {
        (_where(cell["arm"], cell["factors"]), cell["metric"]): cell for cell in summary["cells"]
    }
    columns = (("outage_ms", 1000.0), ("recovery_ms", 1000.0), ("lost_packets", 1.0))
    rows = [
        (
            style.look(arm).label,
            TITLES[event],
            f"{where[2]}" if where[2] else "–",
            f"{where[3]}" if where[3] else "–",
            *(table.spread(cells[where, metric], scale) for metric, scale in columns),
        )
        for arm in ARMS
        for event in EVENTS
        for where in sorted({one for one, _ in cells if one[:2] == (arm, event)})
    ]
    right = ("hold time (s)", "BFD (ms)", "outage (s)", "after the repair (s)", "datagrams lost")
    return Table(("network", "what fails", *right), tuple(rows), frozenset(right), summary["bench"])
