"""The figures of overlay-vs-routed, drawn from a stored run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emulator.harness.store import Row, StoredRun
from emulator.report import figure, plots, selection, style
from emulator.report.pairing import Cell, Paired
from emulator.report.plots import Drawn

DOTS = "bars: medians over blocks with 95 % bootstrap intervals, dots: single blocks"
RATIO_DOTS = "bars: 95 % bootstrap interval of the median ratio, dots: single blocks"


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """Every figure for which the run has values; the files that were written."""
    found: list[Path] = []

    def save(name: str, drawn: Drawn, sentence: str, metric: str, **more: str) -> None:
        text = figure.caption(sentence, run, summary, [metric], **more)
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
            save(name, drawn, sentence, metric, marks=DOTS)
    for metric, axis, sentence in (
        ("tcp_rtt", "TCP round trip (µs)", "Round trips of 64 B on an open TCP connection"),
        ("crr", "connect, request, response (µs)",
         "Time of a whole TCP transaction: connect, 1 B request, 32 B response"),
    ):  # fmt: skip
        chosen = _plainest(run)
        curves = selection.curves(run, f"{metric}_p50_us", _under(chosen))
        if curves:
            save(f"latency-{metric.replace('_', '-')}", plots.ecdf(curves, axis),
                 f"{sentence}, closed loop, {_words(chosen)}; blocks pooled with equal weight",
                 f"{metric}_p50_us", marks="marks: p50 and p99")  # fmt: skip
    for metric in (one["name"] for one in run.manifest["metrics"]):
        ratios = selection.ratios(run, dict(summary), metric, _pair)
        if ratios:
            title = next(m["title"] for m in run.manifest["metrics"] if m["name"] == metric)
            drawn = plots.forest(ratios, f"ratio of {title}", summary["noise_floor"].get(metric))
            save(f"ratio-{metric.replace('_', '-')}", drawn,
                 f"Ratio of {title} within blocks; grey band: noise floor", metric,
                 marks=RATIO_DOTS)  # fmt: skip
    return found


def _rate(run: StoredRun) -> str:
    return f"{run.manifest['settings']['options'].get('cost_bit_s', 0) / 1e9:g} Gbit/s"


def _factors(factors: Mapping[str, Any]) -> str:
    if factors["path"] == "same-node":
        return f"one node\n{factors['mtu']}"
    return f"{factors['offload']}\n{factors['mtu']}"


def _place(cell: Cell) -> str:
    return _factors(cell.factors)


def _pair(pair: Paired) -> str:
    names = (style.look(one.arm).label for one in (pair.treatment, pair.baseline))
    short = " / ".join(names).replace(" network", "").replace(" again (A/A)", " (A/A)")
    return f"{short}\n{_factors(pair.treatment.factors).replace(chr(10), ', ')}"


def _plainest(run: StoredRun) -> dict[str, Any]:
    """The factors that latency is drawn under: real frames of 1500 B between nodes."""
    wanted = {"offload": "wire", "mtu": 1500, "path": "nodes"}
    there = [one["factors"] for one in run.manifest["conditions"]]
    return wanted if wanted in there else dict(there[0])


def _under(factors: Mapping[str, Any]) -> Callable[[Row], bool]:
    return lambda row: dict(row.factors) == dict(factors)


def _words(factors: Mapping[str, Any]) -> str:
    path = "between nodes" if factors["path"] == "nodes" else "on one node"
    return f"{path}, offload {factors['offload']}, MTU {factors['mtu']}"
