"""What instructions declares, sums up and draws."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from figure_texts import readable

from emulator.cli import main
from emulator.harness.settings import Settings
from emulator.harness.store import Row, StoredRun
from emulator.measure.sample import INSTRUCTIONS
from emulator.measure.subsystems import NAMES, OTHER
from emulator.report import style, table
from experiments.instructions import experiment, plots, splits
from experiments.two_nodes.modes import MODES

OPTIONS = {"congestion": "cubic", **experiment.LOAD._asdict()}
QUICK = Settings(blocks=2, options={"quick": True, **OPTIONS})
FULL = Settings(blocks=6, options={"quick": False, **OPTIONS})
FACTORS = {"place": "one rack", "offload": "wire", "mtu": 1500}


def row(arm: str, metric: str, block: int, parts: Mapping[str, float], clock: int = 0) -> Row:
    kernel = round(sum(parts.values()) * 100)
    detail = {
        "kernel": kernel, "user": 1000, "elapsed_ns": kernel + 1000 + clock, "units": 100,
        "subsystems": {name: parts.get(name, 0.0) for name in NAMES},
        "functions": [["ip_rcv", "", "routing, IP", parts.get("routing, IP", 0.0)]],
    }  # fmt: skip
    condition = f"{arm}_one-rack_wire_1500"
    value = sum(parts.values())
    return Row(block, 1, "measure", block, condition, arm, FACTORS, metric, value, "1", "", "",
               "2026-01-01T00:00:00Z", detail, "measured")  # fmt: skip


def run(rows: list[Row], settings: Settings = FULL) -> StoredRun:
    declared = experiment.experiment(settings)
    arms = dict.fromkeys(one.arm for one in rows)
    manifest: dict[str, Any] = {
        "experiment": "instructions", "run": "20261122-120000", "status": "complete", "why": "",
        "conditions": [
            {"name": f"{arm}_one-rack_wire_1500", "arm": arm, "factors": FACTORS} for arm in arms
        ],
        "pairs": [
            one._asdict() for one in declared.matrix.pairs
            if {one.treatment, one.baseline} <= set(arms)
        ],
        "metrics": [one._asdict() for one in declared.metrics], "counts": [], "headline": [],
        "exclusions": [], "settings": {"precision": None, "options": {}},
        "blocks": [
            {"block": block, "attempt": 1, "phase": "measure", "complete": True}
            for block in sorted({one.block for one in rows})
        ],
        "fingerprint": {"bench": {"bench": "virtual", "accelerator": "icount", "qemu": "7.2"},
                        "kernel": "6.1", "cpu_count": 1, "cpu_model": "emulated",
                        "virtualisation": "none"},
        "fingerprint_hash": "0123", "sessions": [],
    }  # fmt: skip
    return StoredRun(Path("somewhere"), manifest, tuple(rows), ())


def rows_of(arms: Mapping[str, Mapping[str, float]], blocks: int = 2) -> list[Row]:
    return [
        row(arm, metric, block, parts)
        for arm, parts in arms.items()
        for metric in INSTRUCTIONS
        for block in range(1, blocks + 1)
    ]


ROUTED = {"routing, IP": 50.0, "netfilter": 30.0, OTHER: 1.0}
WRAPPED = {"routing, IP": 90.0, "netfilter": 25.0, "encapsulation": 20.0, OTHER: 1.0}


def test_the_quick_matrix_is_a_part_of_the_full_one_which_has_all_modes_of_the_kernel() -> None:
    quick, full = (experiment.experiment(one).matrix for one in (QUICK, FULL))
    assert [one.arm for one in quick.conditions] == ["host-gw", "host-gw again", "vxlan"]
    assert {one.name for one in quick.conditions} < {one.name for one in full.conditions}
    kernels = {arm for arm, mode in MODES.items() if not mode.in_user_space} - {"host again"}
    assert {one.arm for one in full.conditions} == kernels | {"host-gw again"}


def test_twins_are_the_same_network() -> None:
    declared = experiment.experiment(QUICK)
    first, again, _ = (declared.describe(one) for one in declared.matrix.conditions)
    assert first == again


def test_it_is_refused_where_nobody_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("emulator.verbs.measuring.LOCK", tmp_path / "lock")
    assert main(["run", "instructions", "--results", str(tmp_path / "results")]) == 3
    assert "podwire run instructions --on virtual" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arm", "lacks"),
    [
        ("host-gw", ""),
        ("wireguard", "no Python package cryptography: run with --on vm"),
        ("ipsec", "no Python package vici: run with --on vm"),
        ("macvlan", "no program macvlan, no program static: run with --on vm"),
    ],
)
def test_what_a_machine_lacks_is_said_before_a_lab_is_built(
    arm: str, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.labs.find_spec", lambda name: None)
    monkeypatch.setattr("experiments.labs.find", lambda program, path: None)
    monkeypatch.setattr("emulator.doctor.lacking", lambda wanted: [])
    declared = experiment.experiment(FULL)
    (condition,) = (one for one in declared.matrix.conditions if one.arm == arm)
    assert declared.lacking(condition) == lacks


def test_splits_are_means_over_blocks() -> None:
    rows = [row("vxlan", INSTRUCTIONS[0], n, {"netfilter": 10.0 * n}) for n in (1, 2)]
    found = splits.splits(splits.analyse(run(rows)))
    assert found[INSTRUCTIONS[0], "vxlan"]["netfilter"] == 15.0


def test_the_methods_errors_are_the_worst_of_all_cells() -> None:
    rows = [
        row("host-gw", INSTRUCTIONS[0], 1, ROUTED),
        row("host-gw", INSTRUCTIONS[0], 2, ROUTED | {OTHER: 9.1}, clock=-91),
        row("vxlan", INSTRUCTIONS[0], 1, WRAPPED),
    ]
    found = splits.analyse(run(rows))["errors"][INSTRUCTIONS[0]]
    assert found["other"] == pytest.approx(9.1 / 89.1)
    assert found["spread"] == pytest.approx(8.1 / 89.1)
    assert found["clock"] == pytest.approx(9910 / 9819 - 1)


def test_what_a_mode_adds_and_spares_sums_up_to_the_difference() -> None:
    summary = splits.analyse(run(rows_of({"host-gw": ROUTED, "vxlan": WRAPPED})))
    added = plots.less(splits.splits(summary), "host-gw")
    assert set(added) == {(metric, "vxlan") for metric in INSTRUCTIONS}
    split = added[INSTRUCTIONS[0], "vxlan"]
    assert (split["routing, IP"], split["netfilter"], split["encapsulation"]) == (40.0, -5.0, 20.0)
    assert sum(split.values()) == sum(WRAPPED.values()) - sum(ROUTED.values())


def test_the_report_names_parts_modes_and_errors() -> None:
    summary = splits.analyse(run(rows_of({"host-gw": ROUTED, "vxlan": WRAPPED})))
    text = plots.report(summary)
    for words in ("encapsulation", "round trip, vxlan", "off the clock", "in other", "1.23%"):
        assert words in text
    assert table.text(splits.functions(summary)).count("ip_rcv") == 6


def test_pieces_of_a_bar_end_where_the_next_begin_and_sum_up() -> None:
    found = splits.splits(splits.analyse(run(rows_of({"vxlan": WRAPPED}))))
    drawn = plots.bars(found, ["vxlan"])
    whole = [one["instructions"] for one in drawn.rows if one["metric"] == INSTRUCTIONS[0]]
    assert sum(whole) == pytest.approx(sum(WRAPPED.values()))
    pieces = [one for one in drawn.figure.axes[0].patches if one.get_width()]
    ends = [(one.get_x(), one.get_x() + one.get_width()) for one in pieces]
    assert all(one[1] == pytest.approx(other[0]) for one, other in pairwise(ends))


@pytest.mark.parametrize("arms", [experiment.QUICK, tuple(experiment.arms())])
def test_figures_can_be_read(arms: tuple[str, ...]) -> None:
    full = {name: 1000.0 for name in NAMES}
    found = {(metric, arm): full for metric in INSTRUCTIONS for arm in arms}
    with style.thesis():
        readable(plots.bars(found, arms).figure)
        less = plots.less({**found, (INSTRUCTIONS[0], arms[1]): dict.fromkeys(NAMES, 1.0)}, arms[0])
        readable(plots.bars(less, arms[1:], differences=True).figure)


def test_figures_have_captions_with_the_limits(tmp_path: Path) -> None:
    stored = run(rows_of({"host-gw": ROUTED, "vxlan": WRAPPED}))
    files = plots.draw(stored, splits.analyse(stored), tmp_path)
    names = {path.name for path in files}
    assert {"where.png", "added.pdf", "split.md", "functions.csv"} <= names
    for name in ("where.txt", "added.txt"):
        caption = (tmp_path / name).read_text()
        assert "Every instruction counts the same" in caption
        assert "no caches" in caption and "one CPU" in caption


def test_a_run_without_counts_draws_nothing(tmp_path: Path) -> None:
    stored = run([])
    assert plots.draw(stored, splits.analyse(stored), tmp_path) == []
    assert plots.report(splits.analyse(stored)) == ""
