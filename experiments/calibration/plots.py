"""One ratio on three grounds: bench virtual, a machine's own kernel, and what others published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.lines import Line2D

from emulator.harness.bench import LIMITS
from emulator.harness.store import StoredRun
from emulator.report import figure, style
from emulator.report.plots import Drawn, ratio_axis
from experiments.calibration.published import PUBLISHED, Published

OFFLOAD = "full"
"""What the machines of the published numbers had."""
METRICS = {
    "throughput_bit_s": "throughput",
    "tcp_rtt_p50_us": "TCP round trip",
    "crr_p50_us": "transaction",
    "cpu_s_per_gb": "CPU per GB",
}
PAIRS = (("vxlan", "host-gw"), ("vxlan", "host"), ("host-gw", "host"))
MTUS = (1500, 9000)
_LABELS = {"host-gw": "routed", "host": "no pod network", "vxlan": "VXLAN"}
_NATIVE, _VIRTUAL, _OTHERS = "#4477aa", "#ee6677", "#888888"


class Place(NamedTuple):
    """A line of the figure; the two are ratio and interval, None where there is none."""

    metric: str
    treatment: str
    baseline: str
    mtu: int
    native: tuple[float, float, float] | None
    virtual: tuple[float, float, float] | None
    others: tuple[Published, ...]


def places(native: Mapping[str, Any], virtual: Mapping[str, Any]) -> list[Place]:
    """From the summaries of two runs of overlay-vs-routed: every ratio that both have."""
    found = []
    for metric in METRICS:
        for treatment, baseline in PAIRS:
            for mtu in MTUS:
                key = (metric, treatment, baseline, mtu)
                one = Place(*key, _ratio(native, key), _ratio(virtual, key), _published(key))
                if one.native and one.virtual:
                    found.append(one)
    return found


def _ratio(
    summary: Mapping[str, Any], key: tuple[str, str, str, int]
) -> tuple[float, float, float] | None:
    factors = {"offload": OFFLOAD, "mtu": key[3], "path": "nodes"}
    for row in summary["comparisons"]:
        same = (row["metric"], row["treatment"], row["baseline"]) == key[:3]
        if same and row["factors"] == factors:
            return (row["ratio"], *row["ci"])
    return None


def _published(key: tuple[str, str, str, int]) -> tuple[Published, ...]:
    return tuple(
        one for one in PUBLISHED if (one.metric, one.treatment, one.baseline, one.mtu) == key
    )


def drawn(found: Sequence[Place]) -> Drawn:
    """Ratios on a logarithmic axis, a line for each, in groups by metric."""
    with style.thesis():
        canvas = style.column(0.9 + 0.21 * (len(found) + len(METRICS)), style.PAGE_IN)
        axes = canvas.add_subplot()
        axes.set_xscale("log")
        axes.axvline(1.0, color="black", lw=0.6, zorder=1)
        ticks: list[tuple[int, str]] = []
        at, before, values = 0, "", [1.0]
        for one in found:
            if one.metric != before:
                before = one.metric
                axes.text(
                    0.01, at - 0.05, METRICS[one.metric], transform=axes.get_yaxis_transform(),
                    weight="bold", va="center",
                )  # fmt: skip
                at += 1
            for measured, colour, marker, shift in (
                (one.native, _NATIVE, "o", -0.14), (one.virtual, _VIRTUAL, "D", 0.14),
            ):  # fmt: skip
                if measured:
                    ratio, low, high = measured
                    values += measured
                    axes.errorbar(
                        ratio, at + shift, xerr=[[ratio - low], [high - ratio]], fmt=marker,
                        color=colour, ms=3.4, elinewidth=0.9, capsize=0, zorder=3,
                    )  # fmt: skip
            for ratio, who in _together(one.others):
                axes.annotate(
                    who, (ratio, at), (0, 3.6), textcoords="offset points", ha="center",
                    va="bottom", fontsize=6.5, color=_OTHERS,
                )  # fmt: skip
            for other in one.others:
                values.append(other.ratio)
                axes.plot(
                    other.ratio, at, "s", mfc="none", mec=_OTHERS, ms=4, mew=0.8, zorder=2,
                )  # fmt: skip
            pair = f"{_LABELS[one.treatment]} / {_LABELS[one.baseline]}, MTU {one.mtu}"
            ticks.append((at, pair))
            at += 1
        axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
        axes.set_ylim(at - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        ratio_axis(axes, min(values), max(values))
        axes.set_xlabel("ratio")
        handles = [
            Line2D([], [], color=_NATIVE, marker="o", ms=3.4, lw=0.9, label="native"),
            Line2D([], [], color=_VIRTUAL, marker="D", ms=3.4, lw=0.9, label="virtual"),
            Line2D([], [], color=_OTHERS, marker="s", mfc="none", ms=4, lw=0, label="published"),
        ]
        canvas.legend(handles=handles, loc="outside upper right", ncols=3)
    rows = [
        {"metric": one.metric, "ratio of": f"{one.treatment} / {one.baseline}", "mtu": one.mtu,
         "ground": ground, "ratio": ratio, "low": low, "high": high, "on": on}
        for one in found
        for ground, ratio, low, high, on in (
            *((ground, *measured, "") for ground, measured in
              (("native", one.native), ("virtual", one.virtual)) if measured),
            *(("published", other.ratio, "", "", f"{other.who}: {other.at}")
              for other in one.others),
        )
    ]  # fmt: skip
    return Drawn(canvas, rows)


def _together(others: Sequence[Published]) -> list[tuple[float, str]]:
    """Names for the marks of a line; those that are too close for two names have one."""
    found: list[tuple[float, str]] = []
    for one in sorted(others, key=lambda one: one.ratio):
        if found and one.ratio / found[-1][0] < 1.15:
            found[-1] = (one.ratio, f"{found[-1][1]}, {one.who}")
        else:
            found.append((one.ratio, one.who))
    return found


def caption(native: StoredRun, virtual: StoredRun) -> str:
    """What is to be known about the figure."""
    made = {name: one.manifest["fingerprint"] for name, one in
            (("native", native), ("virtual", virtual))}  # fmt: skip
    runs = "; ".join(
        f"{name}: {one.manifest['settings']['blocks']} blocks, Linux {made[name]['kernel']}, "
        f"{made[name]['cpu_model']}, run {one.manifest['experiment']}/{one.manifest['run']}"
        for name, one in (("native", native), ("virtual", virtual))
    )
    read = "; ".join(dict.fromkeys(f"{one.who}: {one.at}" for one in PUBLISHED))
    return (
        "Ratios on bench virtual, of the same experiment on a machine's own kernel, and as others "
        "published them; full offload. Bars: 95 % interval over blocks (virtual: over seeds). "
        f"{runs}. "
        f"Bench virtual: {LIMITS} Published, on other machines and kernels: {read}."
    )


def save(
    native: StoredRun, virtual: StoredRun, summaries: tuple[Mapping[str, Any], Mapping[str, Any]],
    folder: Path,
) -> list[Path]:  # fmt: skip
    """Draw it into a folder; the files."""
    one = drawn(places(*summaries))
    return figure.save(one.figure, folder, "calibration", caption(native, virtual), one.rows)
