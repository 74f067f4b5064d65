"""The figure of cni-verbs, from the stored samples alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from emulator.harness.store import StoredRun
from emulator.report import figure, selection, style
from emulator.report.plots import Drawn, plain_log_axis
from experiments.cni_verbs.arms import ARMS, VERBS, metric

HEIGHT_IN = 3.9
WINDOW = 9
MARKS = f"above: medians over blocks, running over {WINDOW} pods; below: blocks pooled"
LINES: Final[tuple[Any, ...]] = ("-", (0, (2, 1)))
"""One pod after the other; several at once."""


class Series(NamedTuple):
    """One arm with so many at once: by block, the times in ms in the order of the pods."""

    arm: str
    at_once: int
    blocks: Sequence[Sequence[float]]

    def by_pod(self) -> list[float]:
        """The median over the blocks for the first pod, the second, …"""
        return [float(one) for one in np.median(np.array(self.blocks), axis=0)]

    def smooth(self) -> list[float]:
        """The same as running medians over ``WINDOW`` pods, of fewer at both ends."""
        values, reach = self.by_pod(), WINDOW // 2
        return [
            float(np.median(values[max(0, at - reach) : at + reach + 1]))
            for at in range(len(values))
        ]

    def pooled(self) -> tuple[list[float], list[float]]:
        """All times of all blocks in rising order, and the share that each of them ends."""
        times = sorted(time for block in self.blocks for time in block)
        return times, [(at + 1) / len(times) for at in range(len(times))]


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """``verbs``: what each verb takes for the n-th pod of a node, and how its times spread."""
    found = {verb: series(run, verb) for verb in VERBS}
    if not any(found.values()):
        return []
    drawn = panels(found)
    headline = [metric(verb, "p50") for verb in VERBS]
    text = figure.caption(
        "What ADD, CHECK and DEL take, all plugins of a list together: above for the n-th pod of a "
        "node, below as cumulative shares; one pod after the other, and several at once",
        run, summary, headline, marks=MARKS,
        counts=[len(one.blocks) for many in found.values() for one in many],
        factors=selection.factors(run, headline[0]),
    )  # fmt: skip
    return figure.save(drawn.figure, folder, "verbs", text, drawn.rows, pgf=pgf)


def series(run: StoredRun, verb: str) -> list[Series]:
    """The times of a verb by arm, without A/A, and by how many pods at once."""
    found: dict[tuple[str, int], list[list[float]]] = {}
    for row in run.complete():
        if row.metric == metric(verb, "p50") and row.value is not None and not row.excluded:
            times = [time for _, time in sorted(row.detail["by_pod_ms"])]
            found.setdefault((row.arm, int(row.factors["at_once"])), []).append(times)
    return [
        Series(arm, at_once, found[arm, at_once])
        for arm in ARMS if not arm.endswith(" again")
        for at_once in sorted({n for a, n in found if a == arm})
    ]  # fmt: skip


def panels(found: Mapping[str, Sequence[Series]]) -> Drawn:
    """A column for each verb, as wide as a page."""
    rows: list[dict[str, Any]] = []
    arms = list(dict.fromkeys(one.arm for many in found.values() for one in many))
    with style.thesis():
        drawn = style.column(HEIGHT_IN, style.PAGE_IN)
        upper, lower = drawn.subplots(2, len(VERBS), sharey="row")
        every = [time for many in found.values() for one in many for b in one.blocks for time in b]
        for verb, above, below in zip(VERBS, upper, lower, strict=True):
            for one in found[verb]:
                _curves(above, below, one)
                rows += _rows(verb, one)
            above.set_title(verb.upper())
            above.set_xlabel("pods on the node")
            above.set_yscale("log")
            below.set_xscale("log")
            below.set_xlabel("time (ms)")
            below.set_ylim(0, 1.02)
            plain_log_axis(below, every, span=40)
        smooth = [time for many in found.values() for one in many for time in one.smooth()]
        plain_log_axis(upper[0], smooth, "y")
        upper[0].set_ylabel("time (ms)")
        lower[0].set_ylabel("share of calls")
        keys: dict[str, tuple[Any, str]] = {
            ARMS[arm].title: (LINES[0], style.look(arm).colour) for arm in arms
        }
        at_once = {one.at_once for many in found.values() for one in many}
        keys |= {
            f"{most} at once" if most > 1 else "one by one": (LINES[most > 1], "black")
            for most in sorted(at_once)
        }
        handles = [upper[0].plot([], [], ls=ls, color=colour)[0] for ls, colour in keys.values()]
        drawn.legend(handles, list(keys), loc="outside upper center", ncols=len(keys))
    return Drawn(drawn, rows)


def _curves(above: Axes, below: Axes, one: Series) -> None:
    look, dashes = style.look(one.arm), LINES[one.at_once > 1]
    smooth = one.smooth()
    above.plot(range(1, len(smooth) + 1), smooth, ls=dashes, color=look.colour, lw=0.8)
    times, shares = one.pooled()
    below.plot(times, shares, ls=dashes, color=look.colour, lw=0.8, drawstyle="steps-post")


def _rows(verb: str, one: Series) -> list[dict[str, Any]]:
    return [
        {"verb": verb, "arm": one.arm, "at_once": one.at_once, "pod": pod, "time_ms": time}
        for pod, time in enumerate(one.by_pod(), 1)
    ]
