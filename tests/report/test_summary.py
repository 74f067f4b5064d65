from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from emulator.harness.experiment import Pair
from emulator.harness.store import StoredRun, as_text
from emulator.report.summary import summarise

Make = Callable[..., StoredRun]
KEYS = ["metric", "treatment", "baseline", "factors", "ratio", "ci", "n", "verdict"]


def test_the_document_has_exactly_the_promised_form(usual_run: StoredRun) -> None:
    summary = json.loads(as_text(summarise(usual_run)))
    assert list(summary) == ["comparisons", "noise_floor", "cells", "notes", "bench"]
    assert all(list(row) == KEYS for row in summary["comparisons"])
    assert set(summary["noise_floor"]) == {"rate", "delay"}
    assert len(summary["comparisons"]) == 2 * 2 * 2


def test_directions_and_verdicts(usual_run: StoredRun) -> None:
    summary = summarise(usual_run)
    found = {
        (row["metric"], row["treatment"], row["factors"]["mtu"]): row
        for row in summary["comparisons"]
    }
    for mtu in (1500, 9000):
        assert found["rate", "vxlan", mtu]["verdict"] == "slower"
        assert found["rate", "vxlan", mtu]["ratio"] == pytest.approx(0.75, rel=0.02)
        assert found["delay", "vxlan", mtu]["verdict"] == "slower"
        assert found["delay", "vxlan", mtu]["ratio"] == pytest.approx(1 / 0.75, rel=0.02)
        assert found["rate", "host-gw again", mtu]["verdict"] in ("same", "inconclusive")
    assert [mtu for metric, _, mtu in found if metric == "delay"] == [1500, 9000] * 2


def test_absolute_values_keep_their_unit(usual_run: StoredRun) -> None:
    cell = summarise(usual_run)["cells"][0]
    assert (cell["metric"], cell["unit"], cell["n"], cell["failed"]) == ("rate", "bit/s", 12, 0)
    assert cell["ci"][0] <= cell["median"] <= cell["ci"][1]


def test_below_six_blocks_the_range_is_named(make_run: Make) -> None:
    run = make_run({("rate", "vxlan", 1): [1.0, 3.0, 2.0], ("rate", "host-gw", 1): [2.0] * 3})
    summary = summarise(run)
    (row,) = summary["comparisons"]
    assert (row["ratio"], row["ci"], row["n"]) == (1.0, [0.5, 1.5], 3)
    assert row["verdict"] == "too few blocks"
    assert summary["notes"] == [
        "rate: vxlan_1 / host-gw_1: ci is the range of 3 blocks, not an interval"
    ]
    assert summary["noise_floor"] == {}


def test_without_a_twin_nothing_is_faster(make_run: Make) -> None:
    run = make_run({("rate", "vxlan", 1): [3.0] * 8, ("rate", "host-gw", 1): [2.0] * 8})
    assert summarise(run)["comparisons"][0]["verdict"] == "inconclusive"


def test_a_pair_is_compared_where_it_holds_and_leaves_its_metrics_out(make_run: Make) -> None:
    values = {
        (metric, arm, mtu): [2.0] * 8
        for metric in ("rate", "delay") for arm in ("vxlan", "host-gw") for mtu in (1, 2)
    }  # fmt: skip
    pair = Pair("vxlan", "host-gw", where={"mtu": 1}, without=("delay",))
    run = make_run(values, pairs=[json.loads(as_text(pair._asdict()))])
    (row,) = summarise(run)["comparisons"]
    assert (row["metric"], row["factors"]) == ("rate", {"mtu": 1})


def test_failures_and_zeros_leave_their_blocks_out_and_are_told(make_run: Make) -> None:
    bad: list[Any] = [1.0, "no reply", 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    run = make_run({("rate", "vxlan", 1): bad, ("rate", "host-gw", 1): [2.0] * 8})
    summary = summarise(run)
    assert summary["comparisons"][0]["n"] == 6
    assert summary["cells"][1]["failed"] + summary["cells"][0]["failed"] == 1
    assert "rate of vxlan_1: 1 failed, the first in block 2: no reply" in summary["notes"]
    zero = "rate: vxlan_1 / host-gw_1: 1 blocks with a value not above 0 have no ratio"
    assert zero in summary["notes"]


def test_a_comparison_without_any_value_is_a_note(make_run: Make) -> None:
    run = make_run({("rate", "vxlan", 1): ["dead"] * 8, ("rate", "host-gw", 1): [2.0] * 8})
    summary = summarise(run)
    assert summary["comparisons"] == []
    assert "no block has both values" in summary["notes"][0]
    as_text(summary)


def test_several_values_in_a_cell_are_one_block(make_run: Make) -> None:
    run = make_run({("rate", "vxlan", 1): [3.0] * 8, ("rate", "host-gw", 1): [2.0] * 8})
    doubled = run._replace(rows=tuple(row for row in run.rows for _ in range(5)))
    assert summarise(doubled)["comparisons"] == summarise(run)["comparisons"]


def test_drift_and_outliers_are_told_and_kept(make_run: Make) -> None:
    rising = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 9.0]
    run = make_run({("rate", "vxlan", 1): rising, ("rate", "host-gw", 1): [2.0] * 8})
    summary = summarise(run)
    text = "\n".join(summary["notes"])
    assert "rate of vxlan_1: drifts with time (Spearman +1.00)" in text
    assert "rate of vxlan_1: 1 of 8 blocks far outside the others (kept)" in text
    assert "rate: vxlan_1 / host-gw_1: the ratio drifts with time (Spearman +1.00)" in text
    assert {row["n"] for row in summary["comparisons"]} == {8}


def test_an_unfinished_block_does_not_count(make_run: Make) -> None:
    run = make_run({("rate", "vxlan", 1): [3.0] * 8, ("rate", "host-gw", 1): [2.0] * 8},
                   status="interrupted", why="Ctrl-C")  # fmt: skip
    run.manifest["blocks"][-1]["complete"] = False
    summary = summarise(run)
    assert summary["comparisons"][0]["n"] == 7
    assert summary["notes"][-1] == "the run is interrupted: Ctrl-C"


def test_a_noisy_machine_is_called_so(make_run: Make) -> None:
    calm, noisy = ([2.0 + step * (i % 2) for i in range(8)] for step in (0.05, 0.2))
    for values, told in ((calm, False), (noisy, True)):
        run = make_run({("rate", "host-gw", 1): [2.0] * 8, ("rate", "host-gw again", 1): values})
        words = "noisy machine: two cells of one mode differ in rate by up to 10% (95th percentile)"
        assert (words in summarise(run)["notes"]) is told


def test_halves_that_differ_by_more_than_the_floor_are_told(make_run: Make) -> None:
    arms = ("host-gw", "host-gw again", "vxlan")
    run = make_run({("rate", arm, 1): [2.0 + 0.01 * i for i in range(8)] for arm in arms})
    details = {arm: {"interval_bit_s": [2.0, 2.0, 2.0, 2.0]} for arm in arms}
    stalled = {"interval_bit_s": [2.0, 2.0, 0.0, 0.0]}
    rows = tuple(
        row._replace(detail=stalled if (row.arm, row.block) == ("vxlan", 3) else details[row.arm])
        for row in run.rows
    )
    notes = [note for note in summarise(run._replace(rows=rows))["notes"] if "halves" in note]
    assert notes == [
        "rate of vxlan_1: in 1 of 8 blocks the halves differ by more than the noise floor (kept)"
    ]
