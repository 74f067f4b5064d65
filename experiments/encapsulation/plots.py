"""The figures and the table of encapsulation, drawn from a stored run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.harness.store import StoredRun
from emulator.measure.sample import METRICS
from emulator.report import figure, pairing, selection, style, table
from emulator.report.plots import Drawn
from experiments.encapsulation.tables import Cells, by_place, lacks, wire
from experiments.overhead import ETHERNET_B, Encapsulation
from experiments.two_nodes.modes import MODES, MTU, PLACES, Way

MARKERS = "os^Dv<>PX*dhp8H"
COLOURS = ("#000000", "#4477AA", "#EE6677", "#228833", "#AA3377", "#CCBB44", "#66CCEE", "#882255",
           "#EE7733", "#009988", "#BB5566", "#332288")  # fmt: skip
FILLS = ("black", "white")


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """``overhead`` by size of the packet, ``packets`` by mode; and the table ``wire``."""
    found = by_place(summary)
    files = []
    seen = frames(run)
    for name, drawn, sentence, metrics in (
        ("overhead", overhead(seen), "Bytes that each encapsulation adds to an IP packet of a pod, "
         "by the packet's size; lines: computed from the sizes of headers, marks: captured",
         tuple(metric for metric in METRICS if metric.startswith("wire_"))),
        ("packets", packets(found), "What the kernel does for one echo and its reply between two "
         "pods, filled: one rack, hollow: two racks behind a router",
         tuple(metric for metric, _ in PANELS)),
    ):  # fmt: skip
        if not drawn.rows:
            continue
        shown = [cell for cell in pairing.cells(run) if cell.metric in metrics and cell.values]
        text = figure.caption(
            sentence, run, summary, [], marks=f"counts: {selection.sameness(shown)}",
            counts=[len(cell.values) for cell in shown],
            factors=[cell.factors for cell in shown],
        )  # fmt: skip
        files += figure.save(drawn.figure, folder, name, text, drawn.rows, pgf=pgf)
    return files + table.write(wire(summary), folder, "wire")


def report(summary: Mapping[str, Any]) -> str:
    """The table of the ways."""
    return table.text(wire(summary))


Seen = Mapping[tuple[Encapsulation, int], Mapping[int, tuple[int, tuple[str, ...]]]]
"""By encapsulation (and the MTU of its device, where padding knows it, else 0) and size of the
pod's packet: the frame and the modes it was captured in."""


def frames(run: StoredRun) -> Seen:
    """What was captured, of all modes with one encapsulation together; the last block's."""
    found: dict[tuple[Encapsulation, int], dict[int, tuple[int, tuple[str, ...]]]] = {}
    order = {arm: at for at, arm in enumerate(MODES)}
    for row in sorted(run.complete(), key=lambda row: order.get(row.arm, 0)):
        way = MODES[row.arm].at(str(row.factors["place"]))
        if row.metric.startswith("wire_") and row.value is not None and isinstance(way, Way):
            device_mtu = way.path_mtu if way.around.padding.up_to_mtu else 0
            sizes = found.setdefault((way.around, device_mtu), {})
            size = int(row.detail["inner_b"])
            modes = sizes.get(size, (0, ()))[1]
            sizes[size] = (round(row.value), tuple(dict.fromkeys((*modes, row.arm))))
    return dict(sorted(found.items(), key=lambda one: (one[0][0].added_b, one[0][1])))


def overhead(seen: Seen) -> Drawn:
    """Computed lines, captured marks; encapsulations of the same sizes share a line's place."""
    rows: list[dict[str, Any]] = []
    with style.thesis():
        drawn = style.column(3.0, style.PAGE_IN)
        axes = drawn.add_subplot()
        for at, ((around, device_mtu), sizes) in enumerate(seen.items()):
            colour, marker = COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)]
            every = range(40, max(sizes) + 1)
            computed = [around.outer_b(size, device_mtu) - size for size in every]
            axes.plot(every, computed, color=colour, lw=0.5, alpha=0.7, zorder=1)
            added = [frame - ETHERNET_B - size for size, (frame, _) in sizes.items()]
            axes.plot(
                list(sizes), added, marker, color=colour, ms=3.6, mec="black", mew=0.3, zorder=2,
                label=f"{around.name}{f', MTU {device_mtu}' if device_mtu else ''}: "
                f"{_range(computed)} B",
            )  # fmt: skip
            rows += [
                {"around": around.name, "inner_b": size, "added_b": frame - ETHERNET_B - size,
                 "computed_b": around.outer_b(size, device_mtu) - size, "modes": " ".join(modes)}
                for size, (frame, modes) in sizes.items()
            ]  # fmt: skip
        axes.set_xscale("log", base=2)
        ticks = [64, 128, 256, 512, 1024, MTU]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(40, 1600)
        axes.set_ylim(bottom=-3)
        axes.set_xlabel("IP packet of the pod (bytes)")
        axes.set_ylabel("added on the wire (bytes)")
        if rows:
            drawn.legend(loc="outside right center", reverse=True)
    return Drawn(drawn, rows)


def _range(computed: list[int]) -> str:
    low, high = min(computed), max(computed)
    return str(low) if low == high else f"{low} to {high}"


PANELS = (
    ("device_packets", "packets received\nby devices"),
    ("rules_new_flow", "rules matched,\nfirst echo of a flow"),
    ("rules", "rules matched,\neach further echo"),
)


def packets(cells: Cells) -> Drawn:
    """A line for each mode, a panel for each count."""
    arms = [
        arm for arm in MODES
        if any((PANELS[0][0], arm, place) in cells for place in PLACES)
    ]  # fmt: skip
    rows: list[dict[str, Any]] = []
    with style.thesis():
        drawn = style.column(0.9 + 0.2 * len(arms), style.PAGE_IN)
        every = drawn.subplots(1, len(PANELS), sharey=True, squeeze=False)[0]
        for axes, (metric, title) in zip(every, PANELS, strict=True):
            for line, arm in enumerate(arms):
                for at, place in enumerate(PLACES):
                    cell = cells.get((metric, arm, place))
                    if cell is None or cell["median"] is None:
                        continue
                    axes.plot(
                        cell["median"], line + 0.3 * (at - 0.5), "o", color="black",
                        mfc=FILLS[at], mew=0.6, ms=3.4,
                    )  # fmt: skip
                    rows.append({"metric": metric, "arm": arm, "place": place,
                                 "count": cell["median"]})  # fmt: skip
            for line in range(1, len(arms), 2):
                axes.axhspan(line - 0.5, line + 0.5, color="#f7f7f7", lw=0, zorder=-1)
            axes.set_xlabel(title)
            axes.set_xlim(left=-0.5)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", length=0)
        for line, arm in enumerate(arms):
            if all((lacks(cells, arm, place) or (PANELS[0][0], arm, place) not in cells)
                   for place in PLACES):  # fmt: skip
                every[0].annotate(
                    "unsupported here", (0.04, line), xycoords=("axes fraction", "data"),
                    va="center", fontsize=7, color="#777777", style="italic",
                )  # fmt: skip
        every[0].set_yticks(range(len(arms)), [MODES[arm].title for arm in arms])
        every[0].set_ylim(max(len(arms), 1) - 0.5, -0.5)
    return Drawn(drawn, rows)
