"""The table of the modes: medians, what is on the wire, and what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from emulator.report import table
from emulator.report.table import Table
from experiments.plugins.modes import MODES
from experiments.two_nodes.modes import PLACES


class Column(NamedTuple):
    """A metric under a heading, in units of ``scale``."""

    metric: str
    heading: str
    scale: float = 1.0


COLUMNS = (
    Column("throughput_bit_s", "throughput (Gbit/s)", 1e9),
    Column("packet_rate_pps", "packets (1000/s)", 1e3),
    Column("tcp_rtt_p50_us", "round trip p50 (µs)"),
    Column("tcp_rtt_p99_us", "round trip p99 (µs)"),
    Column("crr_p50_us", "transaction p50 (µs)"),
    Column("cpu_s_per_gb", "CPU (s/GB)"),
)
WIRE = ("header_b", "path_mtu_b")


def modes(summary: Mapping[str, Any]) -> Table:
    """A line for each mode and place that was measured or cannot be; exact on the wire.

    Of headers and path MTU the value that was seen stands before the one that was computed.
    """
    cells = {
        (cell["metric"], cell["arm"], cell["factors"]["place"]): cell for cell in summary["cells"]
    }
    shown = [one for one in COLUMNS if any(metric == one.metric for metric, _, _ in cells)]
    arms = {arm for _, arm, _ in cells}
    places = {place for _, _, place in cells}
    rows = [
        row
        for arm in (*(one for one in MODES if one in arms), *sorted(arms - MODES.keys()))
        for place in PLACES if place in places
        if (row := _row(cells, arm, place, shown))
    ]  # fmt: skip
    headings = (*(one.heading for one in shown), "headers (B)", "path MTU (B)")
    return Table(("mode", "place", *headings), tuple(rows), frozenset(headings), summary["bench"])


def _row(
    cells: Mapping[tuple[str, str, str], Mapping[str, Any]], arm: str, place: str,
    shown: Sequence[Column],
) -> tuple[str, ...]:  # fmt: skip
    # a mode that is no more may still be in what was stored
    mode = MODES.get(arm)
    title, way = (mode.title, mode.at(place)) if mode else (arm, None)
    if isinstance(way, str):
        return (title, place, f"unsupported: {way}", *[""] * (len(shown) + 1))
    expected = (way.header_b, way.path_mtu) if way else (None, None)
    found = [cells.get((one.metric, arm, place)) for one in shown]
    numbers = [
        table.spread(cell, one.scale) if cell else "–"
        for one, cell in zip(shown, found, strict=True)
    ]
    wire = [
        _exact(cells.get((metric, arm, place)), computed)
        for metric, computed in zip(WIRE, expected, strict=True)
    ]
    return (title, place, *numbers, *wire)


def _exact(cell: Mapping[str, Any] | None, computed: int | None) -> str:
    seen = "–" if cell is None or cell["median"] is None else f"{cell['median']:.0f}"
    return seen if computed is None else f"{seen} ({computed})"
