from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.report import statistics
from emulator.report.statistics import Effect, Interval

VALUES = st.lists(st.floats(min_value=0.1, max_value=10), min_size=6, max_size=30)
FLOATS = st.floats(min_value=-3, max_value=3, allow_nan=False)


def effect(ratio: float, low: float, high: float, n: int = 8) -> Effect:
    return Effect(ratio, Interval(low, high, "bootstrap" if n >= 6 else "range"), n)


@given(VALUES)
def test_the_interval_holds_the_median_and_stays_within_the_data(values: list[float]) -> None:
    low, high, kind = statistics.median_interval(np.array(values))
    assert kind == "bootstrap"
    assert min(values) <= low <= float(np.median(values)) <= high <= max(values)


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_the_blocks_does_not_matter(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert statistics.median_interval(np.array(values)) == statistics.median_interval(
        np.array(shuffled)
    )


def test_the_interval_of_known_data_is_the_same_everywhere() -> None:
    values = np.array([0.74, 0.76, 0.75, 0.78, 0.71, 0.77, 0.76, 0.73])
    low, high, _ = statistics.median_interval(values)
    assert (low, high) == pytest.approx((0.72, 0.77))


@given(st.lists(FLOATS, min_size=1, max_size=12))
def test_the_interval_of_an_effect_holds_its_ratio(logs: list[float]) -> None:
    found = statistics.effect(np.array(logs))
    assert found.ratio == pytest.approx(math.exp(float(np.median(logs))))
    assert found.interval.low <= found.ratio * (1 + 1e-12)
    assert found.ratio <= found.interval.high * (1 + 1e-12)


def test_below_six_blocks_there_is_a_range_and_no_verdict() -> None:
    found = statistics.effect(np.log([0.5, 0.6, 0.55, 0.52, 0.58]))
    assert found.interval == (pytest.approx(0.5), pytest.approx(0.6), "range")
    assert statistics.verdict(found, 0.01, "higher") == "too few blocks"
    assert statistics.effect(np.log([0.5] * 6)).interval.kind == "bootstrap"


@pytest.mark.parametrize(
    ("found", "floor", "better", "expected"),
    [
        (effect(0.75, 0.70, 0.80), 0.05, "higher", "slower"),
        (effect(0.75, 0.70, 0.80), 0.05, "lower", "faster"),
        (effect(0.75, 0.70, 0.80), 0.05, None, "lower"),
        (effect(1.30, 1.20, 1.40), 0.05, "higher", "faster"),
        (effect(1.30, 1.20, 1.40), 0.05, "lower", "slower"),
        (effect(1.30, 1.20, 1.40), 0.05, None, "higher"),
        (effect(1.30, 0.99, 1.40), 0.05, "higher", "inconclusive"),
        (effect(1.30, 1.20, 1.40), 0.27, "higher", "inconclusive"),
        (effect(1.30, 1.20, 1.40), 0.26, "higher", "faster"),
        (effect(1.30, 1.20, 1.40), None, "higher", "inconclusive"),
        (effect(1.00, 0.97, 1.03), 0.05, "higher", "same"),
        (effect(1.00, 0.969, 1.03), 0.05, "higher", "inconclusive"),
        (effect(1.00, 0.97, 1.031), 0.05, "higher", "inconclusive"),
        (effect(1.02, 1.01, 1.03), 0.001, "higher", "same"),
        (effect(1.00, 0.99, 1.01, n=5), 0.05, "higher", "too few blocks"),
    ],
)
def test_verdicts(found: Effect, floor: float | None, better: str | None, expected: str) -> None:
    assert statistics.verdict(found, floor, better) == expected  # type: ignore[arg-type]


def test_a_common_drift_leaves_the_ratio_alone() -> None:
    drift = np.exp(np.linspace(0, 2, 10))
    logs = statistics.log_ratios((3 * drift).tolist(), (4 * drift).tolist())
    assert statistics.effect(logs).interval[:2] == pytest.approx((0.75, 0.75))


def test_ratios_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        statistics.log_ratios([1.0, 0.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="2 treatment values for 1"):
        statistics.log_ratios([1.0, 2.0], [1.0])


def test_the_noise_floor_is_the_95th_percentile_of_the_absolute_logs() -> None:
    logs = np.array([(-1) ** k * k / 100 for k in range(101)])
    assert statistics.noise_floor(logs) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.30265), (5, 2.57058), (7, 2.36462), (11, 2.20099), (29, 2.04523)],
)
def test_quantiles_of_students_t_are_those_of_the_printed_tables(
    freedom: int, expected: float
) -> None:
    assert statistics.student_t_quantile(0.975, freedom) == pytest.approx(expected, rel=1e-5)


def test_spearman_is_about_ranks() -> None:
    assert statistics.spearman([1, 10, 100, 1000], [1, 2, 3, 4]) == pytest.approx(1)
    assert statistics.spearman([4, 3, 2, 1], [1, 2, 3, 4]) == pytest.approx(-1)
    tied = statistics.spearman([1, 2, 2, 3, 1], [3, 1, 4, 1, 5])
    assert tied == pytest.approx(-0.675923, abs=1e-6)
    assert statistics.spearman([7, 7, 7], [1, 2, 3]) == 0
    assert statistics.drift([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]) == pytest.approx(1)
    assert statistics.drift([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]) == 0
    assert statistics.drift([1, 9, 2, 8, 3, 7, 4, 6], range(8)) == 0


@pytest.mark.parametrize("blocks", [6, 8, 12, 24])
def test_noise_is_seldom_called_drift(blocks: int) -> None:
    random = np.random.default_rng(blocks)
    called = [statistics.drift(random.normal(size=blocks), range(blocks)) != 0 for _ in range(2000)]
    assert np.mean(called) < 0.07


def test_steady_compares_the_halves_with_the_floor() -> None:
    assert statistics.steady([1.0, 1.01, 1.02, 1.0], 0.05)
    assert not statistics.steady([1.0, 1.0, 1.2, 1.2], 0.05)
    assert statistics.steady([1.0], 0.0)
    assert not statistics.steady([0.0, 0.0, 1.0, 1.0], 0.05)


def test_tukey_labels_and_never_drops() -> None:
    labels = statistics.tukey([10, 11, 12, 13, 14, 15, 16, 17, 26, 40])
    assert labels == ["", "", "", "", "", "", "", "", "mild", "far"]
    assert statistics.tukey([-40, 10, 10, 10, 10]) == ["far", "", "", "", ""]
    assert statistics.tukey([]) == []
