"""The figures of overlay-vs-routed, drawn from a stored run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from emulator.harness.store import Row, StoredRun
from emulator.report import figure, plots, selection, style
from emulator.report.pairing import Cell, Paired, cells
from emulator.report.plots import Drawn, Ratio

DOTS = "bars: medians over blocks with 95 % bootstrap intervals, dots: single blocks"
RATIOS = (
    "throughput_bit_s",
    "tcp_rtt_p50_us",
    "tcp_rtt_p99_us",
    "crr_p50_us",
    "packet_rate_pps",
    "cpu_s_per_gb",
)
"""The metrics whose ratios are drawn; summary.json has those of all."""
ECDF_MARKS = "marks: p50 and p99; the axis ends at the slowest p99.9"
RATIO_DOTS = "bars: 95 % bootstrap interval of the median ratio, dots: single blocks"
TOLERANCES = {"crr_p99_us": 0.15, "cpu_s_per_gb": 0.05}
"""Medians of bench virtual between two versions: the hundredth connection of 0.2 s is a single one,
and the kernel counts CPU time in ticks."""


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """Every figure for which the run has values; the files that were written."""
    found: list[Path] = []

    def save(
        name: str, drawn: Drawn, sentence: str, metric: str, counts: list[int], marks: str,
        factors: list[Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        text = figure.caption(
            sentence, run, summary, [metric], counts=counts, marks=marks,
            factors=factors or selection.factors(run, metric),
        )  # fmt: skip
        found.extend(figure.save(drawn.figure, folder, name, text, drawn.rows, pgf=pgf))

    for name, metric, axis, scale, sentence in (
        ("throughput", "throughput_bit_s", "TCP throughput (Gbit/s)", 1e9,
         "Throughput of one TCP stream between two pods (host network: between two nodes), as read "
         "by the receiver"),
        ("cpu", "cpu_s_per_gb", "CPU time (s/GB)", 1.0,
         "CPU time of the whole machine, softirq, irq and steal included, for 10^9 bytes received "
         f"at a fixed rate of {_rate(run)}"),
        ("packets", "packet_rate_pps", "packets (1000/s)", 1e3,
         "Highest rate of UDP packets with 64 B of payload at a loss of at most 0.5 %"),
    ):  # fmt: skip
        groups = [one for one in selection.groups(run, metric, _place) if one.values]
        if groups:
            drawn = plots.bars(groups, axis, scale)
            drawn.figure.axes[0].set_xlabel("offload of the cables, MTU (B)")
            counts = [len(values) for one in groups for values in one.values.values()]
            save(name, drawn, sentence, metric, counts, DOTS)
    for metric, axis, sentence in (
        ("tcp_rtt", "TCP round trip (µs)", "Round trips of 64 B on an open TCP connection"),
        ("crr", "connect, request, response (µs)",
         "Time of a whole TCP transaction: connect, 1 B request, 32 B response"),
    ):  # fmt: skip
        chosen = _plainest(run)
        curves = selection.curves(run, f"{metric}_p50_us", _under(chosen))
        if curves:
            name = f"{metric}_p50_us"
            counts = [len(one.values) for one in cells(run)
                      if one.metric == name and one.factors == chosen]  # fmt: skip
            save(f"latency-{metric.replace('_', '-')}", plots.ecdf(curves, axis),
                 f"{sentence}, closed loop, {_path(chosen)}; blocks pooled with equal weight",
                 name, counts, ECDF_MARKS, [chosen])  # fmt: skip
    for metric in run.manifest["metrics"]:
        name, title = metric["name"], metric["title"]
        if name not in RATIOS:
            continue
        for baseline, ratios in _by_baseline(run, summary, name):
            to = style.look(baseline).label
            drawn = plots.forest(
                ratios, f"{title}, ratio to {to}", summary["noise_floor"].get(name)
            )
            stem = f"ratio-{name}-to-{baseline}".replace("_", "-")
            sentence = f"Ratio of {title} to that of {to}, within blocks; grey band: noise floor"
            save(stem, drawn, sentence, name, [len(one.points) for one in ratios], RATIO_DOTS)
    return found


def _rate(run: StoredRun) -> str:
    return f"{run.manifest['settings']['options'].get('cost_bit_s', 0) / 1e9:g} Gbit/s"


def _factors(factors: Mapping[str, Any]) -> str:
    if factors["path"] == "same-node":
        return f"one node\n{factors['mtu']}"
    return f"{factors['offload']}\n{factors['mtu']}"


def _place(cell: Cell) -> str:
    return _factors(cell.factors)


def _by_baseline(
    run: StoredRun, summary: Mapping[str, Any], metric: str
) -> Iterator[tuple[str, list[Ratio]]]:
    """The ratios that have a baseline in common stand in one figure."""
    for baseline in dict.fromkeys(pair["baseline"] for pair in run.manifest["pairs"]):
        to = partial(_is_to, baseline)
        ratios = selection.ratios(run, summary, metric, _row, to)
        if ratios:
            yield baseline, ratios


def _is_to(baseline: str, pair: Paired) -> bool:
    return pair.baseline.arm == baseline


def _row(pair: Paired) -> str:
    treatment = style.look(pair.treatment.arm).label.replace(" again (A/A)", " (A/A)")
    return f"{treatment}, {_factors(pair.treatment.factors)}".replace("\n", " ")


def _plainest(run: StoredRun) -> dict[str, Any]:
    """The factors that latency is drawn under: real frames of 1500 B between nodes."""
    wanted = {"offload": "wire", "mtu": 1500, "path": "nodes"}
    there = [one["factors"] for one in run.manifest["conditions"]]
    return wanted if wanted in there else dict(there[0])


def _under(factors: Mapping[str, Any]) -> Callable[[Row], bool]:
    return lambda row: dict(row.factors) == dict(factors)


def _path(factors: Mapping[str, Any]) -> str:
    return "between nodes" if factors["path"] == "nodes" else "on one node"
