"""The figure and the table of plugins, drawn from a stored run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.harness.store import StoredRun
from emulator.report import figure, selection, table
from emulator.report.pairing import Paired
from emulator.report.panels import Panel, panels
from emulator.report.plots import Ratio
from experiments.plugins.modes import MODES
from experiments.plugins.tables import modes
from experiments.two_nodes.modes import PLACES, RATED, unsupported

SHOWN = (
    ("throughput_bit_s", "TCP throughput", "higher is better"),
    ("packet_rate_pps", "64 B packets", "higher is better"),
    ("tcp_rtt_p50_us", "round trip, p50", "lower is better"),
    ("tcp_rtt_p99_us", "round trip, p99", "lower is better"),
    ("crr_p50_us", "transaction, p50", "lower is better"),
    ("crr_p99_us", "transaction, p99", "lower is better"),
    ("cpu_s_per_gb", "CPU per GB", "lower is better"),
)
MOST = 5
"""Panels beside each other; of latencies, transactions give way to round trips."""
MARKS = (
    "filled: one rack, hollow: two racks behind a router; bars: 95 % bootstrap interval of the "
    "median ratio, dots: single blocks"
)


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """``plugins``: ratios to the host network by metric; and the table ``modes``."""
    floors = summary["noise_floor"]
    found = {
        metric: Panel(title, f"ratio to host\n({better})", ratios, floors.get(metric))
        for metric, title, better in SHOWN
        if (ratios := _ratios(run, summary, metric))
    }  # fmt: skip
    if not found:
        return []
    chosen = [name for name in found if not name.startswith("crr") or len(found) <= MOST]
    drawn_arms = {arm for panel in found.values() for arm, _ in panel.ratios}
    places = {place for panel in found.values() for _, place in panel.ratios}
    arms = [arm for arm in MODES if arm in drawn_arms] + sorted(drawn_arms - MODES.keys())
    shown = [place for place in PLACES if place in places]
    # a mode that is no more may still be in what was stored
    titles = {arm: MODES[arm].title if arm in MODES else arm for arm in arms}
    missing = [
        (arm, place, why)
        for arm, place, why in unsupported(MODES)
        if arm in drawn_arms and place in places
    ]
    drawn = panels(titles, shown, [found[name] for name in chosen], [one[:2] for one in missing])
    left_out = "; ".join(f"{titles[arm]} in {place}: {why}" for arm, place, why in missing)
    text = figure.caption(
        "Each network plugin against no pod network (host), on the same two nodes, within blocks; "
        "grey band: noise floor",
        run, summary, chosen, marks=MARKS, factors=selection.factors(run, chosen[0]),
        counts=[len(one.points) for name in chosen for one in found[name].ratios.values()],
    )  # fmt: skip
    if left_out:
        text += f" Unsupported: {left_out}."
    if apart := [titles[arm] for arm in arms if arm in _apart(found)]:
        text += f" CPU time at another rate than the host's, not compared: {', '.join(apart)}."
    files = figure.save(drawn.figure, folder, "plugins", text, drawn.rows, pgf=pgf)
    return files + table.write(modes(summary), folder, "modes")


def _apart(found: Mapping[str, Panel]) -> set[str]:
    """Modes in user space that have no ratio where others have one of CPU time."""
    compared = {arm for metric in RATED if metric in found for arm, _ in found[metric].ratios}
    slow = {arm for arm, mode in MODES.items() if mode.in_user_space}
    return slow - compared if compared else set()


def report(summary: Mapping[str, Any]) -> str:
    """The table of the modes."""
    return table.text(modes(summary))


def _ratios(
    run: StoredRun, summary: Mapping[str, Any], metric: str
) -> dict[tuple[str, str], Ratio]:
    def label(pair: Paired) -> str:
        return str(pair.treatment.factors["place"])

    return {(one.arm, one.label): one for one in selection.ratios(run, summary, metric, label)}
