"""What theory says of a link, and how far chance may carry a measurement from it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma, log, log1p, sqrt
from statistics import NormalDist, fmean, pstdev

from emulator.spec.medium import Delay

SURE = 0.99
"""A bar holds with this probability where the link does what theory says."""

Quantile = Callable[[float], float]


def within(count: int, chance: float, sure: float = SURE) -> tuple[int, int]:
    """The binomial interval: of ``count`` events how many come, at least and at most."""
    if chance <= 0 or chance >= 1:
        return (round(count * chance),) * 2
    tail = (1 - sure) / 2
    low, below = 0, _mass(count, 0, chance)
    while below <= tail:
        low += 1
        below += _mass(count, low, chance)
    high, above = count, _mass(count, count, chance)
    while above <= tail:
        high -= 1
        above += _mass(count, high, chance)
    return low, high


def _mass(count: int, hits: int, chance: float) -> float:
    ways = lgamma(count + 1) - lgamma(hits + 1) - lgamma(count - hits + 1)
    return exp(ways + hits * log(chance) + (count - hits) * log1p(-chance))


def around(mean: float, deviation: float, sure: float = SURE) -> tuple[float, float]:
    """The normal interval."""
    reach = NormalDist().inv_cdf(0.5 + sure / 2) * deviation
    return mean - reach, mean + reach


def ahead(chance: float, gap: int) -> float:
    """The part of packets that overtake: after one, ``gap`` - 1 do not, then each may."""
    return 1 / (gap - 1 + 1 / chance)


def ahead_within(count: int, chance: float, gap: int, sure: float = SURE) -> tuple[float, float]:
    """How many of ``count`` overtake: a renewal process, whose cycle is geometric but for its
    fixed beginning."""
    part = ahead(chance, gap)
    return around(count * part, sqrt(count * (1 - chance) / chance**2 * part**3), sure)


def burst_deviation(count: int, chance: float, correlation: float) -> float:
    """The standard deviation of the number lost where one loss brings the next."""
    longer = (1 + correlation) / (1 - correlation)
    return sqrt(count * chance * (1 - chance) * longer)


def _pareto(q: float) -> float:
    return min(4.0, (exp(-log1p(-q) / 3) - 1.5) * 4 / 3)


def _uniform(jitter_ns: int) -> Quantile:
    """As the kernel draws it: the remainder of a random number of 32 bits, divided by the width of
    the distribution. That width does not go into 2^32 without a rest, and remainders below the
    rest come once more often than others."""
    times, rest = divmod(_NUMBERS, 2 * jitter_ns)
    often = rest * (times + 1)

    def value(q: float) -> float:
        drawn = q * _NUMBERS
        left = drawn / (times + 1) if drawn < often else rest + (drawn - often) / times
        return left / jitter_ns - 1

    return value


def factor(delay: Delay) -> Quantile:
    """Of what the jitter is multiplied by: what it is below with probability q."""
    match delay.distribution:
        case "uniform":
            return _uniform(delay.jitter_us * 1000)
        case "normal":
            return NormalDist().inv_cdf
        case "pareto":
            return _pareto


_NUMBERS = 1 << 32
_GRID = [(i + 0.5) / 4096 for i in range(4096)]


def average(value: Quantile) -> float:
    """The mean of the factor."""
    return fmean(map(value, _GRID))


def deviation(value: Quantile) -> float:
    """The standard deviation of the factor, which ends at four jitters."""
    return pstdev(map(value, _GRID))


def average_within(value: Quantile, count: int, sure: float = SURE) -> tuple[float, float]:
    """Between which values the mean of ``count`` samples is, in jitters."""
    return around(average(value), deviation(value) / sqrt(count), sure)


def deviation_within(value: Quantile, count: int, sure: float = SURE) -> tuple[float, float]:
    """Between which values the standard deviation of ``count`` samples is, in jitters: the more
    weight the tails have (the kurtosis), the less sure it is."""
    factors = [value(q) for q in _GRID]
    whole, mean = pstdev(factors), fmean(factors)
    kurtosis = fmean([(f - mean) ** 4 for f in factors]) / whole**4
    return around(whole, whole * sqrt((kurtosis - 1) / (4 * count)), sure)


def quantile_within(
    value: Quantile, q: float, count: int, sure: float = SURE
) -> tuple[float, float]:
    """Between which values the measured quantile of ``count`` samples is, in jitters."""
    low, high = around(q, sqrt(q * (1 - q) / count), sure)
    return value(max(low, 1e-6)), value(min(high, 1 - 1e-6))
