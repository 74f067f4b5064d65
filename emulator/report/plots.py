"""The kinds of figures: ratios, absolute values, distributions, growth.

Each function takes plain values and gives the figure and the plotted numbers (the rows of its
CSV).  Units stand on the axes; one arm looks the same everywhere.
(Over 300 lines: four kinds of figures and the axes that they share.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from emulator.report import style
from emulator.report.statistics import median_interval


class Drawn(NamedTuple):
    """A figure and the numbers in it."""

    figure: Figure
    rows: list[dict[str, Any]]


class Ratio(NamedTuple):
    """One line of a forest plot: ``points`` are the ratios of the single blocks."""

    label: str
    arm: str
    ratio: float
    low: float
    high: float
    points: Sequence[float]
    verdict: str = ""


class Group(NamedTuple):
    """Bars side by side: values by arm, one value per block."""

    label: str
    values: Mapping[str, Sequence[float]]


class Curve(NamedTuple):
    """A distribution as (level, value) pairs in rising order, the last level 1."""

    arm: str
    levels: Sequence[float]
    values: Sequence[float]


class Line(NamedTuple):
    """Growth with size: the values of the repetitions at each size."""

    arm: str
    sizes: Sequence[float]
    values: Sequence[Sequence[float]]


def forest(ratios: Sequence[Ratio], axis: str, noise_floor: float | None = None) -> Drawn:
    """Ratios with intervals on a logarithmic axis, 1.0 marked, single blocks as dots.

    ``noise_floor`` (a natural logarithm) is the grey band around 1.  First ratio on top.
    """
    with style.thesis():
        figure = style.column(0.62 + 0.24 * len(ratios))
        axes = figure.add_subplot()
        axes.set_xscale("log")
        if noise_floor is not None:
            band = (math.exp(-noise_floor), math.exp(noise_floor))
            axes.axvspan(*band, color="#eeeeee", lw=0, zorder=0)
        axes.axvline(1.0, color="black", lw=0.6, zorder=1)
        for place, one in enumerate(ratios):
            look = style.look(one.arm)
            axes.scatter(
                one.points, place + spread(len(one.points), 0.26), s=3, color=look.colour,
                alpha=0.6, lw=0, zorder=2,
            )  # fmt: skip
            axes.errorbar(
                one.ratio, place, xerr=[[one.ratio - one.low], [one.high - one.ratio]],
                fmt=look.marker, color=look.colour, ecolor="black", elinewidth=0.8, capsize=2.8,
                capthick=0.8, mec="black", mew=0.4, ms=3.2, zorder=3,
            )  # fmt: skip
        axes.set_yticks(range(len(ratios)), [one.label for one in ratios])
        axes.set_ylim(len(ratios) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        beside = axes.secondary_yaxis("right")
        beside.set_yticks(
            range(len(ratios)), [f"{one.ratio:.2f}  {one.verdict}".rstrip() for one in ratios]
        )
        beside.tick_params(length=0)
        ends = [1.0, *(v for one in ratios for v in (one.low, one.high, *one.points))]
        ratio_axis(axes, min(ends), max(ends))
        axes.set_xlabel(axis)
    rows = [
        {"label": one.label, "arm": one.arm, "kind": kind, "ratio": value, "low": low, "high": high}
        for one in ratios
        for kind, value, low, high in (
            ("median", one.ratio, one.low, one.high),
            *(("block", point, "", "") for point in one.points),
        )
    ]
    return Drawn(figure, rows)


def bars(groups: Sequence[Group], axis: str, scale: float = 1.0) -> Drawn:
    """Medians over blocks as bars from zero, their 95 % intervals, and every block as a dot.

    ``axis`` names quantity and unit; values are divided by ``scale`` (1e9 for Gbit/s).
    """
    arms = list(dict.fromkeys(arm for group in groups for arm in group.values))
    rows: list[dict[str, Any]] = []
    with style.thesis():
        figure = style.column(2.2)
        axes = figure.add_subplot()
        width = min(0.8 / len(arms), 0.18 * len(groups))
        top = 0.0
        for place, group in enumerate(groups):
            for index, arm in enumerate(arms):
                if not group.values.get(arm):
                    continue
                values = np.array([value / scale for value in group.values[arm]], float)
                at = place + (index - (len(arms) - 1) / 2) * width
                median, (low, high, kind) = float(np.median(values)), median_interval(values)
                look = style.look(arm)
                axes.bar(at, median, width * 0.92, color=look.colour, hatch=look.hatch,
                         edgecolor="white", lw=0, zorder=1)  # fmt: skip
                axes.errorbar(at, median, [[median - low], [high - median]], color="black",
                              lw=0.8, capsize=1.5, capthick=0.8, zorder=3)  # fmt: skip
                axes.scatter(at + spread(len(values), width * 0.28), values, s=2.5,
                             color="black", alpha=0.4, lw=0, zorder=2)  # fmt: skip
                top = max(top, high, float(values.max()))
                rows += [{"group": group.label, "arm": arm, "kind": "median", "value": median,
                          "low": low, "high": high, "interval": kind}]  # fmt: skip
                rows += [{"group": group.label, "arm": arm, "kind": "block", "value": float(value)}
                         for value in values]  # fmt: skip
        axes.set_xticks(range(len(groups)), [group.label for group in groups])
        axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.set_ylim(0, top * 1.05 or 1)
        axes.set_ylabel(axis)
        axes.grid(visible=False, axis="x")
        axes.tick_params(axis="x", length=0)
        _legend(figure, axes, arms, bars=True)
    return Drawn(figure, rows)


def ecdf(curves: Sequence[Curve], axis: str) -> Drawn:
    """Cumulative shares over a logarithmic axis, p50 and p99 marked on each curve.

    The axis ends at the slowest p99.9: one late answer would take half of it. The rows have all.
    """
    with style.thesis():
        figure = style.column(2.2)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        for level, name in ((0.5, "p50"), (0.99, "p99")):
            axes.axhline(level, color="#999999", lw=0.4, zorder=1)
            axes.annotate(name, (1, level), xycoords=("axes fraction", "data"), xytext=(2, 0),
                          textcoords="offset points", va="center", fontsize=7)  # fmt: skip
        for curve in curves:
            look = style.look(curve.arm)
            levels, values = np.asarray(curve.levels), np.asarray(curve.values)
            axes.plot(values, levels, look.line, color=look.colour, drawstyle="steps-post")
            marked = [min(int(np.searchsorted(levels, q)), len(levels) - 1) for q in (0.5, 0.99)]
            axes.plot(values[marked], levels[marked], look.marker, color=look.colour,
                      mec="black", mew=0.4, zorder=3)  # fmt: skip
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("share of round trips")
        axes.set_xlabel(axis)
        plain_log_axis(axes, [curve.values[0] for curve in curves] + [*map(_slow, curves)])
        _legend(figure, axes, [curve.arm for curve in curves])
    rows = [
        {"arm": curve.arm, "level": float(level), "value": float(value)}
        for curve in curves
        for level, value in zip(curve.levels, curve.values, strict=True)
    ]
    return Drawn(figure, rows)


def _slow(curve: Curve) -> float:
    """p99.9 of a distribution."""
    return curve.values[min(int(np.searchsorted(curve.levels, 0.999)), len(curve.values) - 1)]


def scaling(lines: Sequence[Line], size_axis: str, value_axis: str) -> Drawn:
    """Medians against size on logarithmic axes, with intervals and every repetition as a dot."""
    rows: list[dict[str, Any]] = []
    sizes = sorted({size for line in lines for size in line.sizes})
    with style.thesis():
        figure = style.column(2.3)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        margin = 1.1 * (sizes[-1] / sizes[0]) ** 0.04
        axes.set_xlim(sizes[0] / margin, sizes[-1] * margin)
        for line in lines:
            look = style.look(line.arm)
            medians = []
            for size, values in zip(line.sizes, line.values, strict=True):
                array = np.asarray(values, float)
                median, (low, high, kind) = float(np.median(array)), median_interval(array)
                medians += [median]
                axes.scatter([size] * len(array), array, s=2.5, color=look.colour, alpha=0.5, lw=0)
                axes.errorbar(size, median, [[median - low], [high - median]], color=look.colour,
                              lw=0.8, capsize=1.5)  # fmt: skip
                rows.append({"arm": line.arm, "size": size, "kind": "median", "value": median,
                             "low": low, "high": high, "interval": kind})  # fmt: skip
                rows += [{"arm": line.arm, "size": size, "kind": "run", "value": float(value)}
                         for value in values]  # fmt: skip
            axes.plot(line.sizes, medians, look.line, marker=look.marker, color=look.colour)
        axes.xaxis.set_major_locator(FixedLocator(_apart(sizes)))
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(_short))
        axes.set_xlabel(size_axis)
        axes.set_ylabel(value_axis)
        _legend(figure, axes, [line.arm for line in lines])
    return Drawn(figure, rows)


def spread(count: int, half_width: float) -> Any:
    """Places for dots that would hide each other: in block order, hence the same each time."""
    return np.linspace(-half_width, half_width, count) if count > 1 else np.zeros(count)


def _legend(figure: Figure, axes: Axes, arms: Sequence[str], *, bars: bool = False) -> None:
    """Above the axes, never over data."""
    if bars:
        handles: list[Any] = [
            axes.bar(0, 0, color=style.look(arm).colour, hatch=style.look(arm).hatch,
                     edgecolor="white", lw=0)
            for arm in arms
        ]  # fmt: skip
    else:
        handles = [
            axes.plot([], [], style.look(arm).line, marker=style.look(arm).marker,
                      color=style.look(arm).colour)[0]
            for arm in arms
        ]  # fmt: skip
    labels = [style.look(arm).label for arm in arms]
    columns = len(arms) if sum(map(len, labels)) + 6 * len(labels) <= 54 else 2
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def ratio_axis(axes: Axes, low: float, high: float, apart: float = 0.2) -> None:
    """The scale of round numbers that leaves the smallest gap without touching labels, which
    need ``apart`` of the axis each."""
    low, high = min(low, 0.96), max(high, 1.04)
    margin = (high / low) ** 0.05
    low, high = low / margin, high * margin
    axes.set_xlim(low, high)
    scales = (
        (0.94, 0.96, 0.98, 1, 1.02, 1.04, 1.06),
        (0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.15),
        (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3),
        (0.4, 0.5, 0.6, 0.8, 1, 1.2, 1.5, 2),
        (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.4, 2, 3, 5, 10),
        (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50),
        (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
        (0.001, 0.01, 0.1, 1, 10, 100, 1000),
    )  # fmt: skip
    shown = [[tick for tick in ticks if low <= tick <= high] for ticks in scales]
    readable = [ticks for ticks in shown if _gaps(ticks, low, high)[0] > apart]
    best = min(readable, key=lambda ticks: _gaps([low, *ticks, high], low, high)[1])
    axes.xaxis.set_major_locator(FixedLocator(best))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _gaps(ticks: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """The smallest and the largest distance of neighbours, as shares of a logarithmic axis."""
    if len(ticks) < 2:
        return 1.0, 1.0
    steps = [math.log(b / a) / math.log(high / low) for a, b in pairwise(ticks)]
    return min(steps), max(steps)


def plain_log_axis(
    axes: Axes, values: Sequence[float], which: Literal["x", "y"] = "x", span: float = 300
) -> None:
    """1, 2, 5 steps up to a ``span`` between smallest and largest value; decades alone beyond."""
    low, high = min(values), max(values)
    steps = (1, 2, 5) if high / low < span else (1,)
    ticks = [
        step * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for step in steps
    ]
    axis, limit = (axes.xaxis, axes.set_xlim) if which == "x" else (axes.yaxis, axes.set_ylim)
    limit(low / 1.1, high * 1.1)
    axis.set_major_locator(FixedLocator([t for t in ticks if low / 1.1 <= t <= high * 1.1]))
    axis.set_major_formatter(FuncFormatter(_short))
    axis.set_minor_formatter(NullFormatter())


def _apart(sizes: Sequence[float]) -> list[float]:
    """The sizes whose labels do not touch on a logarithmic axis; always the largest."""
    span = math.log(sizes[-1] / sizes[0]) or 1.0
    kept: list[float] = []
    for size in reversed(sizes):
        if not kept or math.log(kept[-1] / size) / span > 0.09:
            kept.append(size)
    return kept


def _short(value: float, _position: int | None = None) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 and value % 1000 == 0 else f"{value:g}"
