from __future__ import annotations

import csv
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from figure_texts import readable
from matplotlib.colors import to_rgb
from PIL import Image

from emulator.errors import Unsupported
from emulator.harness.store import StoredRun
from emulator.report import figure, plots, selection, style
from emulator.report.pairing import cells
from emulator.report.plots import Curve, Drawn, Group, Line, Ratio
from emulator.report.summary import summarise

RNG = np.random.default_rng(9)
MODES = ("host", "host-gw", "host-gw again", "vxlan")


def near(value: float, count: int = 8) -> list[float]:
    return (value * np.exp(RNG.normal(0, 0.03, count))).tolist()


def draw_forest(low: float = 0.7, high: float = 1.0) -> Drawn:
    return plots.forest(
        [Ratio("VXLAN, wire, MTU 1500", "vxlan", low, low * 0.95, low * 1.05, near(low), "slower"),
         Ratio("host-gw again", "host-gw again", high, high * 0.99, high * 1.01, near(high),
               "too few blocks")],
        "TCP throughput, ratio to host-gw", 0.05,
    )  # fmt: skip


def draw_bars(groups: int = 4, arms: tuple[str, ...] = MODES) -> Drawn:
    return plots.bars(
        [Group(f"wire\n{1500 + n}", {arm: near(5e9) for arm in arms}) for n in range(groups)],
        "TCP throughput (Gbit/s)", 1e9,
    )  # fmt: skip


def draw_ecdf() -> Drawn:
    levels = [*np.linspace(0.01, 0.99, 99).tolist(), 0.999, 1.0]
    return plots.ecdf(
        [Curve(arm, levels, sorted(near(20 + 5 * n, 101))) for n, arm in enumerate(MODES)],
        "TCP round trip (µs)",
    )


def draw_scaling() -> Drawn:
    sizes = [10, 100, 500, 550, 10_000]
    return plots.scaling(
        [Line(arm, sizes, [near(size * cost, 6) for size in sizes])
         for arm, cost in (("podwire", 0.001), ("mininet", 0.01), ("replay", 0.0009))],
        "pods", "time to a ready lab (s)",
    )  # fmt: skip


def drawn() -> dict[str, Drawn]:
    return {
        "forest": draw_forest(),
        "forest wide": draw_forest(0.02, 9.4),
        "forest narrow": draw_forest(1.001, 1.002),
        "bars": draw_bars(),
        "one bar": draw_bars(1, ("host-gw",)),
        "ecdf": draw_ecdf(),
        "scaling": draw_scaling(),
    }


@pytest.mark.parametrize("name", drawn())
def test_no_text_is_cut_off_small_or_over_another(name: str) -> None:
    with style.thesis():
        shown = drawn()[name].figure
        readable(shown)
        for legend in shown.legends:
            assert all(legend.get_window_extent().y0 >= axes.bbox.y1 for axes in shown.axes)
        assert shown.get_figwidth() == style.COLUMN_IN


def test_bars_start_at_zero_and_ratios_show_one_on_a_logarithmic_axis() -> None:
    assert draw_bars().figure.axes[0].get_ylim()[0] == 0
    for shown in (draw_forest(), draw_forest(0.02, 9.4), draw_forest(1.001, 1.002)):
        axes = shown.figure.axes[0]
        assert axes.get_xscale() == "log"
        assert 1 in axes.xaxis.get_majorticklocs()
        low, high = axes.get_xlim()
        for row in shown.rows:
            assert low < row["ratio"] < high


def test_every_plotted_number_is_in_the_rows() -> None:
    forest = draw_forest()
    assert [row["kind"] for row in forest.rows] == (["median"] + ["block"] * 8) * 2
    assert len(draw_bars(2).rows) == 2 * 4 * 9
    assert len(draw_ecdf().rows) == 4 * 101
    assert len(draw_scaling().rows) == 3 * 5 * 7


def test_files_are_complete_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = (
        figure.save(plots.forest([Ratio("a", "vxlan", 0.7, 0.6, 0.8, [0.6, 0.8])], "ratio").figure,
                    tmp_path / name, "f", "What it shows.", [{"a": 1}, {"a": 2, "b": 0.1}])
        for name in ("one", "two")
    )  # fmt: skip
    assert [path.name for path in first] == ["f.pdf", "f.png", "f.txt", "f.csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"/FontType 42" in first[0].read_bytes() or b"Type0" in first[0].read_bytes()
    assert b"CreationDate" not in first[0].read_bytes()
    with Image.open(first[1]) as image:
        assert image.size[0] == round(style.COLUMN_IN * 300)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert first[2].read_text() == "What it shows.\n"
    with first[3].open() as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": ""}, {"a": "2", "b": "0.1"}]


def test_pgf_without_latex_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="apt install texlive-xetex"):
        figure.save(draw_bars().figure, tmp_path, "f", "c", [], pgf=True)
    assert list(tmp_path.iterdir()) == []


def test_the_settings_of_the_user_are_left_alone() -> None:
    before = dict(matplotlib.rcParams)
    draw_forest()
    assert dict(matplotlib.rcParams) == before


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}  # fmt: skip
TOGETHER = [
    ("host", "host-gw", "host-gw again", "vxlan", "vxlan+directRouting"),
    ("podwire", "mininet", "replay"),
    ("podwire", "ip", "ip again"),
    ("bridge", "ptp", "chain"),
]


