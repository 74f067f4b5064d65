"""The figure of wan, drawn from a stored run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from emulator.harness.store import StoredRun
from emulator.report import figure, style
from emulator.report.pairing import Cell, cells
from emulator.report.plots import Drawn, spread
from experiments.two_nodes.modes import MODES, PLACES, Way
from experiments.wan import paths

METRIC = "goodput_bit_s"
HEAD_IN = 0.75
LINE_IN = 0.17


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """``goodput``: a panel for each link, a line for each mode."""
    shown = [cell for cell in cells(run) if cell.metric == METRIC]
    drawn = panels(shown)
    if not drawn.rows:
        return []
    sender = run.manifest["settings"]["options"]["congestion"]
    text = figure.caption(
        f"TCP goodput over a link of {paths.RATE_BIT_S / 1e6:g} Mbit/s between two racks, by its "
        "delay (one way) and loss, as a share of its rate; each panel has an axis of its own; "
        "bar: what the rate leaves for payload, cross: steady-state Reno under random loss, by the "
        f"model of Mathis et al.; congestion control of the sender: {sender}",
        run, summary, [METRIC], marks="large dots: median, small dots: single blocks",
        counts=[len(cell.values) for cell in shown if cell.values], factors=[],
    )  # fmt: skip
    return figure.save(drawn.figure, folder, "goodput", text, drawn.rows, pgf=pgf)


def panels(shown: list[Cell]) -> Drawn:
    """Measured beside what theory says: links without loss above, with loss below.

    A link or a mode that this kernel lacks says so, and a mode of which no transfer had a value.
    """
    arms = [arm for arm in MODES if any(cell.arm == arm for cell in shown)]
    links = list(dict.fromkeys(paths.of(cell.factors) for cell in shown))
    kinds = [[link for link in links if bool(link.loss_percent) == lossy] for lossy in (0, 1)]
    lines = [kind for kind in kinds if kind]
    rows: list[dict[str, Any]] = []
    with style.thesis():
        drawn = style.column(len(lines) * (HEAD_IN + LINE_IN * len(arms)), style.PAGE_IN)
        if not any(cell.values for cell in shown):
            return Drawn(drawn, rows)
        every = drawn.subplots(len(lines), max(map(len, lines)), sharey=True, squeeze=False)
        for beside, kind in zip(every, lines, strict=True):
            for axes in beside[len(kind) :]:
                axes.set_visible(False)
            for axes, link in zip(beside, kind, strict=False):
                here = [cell for cell in shown if paths.of(cell.factors) == link]
                rows += _panel(axes, link, here, arms)
        every[0, 0].set_yticks(range(len(arms)), [MODES[arm].title for arm in arms])
        every[0, 0].set_ylim(len(arms) - 0.5, -0.5)
    return Drawn(drawn, rows)


def _panel(
    axes: Axes, link: paths.Path, here: Sequence[Cell], arms: Sequence[str]
) -> list[dict[str, Any]]:
    """All that was measured is within the axis, which is as narrow as that."""
    axes.set_title(link.words())
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    if all(cell.unsupported and not cell.values for cell in here):
        _say(axes, "unsupported here", (0.5, 0.5), "axes fraction")
        axes.set_xticks([])
        return []
    rows = []
    for cell in here:
        line, way = arms.index(cell.arm), MODES[cell.arm].at(PLACES[1])
        assert isinstance(way, Way)
        if not cell.values:
            _say(axes, "unsupported" if cell.unsupported else "no value", (0.5, line), "data")
            continue
        values = [_share(value) for value in cell.values.values()]
        ceiling, model = _share(paths.ceiling_bit_s(way)), _share(paths.model_bit_s(way, link))
        axes.plot([ceiling] * 2, [line - 0.35, line + 0.35], "-", color="#4477AA", lw=1.0)
        if link.loss_percent:
            axes.plot(model, line, "x", color="#EE6677", ms=4, mew=0.9)
        axes.scatter(values, line + spread(len(values), 0.3), s=2.5, color="#777777", lw=0)
        axes.plot(median(values), line, "o", color="black", ms=2.6)
        rows.append({"arm": cell.arm, **link._asdict(), "goodput_percent": median(values),
                     "ceiling_percent": ceiling, "model_percent": model,
                     "n": len(values)})  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("% of the rate")
    return rows


def _share(bit_s: float) -> float:
    return 100 * bit_s / paths.RATE_BIT_S


def _say(axes: Axes, words: str, where: tuple[float, float], upright: str) -> None:
    """In the middle of the panel; ``upright``: what the height counts in."""
    axes.annotate(
        words, where, xycoords=("axes fraction", upright), ha="center", va="center", fontsize=7,
        color="#777777", style="italic",
    )  # fmt: skip
