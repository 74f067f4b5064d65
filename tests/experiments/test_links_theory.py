"""What a link should do, by numbers that are known otherwise; and that the table says so."""

from __future__ import annotations

from math import comb, sqrt
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.spec.medium import Delay
from experiments.links import theory
from experiments.links.features import HERE, correlation, features, quick


@given(st.integers(1, 300), st.floats(0.001, 0.999))
def test_the_binomial_interval_holds_as_much_as_it_says(count: int, chance: float) -> None:
    low, high = theory.within(count, chance)
    inside = sum(
        comb(count, hits) * chance**hits * (1 - chance) ** (count - hits)
        for hits in range(low, high + 1)
    )
    assert inside >= theory.SURE - 1e-9
    assert 0 <= low <= count * chance + 1
    assert count * chance - 1 <= high <= count


def test_a_certain_event_comes_always() -> None:
    assert theory.within(100, 1.0) == (100, 100)
    assert theory.within(100, 0.0) == (0, 0)


def test_deviations_are_those_of_the_textbook() -> None:
    for name, known in (("uniform", 1 / sqrt(3)), ("normal", 1.0)):
        factor = theory.factor(Delay(10_000, 1000, name))
        assert theory.deviation(factor) == pytest.approx(known, rel=1e-3)
        assert theory.average(factor) == pytest.approx(0, abs=1e-3)
    pareto = theory.factor(Delay(10_000, 1000, "pareto"))
    assert theory.deviation(pareto) == pytest.approx(0.8197, rel=5e-3)  # of iproute2's table


@pytest.mark.parametrize(
    ("jitter_ms", "mean_ms", "median_ms"),
    [
        (10, 0, 0),
        (100, -1.2, -2.3),
        (250, -7.0, -11.4),
        (500, -24.2, -36.9),
        (1000, -58.5, -73.7),
        (1500, -257.0, -426.3),
        (2147, -0.5, -0.5),
    ],
)
def test_a_uniform_jitter_is_what_the_kernels_arithmetic_gives(
    jitter_ms: int, mean_ms: float, median_ms: float
) -> None:
    factor = theory.factor(Delay(3_000_000, jitter_ms * 1000))
    assert jitter_ms * theory.average(factor) == pytest.approx(mean_ms, abs=0.06)
    assert jitter_ms * factor(0.5) == pytest.approx(median_ms, abs=0.06)
    assert (factor(0), factor(1)) == pytest.approx((-1, 1))
    assert theory.average(factor) >= -jitter_ms / 8589  # as docs/underlays.md has it
    draw, count, jitter_ns = Random(3).getrandbits, 40_000, jitter_ms * 10**6
    drawn = sorted((draw(32) % (2 * jitter_ns)) / jitter_ns - 1 for _ in range(count))
    sure = 0.99999
    low, high = theory.average_within(factor, count, sure)
    assert low <= fmean(drawn) <= high
    low, high = theory.deviation_within(factor, count, sure)
    assert low <= pstdev(drawn) <= high
    for q in (0.1, 0.3, 0.5, 0.7, 0.9):
        low, high = theory.quantile_within(factor, q, count, sure)
        assert low <= drawn[round(q * (count - 1))] <= high


@pytest.mark.parametrize(("chance", "gap"), [(0.25, 1), (0.5, 5), (1.0, 10)])
def test_overtaking_is_what_a_walk_through_the_kernels_rule_gives(chance: float, gap: int) -> None:
    draw, since, early, count = Random(1).random, 0, 0, 100_000
    for _ in range(count):
        if since < gap - 1 or draw() >= chance:
            since += 1
        else:
            since, early = 0, early + 1
    assert early / count == pytest.approx(theory.ahead(chance, gap), rel=0.02)


@pytest.mark.parametrize("chance", [0.01, 0.2])
def test_losses_in_bursts_vary_as_much_as_is_said(chance: float) -> None:
    begin, end = chance * 0.5, (1 - chance) * 0.5
    draw, totals, count = Random(2).random, [], 1000
    for _ in range(400):
        losing, lost = draw() < chance, 0
        for _ in range(count):
            lost += losing
            losing = draw() >= end if losing else draw() < begin
        totals.append(lost)
    spread = sqrt(sum((t - count * chance) ** 2 for t in totals) / len(totals))
    assert spread == pytest.approx(theory.burst_deviation(count, chance, 0.5), rel=0.15)


def test_correlation_of_what_alternates_and_of_what_stays() -> None:
    assert correlation([0.0, 1.0] * 500) == pytest.approx(-1, abs=0.01)
    assert correlation([0.0] * 500 + [1.0] * 500) == pytest.approx(1, abs=0.01)


def test_the_lower_decile() -> None:
    assert quick(range(100, 0, -1)) == 11


def test_every_feature_of_a_link_is_measured() -> None:
    asked = {
        field
        for one in features(HERE)
        for medium in one.ends
        for field, value in medium._asdict().items()
        if value is not None
    }
    assert asked == {"rate", "delay", "loss", "duplicate_ppb", "reorder", "corrupt_ppb"}