def lab(colour: str, matrix: list[list[float]]) -> np.ndarray[Any, Any]:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722],
                    [0.0193, 0.1192, 0.9505]]) @ seen / [0.9505, 1, 1.089]  # fmt: skip
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", BLINDNESS)
@pytest.mark.parametrize("arms", TOGETHER)
def test_arms_of_one_figure_differ_for_every_eye(sight: str, arms: tuple[str, ...]) -> None:
    for one, other in combinations(arms, 2):
        first, second = style.LOOKS[one], style.LOOKS[other]
        matrix = BLINDNESS[sight]
        apart = np.linalg.norm(lab(first.colour, matrix) - lab(second.colour, matrix))
        assert apart > 14, (one, other, apart)
        assert first.marker != second.marker, (one, other)


def test_every_look_is_its_own() -> None:
    """A colour may be that of a relative; with the marker it is one arm's alone."""
    looks = [(look.colour, look.marker) for look in style.LOOKS.values()]
    assert len(set(looks)) == len(looks)
    labels = [look.label for look in style.LOOKS.values()]
    assert len(set(labels)) == len(labels)
    assert style.look("calico-ipip").label == "calico-ipip"


def test_the_caption_says_what_a_reader_needs(usual_run: StoredRun) -> None:
    summary = summarise(usual_run)
    text = figure.caption("Rates over host-gw", usual_run, summary, ["rate"], counts=[12, 11],
                          factors=[{"mtu": 9000, "offload": "wire"}])  # fmt: skip
    assert text.startswith(
        "Rates over host-gw. n = 11 to 12 blocks; error bars: 95 % bootstrap interval"
    )
    floor = summary["noise_floor"]["rate"]
    for part in (f"rate {math.expm1(floor):.1%}", "Offload: wire. MTU: 9000.", "Linux 6.18",
                 "2 × Abacus", "QEMU", "Run e/r1, fingerprint f00d."):  # fmt: skip
        assert part in text
    assert "range" not in text
    assert "precision" not in text


def test_the_caption_owns_up_to_few_blocks_and_to_a_stop_by_precision(
    make_run: Callable[..., StoredRun],
) -> None:
    run = make_run({("rate", "vxlan", 1): [1.0] * 3, ("rate", "host-gw", 1): [2.0] * 3})
    run.manifest["settings"]["precision"] = 0.02
    links = [{"mtu": 1500, "offload": "full"}]
    text = figure.caption("Rates", run, summarise(run), ["rate"], counts=[3], factors=links)
    assert "Below 6 blocks the bars are the range, not an interval." in text
    assert "the intervals cover about 93 %" in text
    assert "Noise floor (95th percentile of |ln A1/A2|): none." in text


def test_a_run_becomes_what_the_plots_take(usual_run: StoredRun) -> None:
    summary = summarise(usual_run)
    ratios = selection.ratios(usual_run, summary, "rate", lambda pair: pair.treatment.condition)
    rows = [row for row in summary["comparisons"] if row["metric"] == "rate"]
    assert [(one.ratio, [one.low, one.high], one.verdict) for one in ratios] == [
        (row["ratio"], row["ci"], row["verdict"]) for row in rows
    ]
    assert {len(one.points) for one in ratios} == {12}
    groups = selection.groups(usual_run, "rate", lambda cell: str(cell.factors["mtu"]))
    assert [group.label for group in groups] == ["1500", "9000"]
    assert list(groups[0].values) == ["host-gw", "host-gw again", "vxlan"]


def test_distributions_are_pooled_not_averaged(usual_run: StoredRun) -> None:
    details = {1: [[0.5, 10.0], [1.0, 20.0]], 2: [[0.5, 30.0], [1.0, 40.0]]}
    rows = tuple(
        row._replace(detail={"curve_us": details[row.block]})
        for row in usual_run.rows
        if row.block in details
    )
    curves = selection.curves(
        usual_run._replace(rows=rows), "delay", lambda row: row.factors["mtu"] == 1500
    )
    assert [curve.arm for curve in curves] == ["host-gw", "host-gw again", "vxlan"]
    assert curves[0].values == [10.0, 20.0, 30.0, 40.0]
    assert curves[0].levels == [0.25, 0.5, 0.75, 1.0]


def test_what_should_be_equal_in_all_blocks_is_compared(
    make_run: Callable[..., StoredRun],
) -> None:
    once = make_run({("rate", "vxlan", 1): [2.0]})
    assert selection.sameness(cells(once)) == "no two blocks to compare"
    equal = make_run({("rate", "vxlan", 1): [2.0, "no reply", 2.0], ("rate", "host-gw", 1): [3.0]})
    assert selection.sameness(cells(equal)) == "equal in all blocks"
    other = make_run({("rate", "vxlan", 1): [2.0, 2.0, 3.0], ("rate", "host-gw", 1): [3.0, 3.0]})
    found = selection.sameness(cells(other))
    assert found == "1 of 2 values differ between blocks (rate of vxlan_1)"
