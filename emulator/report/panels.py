"""Ratios of several metrics side by side: one panel for each metric, one line for each arm.

As wide as the page of a thesis. Series (one rack, two racks) stand below each other within a line,
the first filled and the second hollow.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from emulator.report import style
from emulator.report.plots import Drawn, Ratio, ratio_axis, spread

LINE_IN = 0.27
HEAD_IN = 1.0
APART = 0.3
"""Panels are narrow: labels of their axes need this share of them."""


class Panel(NamedTuple):
    """A metric: ``title`` above, ``axis`` below; ratios by (arm, series).

    ``noise_floor`` (a natural logarithm) is the grey band around 1.
    """

    title: str
    axis: str
    ratios: Mapping[tuple[str, str], Ratio]
    noise_floor: float | None = None


def panels(
    titles: Mapping[str, str],
    series: Sequence[str],
    shown: Sequence[Panel],
    unsupported: Collection[tuple[str, str]] = (),
) -> Drawn:
    """The figure; the first arm of ``titles`` on top. At most two series.

    Of ``unsupported``, (arm, series), the first panel says that there can be no mark.
    """
    arms = list(titles)
    rows: list[dict[str, Any]] = []
    with style.thesis():
        figure = style.column(HEAD_IN + LINE_IN * len(arms), style.PAGE_IN)
        every: Sequence[Axes] = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, panel in zip(every, shown, strict=True):
            axes.set_xscale("log")
            if panel.noise_floor is not None:
                band = (math.exp(-panel.noise_floor), math.exp(panel.noise_floor))
                axes.axvspan(*band, color="#eeeeee", lw=0, zorder=0)
            axes.axvline(1.0, color="black", lw=0.6, zorder=1)
            for (arm, name), one in panel.ratios.items():
                _mark(axes, one, arms.index(arm), series.index(name), len(series))
                rows += [
                    {"metric": panel.title, "arm": arm, "series": name, "kind": kind,
                     "ratio": value, "low": low, "high": high}
                    for kind, value, low, high in (
                        ("median", one.ratio, one.low, one.high),
                        *(("block", point, "", "") for point in one.points),
                    )
                ]  # fmt: skip
            ends = [v for one in panel.ratios.values() for v in (one.low, one.high, *one.points)]
            ratio_axis(axes, min(ends, default=1.0), max(ends, default=1.0), APART)
            axes.set_title(panel.title)
            axes.set_xlabel(panel.axis)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
            for line in range(1, len(arms), 2):
                axes.axhspan(line - 0.5, line + 0.5, color="#f7f7f7", lw=0, zorder=-1)
        for arm, name in unsupported:
            place = _place(arms.index(arm), series.index(name), len(series))
            every[0].annotate(
                "unsupported", (0.04, place), xycoords=("axes fraction", "data"), va="center",
                fontsize=7, color="#777777", style="italic",
            )  # fmt: skip
        every[0].set_yticks(range(len(arms)), list(titles.values()))
        every[0].set_ylim(len(arms) - 0.5, -0.5)
        if len(series) > 1:
            handles = [
                every[0].plot([], [], "o", color="black", mfc=fill, mew=0.6, ms=3.5)[0]
                for fill in ("black", "white")
            ]
            figure.legend(handles, series, loc="outside upper center", ncols=len(series))
    return Drawn(figure, rows)


def _place(line: int, at: int, series: int) -> float:
    return line + (at - (series - 1) / 2) * 0.4


def _mark(axes: Axes, one: Ratio, line: int, at: int, series: int) -> None:
    look = style.look(one.arm)
    place = _place(line, at, series)
    axes.scatter(
        one.points, place + spread(len(one.points), 0.14), s=2, color=look.colour, alpha=0.6,
        lw=0, zorder=2,
    )  # fmt: skip
    axes.errorbar(
        one.ratio, place, xerr=[[one.ratio - one.low], [one.high - one.ratio]], fmt=look.marker,
        color=look.colour, ecolor="black", elinewidth=0.7, capsize=1.8, capthick=0.7,
        mec=look.colour if at else "black", mfc="white" if at else look.colour,
        mew=0.8 if at else 0.4, ms=3.4, zorder=3,
    )  # fmt: skip
