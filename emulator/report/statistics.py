"""Numbers from blocks: ratio, interval, noise floor, verdict, drift.

The unit of replication is the block: the time series inside one run are never counted as
repetitions.  Every function here is pure; arrays are one-dimensional, one entry per block,
ratios are treatment over baseline and logarithms natural.

The interval.  The effect is the median of the within-block log ratios, which a few disturbed
blocks cannot move.  The plain 95 % percentile bootstrap of a median is too narrow for the
numbers of blocks that a run has: by simulation it covers the truth in about 93 % of the cases
from 6 to 12 blocks.  BCa does not help, since the jackknife says nothing about a median.  The
exact order-statistic interval covers at least 95 %, but can only step from one block to the next
and is a quarter wider at 8 blocks.  Used here is the *expanded* percentile bootstrap
(T. Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69,
2015): the same resamples, read at the levels Phi(-+sqrt(n/(n-1)) t[0.975, n-1]), which give back
the width that a resample lacks because it has the sample's own variance.  It covers 95 % or
more in every distribution tried (normal, Laplace, Student 3, contaminated, skewed; 6 to 30
blocks).  ``python -m emulator.report.calibration`` prints the figures; the decision is recorded
in docs/decisions/0002-intervals.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Better = Literal["higher", "lower"] | None

RESAMPLES = 10_000
FEWEST_BLOCKS = 6
SAME_WITHIN = 0.03
TOO_FEW = "too few blocks"
NOISY_ABOVE = 0.05
"""The noise floor above which a machine is called noisy."""


class Interval(NamedTuple):
    """``kind`` is ``bootstrap``, or ``range`` (minimum and maximum) below six blocks."""

    low: float
    high: float
    kind: Literal["bootstrap", "range"]


class Effect(NamedTuple):
    """A dimensionless ratio with its interval over ``n`` blocks."""

    ratio: float
    interval: Interval
    n: int


def log_ratios(treatment: Sequence[float], baseline: Sequence[float]) -> Array:
    """ln(treatment / baseline) block by block; both in the same order and unit, all above 0."""
    above, below = np.asarray(treatment, float), np.asarray(baseline, float)
    if above.shape != below.shape:
        raise ValueError(f"{above.size} treatment values for {below.size} baseline values")
    if not (np.all(above > 0) and np.all(below > 0)):
        raise ValueError("a ratio needs values above 0")
    result: Array = np.log(above / below)
    return result


def effect(logs: Array) -> Effect:
    """exp(median) of at least one log ratio, with its 95 % interval (the range below six)."""
    low, high, kind = median_interval(logs)
    return Effect(
        float(np.exp(np.median(logs))),
        Interval(float(np.exp(low)), float(np.exp(high)), kind),
        int(np.size(logs)),
    )


def median_interval(values: Array, resamples: int = RESAMPLES) -> Interval:
    """95 % interval of the median of one value per block; the range below six blocks.

    The resamples come from a generator seeded by the values themselves, so the same data have
    the same interval on every machine and in every order.
    """
    ordered = np.sort(np.asarray(values, float))
    n = ordered.size
    if n == 0:
        raise ValueError("an interval needs at least one block")
    if n < FEWEST_BLOCKS:
        return Interval(float(ordered[0]), float(ordered[-1]), "range")
    lower, upper = resampled_median_ranks(n, resamples, _seed(ordered))
    medians = (ordered[lower] + ordered[upper]) / 2
    low, high = np.quantile(medians, expanded_levels(n))
    return Interval(float(low), float(high), "bootstrap")


def resampled_median_ranks(
    n: int, resamples: int, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Which two sorted values (0 … n-1) have the median of each resample between them."""
    draws = np.random.default_rng(seed).integers(0, n, (resamples, n))
    draws.partition(((n - 1) // 2, n // 2), axis=1)
    return draws[:, (n - 1) // 2].astype(np.intp), draws[:, n // 2].astype(np.intp)


@lru_cache(maxsize=256)
def expanded_levels(n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two quantiles of the bootstrap distribution that make an interval for n blocks."""
    t = student_t_quantile(1 - (1 - confidence) / 2, n - 1)
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * t)
    return tail, 1 - tail


def student_t_quantile(level: float, freedom: int) -> float:
    """Quantile (0.5 < level < 1) of Student's t, from the finite sums for whole degrees.

    Source: Abramowitz and Stegun 26.7.3 and 26.7.4.
    """
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_t_cdf(middle, freedom) < level else (low, middle)
    return (low + high) / 2


def _student_t_cdf(t: float, freedom: int) -> float:
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, term, total = math.cos(angle), 1.0, 0.0
    if freedom % 2:
        term = cosine
        for k in range(3, freedom + 1, 2):
            total += term
            term *= cosine**2 * (k - 1) / k
        inside = 2 / math.pi * (angle + math.sin(angle) * total)
    else:
        for k in range(2, freedom + 1, 2):
            total += term
            term *= cosine**2 * (k - 1) / k
        inside = math.sin(angle) * total
    return (1 + inside) / 2


def _seed(values: Array) -> int:
    return int.from_bytes(hashlib.sha256(values.astype("<f8").tobytes()).digest()[:8], "big")


def noise_floor(logs: Array) -> float:
    """95th percentile of |ln(A1/A2)| over the blocks of an A/A pair."""
    return float(np.quantile(np.abs(np.asarray(logs, float)), 0.95))


def verdict(found: Effect, floor: float | None, better: Better = None) -> str:
    """One of faster, slower, higher, lower, same, inconclusive, too few blocks.

    ``same`` needs the interval inside 1 ± 3 % and comes first: a difference shown to be below
    3 % is not called faster, however surely it is there.  ``faster`` needs an interval that
    excludes 1 and an effect above the floor; without a floor nothing is ever faster.  A metric
    without a direction is ``higher`` or ``lower`` instead.
    """
    low, high, kind = found.interval
    if kind == "range":
        return TOO_FEW
    if low >= 1 - SAME_WITHIN and high <= 1 + SAME_WITHIN:
        return "same"
    if floor is None or low <= 1 <= high or abs(math.log(found.ratio)) <= floor:
        return "inconclusive"
    more = found.ratio > 1
    if better is None:
        return "higher" if more else "lower"
    return "faster" if more == (better == "higher") else "slower"


def spearman(values: Sequence[float], order: Sequence[float]) -> float:
    """Rank correlation, ties by mean rank; 0 when either side is constant."""
    first, second = _ranks(np.asarray(values, float)), _ranks(np.asarray(order, float))
    if first.size < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    result: Array = ((last - counts + 1 + last) / 2.0)[inverse]
    return result


def drift(values: Sequence[float], order: Sequence[float]) -> float:
    """Spearman's rho of six or more values with time, where it says that they rise or fall.

    0 where |rho| is at most 0.5, or no more than 5 % of series without any drift would show.
    """
    rho = spearman(values, order)
    enough = len(values) >= FEWEST_BLOCKS
    return rho if enough and abs(rho) > max(0.5, 1.96 / math.sqrt(len(values) - 1)) else 0.0


def steady(intervals: Sequence[float], floor: float) -> bool:
    """Whether the halves of one run's time series agree: |ln(median / median)| <= floor."""
    series = np.asarray(intervals, float)
    if series.size < 2:
        return True
    half = series.size // 2
    first, second = float(np.median(series[:half])), float(np.median(series[-half:]))
    if first <= 0 or second <= 0:
        return first == second
    return abs(math.log(first / second)) <= floor


def tukey(values: Sequence[float]) -> list[Literal["", "mild", "far"]]:
    """Label values outside the fences at 1.5 (mild) and 3 (far) interquartile ranges.

    Labels are shown; no value is ever dropped for its label.
    """
    if not len(values):
        return []
    low, high = np.quantile(values, (0.25, 0.75))
    spread = high - low
    labels: list[Literal["", "mild", "far"]] = []
    for value in values:
        beyond = max(low - value, value - high)
        labels.append("far" if beyond > 3 * spread else "mild" if beyond > 1.5 * spread else "")
    return labels
