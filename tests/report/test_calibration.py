from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emulator.report import calibration
from emulator.report.calibration import NOISE

BLOCKS = (6, 8, 12, 30)


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_mode_against_itself_is_seldom_called_faster(blocks: int, noise: str) -> None:
    alarms = calibration.aa_false_alarms(100, blocks, 0.03, 1, noise)
    assert alarms.comparisons == 100
    assert alarms.share <= 0.05


@pytest.mark.parametrize("cv", [0.001, 0.3])
def test_false_alarms_do_not_depend_on_the_size_of_the_noise(cv: float) -> None:
    assert calibration.aa_false_alarms(100, 8, cv, 2).share <= 0.05


@pytest.mark.parametrize("blocks", [8, 12])
def test_the_interval_covers_where_the_plain_percentile_interval_does_not(blocks: int) -> None:
    found = calibration.coverage(blocks, "student-3", 600)
    assert found["expanded"].coverage >= 0.94
    assert found["percentile"].coverage < 0.95
    assert found["percentile"].width < found["expanded"].width <= found["order"].width


def test_order_statistics_are_those_of_the_sign_test() -> None:
    assert [calibration._order_rank(n) for n in (6, 8, 9, 12, 30)] == [0, 0, 1, 2, 9]


def test_a_large_effect_is_found_and_a_tiny_one_is_not_called_slower() -> None:
    assert calibration.called(8, 0.03, 0.75, 100)["slower"] >= 0.95
    assert calibration.called(8, 0.03, 0.99, 100)["slower"] <= 0.05


def test_stopping_by_width_keeps_false_alarms_rare() -> None:
    stopped = calibration.sequential(0.03, 0.03, 100, 12)
    assert stopped.alarms <= 0.05
    assert 12 <= stopped.median_blocks < 60


def test_stored_twins_are_split_into_comparisons(make_run: Callable[..., Any]) -> None:
    rng = np.random.default_rng(4)
    values = {
        (metric, arm, mtu): np.exp(rng.normal(0, 0.03, 14)).tolist()
        for metric in ("rate", "delay")
        for arm in ("host-gw", "host-gw again")
        for mtu in range(10)
    }
    alarms = calibration.real_aa([make_run(values)])
    assert alarms.comparisons == 2 * 10 * 2
    assert alarms.share <= 0.05
    assert alarms.by_interval >= alarms.by_verdict


def test_real_twins_that_differ_are_not_hidden_by_their_own_floor(
    make_run: Callable[..., Any],
) -> None:
    run = make_run({("rate", "host-gw", 1): [1.0] * 8, ("rate", "host-gw again", 1): [1.2] * 8})
    assert calibration.real_aa([run]).share == 1.0


def test_too_few_blocks_make_no_comparison(make_run: Callable[..., Any]) -> None:
    run = make_run({("rate", "host-gw", 1): [1.0] * 5, ("rate", "host-gw again", 1): [1.0] * 5})
    assert calibration.real_aa([run]) == (0, 0, 0)


def test_the_command_prints_all_tables(capsys: pytest.CaptureFixture[str]) -> None:
    calibration.main(["--simulations", "20"])
    text = capsys.readouterr().out
    for heading in ("Coverage of", "A/A false alarms", "Stopping when", "Verdicts by true ratio"):
        assert heading in text
