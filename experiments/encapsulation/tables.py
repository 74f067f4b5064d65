"""The table of the ways: what was seen of each on the wire, beside what was computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from emulator.report.table import Table
from experiments.encapsulation.expected import expected
from experiments.two_nodes.modes import MODES, PLACES

Cells = Mapping[tuple[str, str, str], Mapping[str, Any]]
"""By metric, arm and place."""


class Column(NamedTuple):
    """A metric under a heading."""

    metric: str
    heading: str


WIRE = (
    Column("wire_64_b", "64 B"),
    Column("wire_65_b", "65 B"),
    Column("wire_576_b", "576 B"),
    Column("wire_1300_b", "1300 B"),
    Column("wire_largest_b", "largest"),
    Column("path_mtu_b", "path MTU"),
    Column("readable_payloads", "readable of 1000"),
)
COUNTED = (
    Column("cable_packets", "on cables"),
    Column("device_packets", "on devices"),
    Column("rules_new_flow", "rules, new flow"),
    Column("rules", "rules"),
)


def by_place(summary: Mapping[str, Any]) -> Cells:
    """The cells of a summary."""
    return {
        (cell["metric"], cell["arm"], cell["factors"]["place"]): cell for cell in summary["cells"]
    }


def wire(summary: Mapping[str, Any]) -> Table:
    """A line for each mode and place that was measured or cannot be.

    What was computed stands in brackets where it differs.
    """
    cells = by_place(summary)
    arms = {arm for _, arm, _ in cells}
    places = {place for _, _, place in cells}
    rows = [
        _row(cells, arm, place)
        for arm, mode in MODES.items() if arm in arms
        for place in PLACES if place in places
    ]  # fmt: skip
    headings = tuple(one.heading for one in (*WIRE, *COUNTED))
    return Table(
        ("mode", "place", "around", *headings), tuple(rows), frozenset(headings), summary["bench"]
    )


def _row(cells: Cells, arm: str, place: str) -> tuple[str, ...]:
    title, way = MODES[arm].title, MODES[arm].at(place)
    nothing = [""] * (len(WIRE) + len(COUNTED))
    if isinstance(way, str):
        return (title, place, f"unsupported: {way}", *nothing)
    lacking = lacks(cells, arm, place)
    if lacking:
        return (title, place, f"unsupported: {lacking}", *nothing)
    computed = expected(way)
    shown = [
        _seen(cells.get((one.metric, arm, place)), computed.get(one.metric))
        for one in (*WIRE, *COUNTED)
    ]
    return (title, place, way.around.name, *shown)


def lacks(cells: Cells, arm: str, place: str) -> str:
    """What this bench misses for a mode, or nothing."""
    first = cells.get((WIRE[0].metric, arm, place))
    return str(first["unsupported"]) if first else ""


def _seen(cell: Mapping[str, Any] | None, computed: int | None) -> str:
    if cell is None:
        return "–"
    if cell["median"] is None:
        return "failed"
    seen = f"{cell['median']:.0f}"
    return seen if computed is None or seen == str(computed) else f"{seen} ({computed})"
