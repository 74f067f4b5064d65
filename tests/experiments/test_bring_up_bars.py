"""The table of demands: from a summary, without a lab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import SpecError
from emulator.report import table as tables
from experiments.bring_up import bars, experiment, sizes, stock
from experiments.bring_up.bars import Bar


def ratio(treatment: str, baseline: str, value: float, size: str = "50x10") -> dict[str, Any]:
    """A comparison of a summary."""
    return {"metric": "up_s", "treatment": treatment, "baseline": baseline,
            "factors": {"size": size}, "ratio": value}  # fmt: skip


def cell(metric: str, arm: str, size: str, median: float | None) -> dict[str, Any]:
    """A cell of a summary."""
    return {"metric": metric, "arm": arm, "factors": {"size": size}, "median": median}


SUMMARY = {
    "comparisons": [
        ratio("podwire", "replay", 9.0, "2x2"),
        ratio("podwire", "replay", 1.4),
        ratio("mininet", "podwire", 7.5),
    ],
    "cells": [
        cell("up_s", "podwire", "50x10", 0.5),
        cell("up_s", "podwire", "100x100", 20.0),
        cell("check_s", "plan", "100x100", 0.7),
        cell("plan_s", "plan", "100x100", 1.1),
        cell("down_s", "podwire", "50x10", None),
    ],
}


def test_each_demand_is_judged_at_its_size() -> None:
    found = {bar.what: bar for bar in bars.bars(SUMMARY)}
    assert found["Podwire / C replay, 50x10"].met is True
    assert found["stock Mininet / Podwire, 50x10"].met is False
    assert found["time per pod, 100x100 / 50x10"].shown == pytest.approx(2.0)
    assert found["check + plan, 100x100"].shown == pytest.approx(1.8)
    assert found["down, 50x10"].met is None
    assert found["whole command / applying, 50x10"].met is None


def test_the_table_says_what_was_not_met_and_what_was_not_measured() -> None:
    text = tables.text(bars.table(bars.bars(SUMMARY)))
    rows = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    assert rows["Podwire / C replay, 50x10"].split()[-4:] == ["<=", "1.5", "1.4", "ok"]
    assert rows["stock Mininet / Podwire, 50x10"].endswith("NOT MET")
    assert rows["down, 50x10"].endswith("not measured")


def test_a_run_of_small_sizes_shows_its_largest_and_judges_nothing_by_it() -> None:
    small = {
        "comparisons": [ratio("podwire", "replay", 3.0, "10x10")],
        "cells": [
            cell("up_s", "podwire", "2x2", 0.1),
            cell("up_s", "podwire", "10x10", 0.2),
            cell("check_s", "plan", "100x100", 1.7),
            cell("plan_s", "plan", "100x100", 1.1),
        ],
    }
    found = {bar.what: bar for bar in bars.bars(small)}
    assert found["Podwire / C replay, 10x10"].shown == 3.0
    assert found["Podwire / C replay, 10x10"].met is None
    assert found["check + plan, 100x100"].met is False
    text = tables.text(bars.table(list(found.values())))
    assert "asked at 50x10" in text and text.count("NOT MET") == 1


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_limit_itself_is_met(shown: float, limit: float) -> None:
    assert Bar("x", shown, most=limit).met is (shown <= limit)
    assert Bar("x", shown, least=limit).met is (shown >= limit)


@pytest.mark.parametrize("quick", [True, False])
def test_every_size_that_is_brought_up_by_an_arm_has_its_baseline(quick: bool) -> None:
    settings = experiment.settings(quick)
    found = {
        (one.arm, one.factors["size"]) for one in experiment.experiment(settings).matrix.conditions
    }
    for size in experiment.QUICK if quick else experiment.SIZES:
        assert {(arm, size) for arm in experiment.ARMS if arm != "podwire again"} <= found
    twins = [size for arm, size in found if arm == "podwire again"]
    assert twins == ["10x10" if quick else "50x10"]
    assert ("plan", "100x100") in found
    assert (("podwire", "100x100") in found) is not quick
    assert ("mininet", "100x100") not in found


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_a_size_is_read_as_it_is_written(nodes: int, per_node: int) -> None:
    size = sizes.Size(nodes, per_node)
    assert sizes.parse(str(size)) == size
    assert size.hosts == nodes + nodes * per_node


@pytest.mark.parametrize("text", ["", "50", "50x", "x10", "0x3", "3x0", "5 x 5", "1x1x1"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="nodes x pods"):
        sizes.parse(text)


@pytest.mark.parametrize("alone", [False, True])
def test_a_cell_with_a_kernel_of_its_own_does_not_measure_its_first_lab(
    alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    @contextmanager
    def podwire(size: object) -> Iterator[object]:
        done.append("up")
        yield SimpleNamespace(down=lambda: done.append("down"))

    monkeypatch.setattr(experiment.arms, "podwire", podwire)
    monkeypatch.setattr(experiment, "settled", lambda s: done.append("settled"))
    monkeypatch.setattr(experiment, "unreclaimable_kib", lambda: 0)
    monkeypatch.setattr(experiment, "meminfo", lambda name: 0)
    here = SimpleNamespace(here=lambda: SimpleNamespace(own_clock=alone))
    monkeypatch.setattr(experiment, "Bench", here)
    labs = experiment.Labs()
    for arm in ("podwire", "plan"):
        with labs.build(experiment.Condition(arm, {"size": "2x2"}), 1):
            pass
    assert done == (["up", "down"] if alone else []) + ["settled"]


def test_a_changed_sysctl_is_named_with_both_values() -> None:
    before = {"fs/file-max": "10\n", "net/core/wmem_max": "1\n", "kernel/gone": "x"}
    after = {"fs/file-max": "20\n", "net/core/wmem_max": "1\n", "kernel/new": "y"}
    assert stock.differences(before, after) == [
        "fs/file-max: 10, now 20",
        "kernel/gone: x, now absent",
        "kernel/new: absent, now y",
    ]
