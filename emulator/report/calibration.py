"""What the statistics promise, checked by simulation: coverage, false alarms, power.

``python -m emulator.report.calibration --simulations 4000`` prints the tables that
docs/decisions/0002-intervals.md quotes, with fixed seeds: the same figures each time.  Given
folders of runs it prints the false alarms of their A/A arms instead.

``aa_false_alarms`` simulates the comparison of one mode with itself; ``real_aa`` does it with
the A/A arms of stored runs.  Judging an A/A pair against the floor of the very same blocks could
never fail (the median of |x| is below the 95th percentile of |x|), so the simulation compares a
third arm, and the real comparison takes the floor from blocks other than those it judges.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from emulator.harness.store import StoredRun, read
from emulator.report import statistics
from emulator.report.pairing import twin_logs
from emulator.report.statistics import Array

BLOCKS = (6, 8, 12, 30)
ALARMS = ("faster", "slower", "higher", "lower")


def _skewed(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    result: Array = (np.exp(0.8 * rng.normal(size=shape)) - 1) / 1.2
    return result


def _contaminated(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    result: Array = rng.normal(size=shape) * np.where(rng.random(shape) < 0.1, 10.0, 1.0)
    return result


Draw = Callable[[tuple[int, ...], np.random.Generator], Array]

NOISE: dict[str, Draw] = {
    "normal": lambda shape, rng: rng.normal(size=shape),
    "laplace": lambda shape, rng: rng.laplace(size=shape) / np.sqrt(2),
    "student-3": lambda shape, rng: rng.standard_t(3, size=shape) / np.sqrt(3),
    "contaminated": _contaminated,
    "skewed": _skewed,
}


def _generator(seed: int, blocks: int, noise: str) -> np.random.Generator:
    return np.random.default_rng([seed, blocks, list(NOISE).index(noise)])


class FalseAlarms(NamedTuple):
    """``by_interval``: interval excludes 1. ``by_verdict``: called faster or slower."""

    comparisons: int
    by_interval: int
    by_verdict: int

    @property
    def share(self) -> float:
        """The share of comparisons called faster or slower; 0 when there were none."""
        return self.by_verdict / self.comparisons if self.comparisons else 0.0


def aa_false_alarms(
    n: int, blocks: int, cv: float, seed: int, noise: str = "normal"
) -> FalseAlarms:
    """Compare a mode with itself n times, each time over ``blocks`` simulated blocks.

    ``cv`` is the standard deviation of one cell's log value; ``noise`` one of NOISE.
    """
    rng = _generator(seed, blocks, noise)
    arms = NOISE[noise]((n, 3, blocks), rng) * cv
    judged = (
        (first - third, statistics.noise_floor(first - second)) for first, second, third in arms
    )
    return _count(judged)


def real_aa(runs: Iterable[StoredRun]) -> FalseAlarms:
    """Compare the A/A arms of stored runs.

    Each metric and factor cell is split into groups of six or more blocks.  A group's floor is
    that of the metric's other groups and cells; where there are none, the interval alone decides.
    """
    return _count(case for run in runs for case in _split_cases(run))


def _split_cases(run: StoredRun) -> Iterable[tuple[Array, float | None]]:
    for cells in twin_logs(run).values():
        groups = [part for logs in cells.values() for part in _groups(logs)]
        for judged, group in enumerate(groups):
            others = [part for index, part in enumerate(groups) if index != judged]
            yield group, statistics.noise_floor(np.concatenate(others)) if others else None


def _groups(logs: Array) -> list[Array]:
    count = len(logs) // statistics.FEWEST_BLOCKS
    return np.array_split(logs, count) if count else []


def _count(cases: Iterable[tuple[Array, float | None]]) -> FalseAlarms:
    total = by_interval = by_verdict = 0
    for logs, floor in cases:
        found = statistics.effect(logs)
        verdict = statistics.verdict(found, 0.0 if floor is None else floor)
        total += 1
        by_interval += not found.interval.low <= 1 <= found.interval.high
        by_verdict += verdict in ALARMS
    return FalseAlarms(total, by_interval, by_verdict)


class Cover(NamedTuple):
    """How often an interval covers the truth, and its median width in units of the noise."""

    coverage: float
    width: float


def coverage(blocks: int, noise: str, simulations: int, seed: int = 1) -> dict[str, Cover]:
    """Percentile, BCa, expanded and order-statistic intervals of the same simulated medians."""
    rng = _generator(seed, blocks, noise)
    values = np.sort(NOISE[noise]((simulations, blocks), rng), axis=1)
    lower, upper = statistics.resampled_median_ranks(blocks, statistics.RESAMPLES, seed)
    medians = np.sort((values[:, lower] + values[:, upper]) / 2, axis=1)
    rank = _order_rank(blocks)
    ends = {
        "percentile": _read(medians, np.full(simulations, 0.025), np.full(simulations, 0.975)),
        "BCa": _read(medians, *_bca_levels(values, medians)),
        "expanded": _read(
            medians, *(np.full(simulations, level) for level in statistics.expanded_levels(blocks))
        ),
        "order": (values[:, rank], values[:, blocks - 1 - rank]),
    }
    return {
        name: Cover(float(np.mean((low <= 0) & (high >= 0))), float(np.median(high - low)))
        for name, (low, high) in ends.items()
    }


def _read(ordered: Array, low: Array, high: Array) -> tuple[Array, Array]:
    last, rows = ordered.shape[1] - 1, np.arange(len(ordered))
    return (
        ordered[rows, np.floor(low * last).astype(int)],
        ordered[rows, np.ceil(high * last).astype(int)],
    )


def _order_rank(n: int) -> int:
    """The 0-based rank whose pair of order statistics covers the median in >= 95 %."""
    tail, probability, rank = 0.0, 0.5**n, -1
    while tail + probability <= 0.025:
        tail += probability
        rank += 1
        probability *= (n - rank) / (rank + 1)
    return max(rank, 0)


def _bca_levels(values: Array, medians: Array) -> tuple[Array, Array]:
    """Levels of the bias-corrected and accelerated interval (Efron 1987), per simulation."""
    normal, n = NormalDist(), values.shape[1]
    middle = np.median(values, axis=1, keepdims=True)
    below = np.mean(medians < middle, axis=1) + np.mean(medians == middle, axis=1) / 2
    bias = np.array([normal.inv_cdf(float(share)) for share in np.clip(below, 1e-4, 1 - 1e-4)])
    left_out = np.stack([np.median(np.delete(values, k, axis=1), axis=1) for k in range(n)], axis=1)
    apart = left_out.mean(axis=1, keepdims=True) - left_out
    scale = np.sum(apart**2, axis=1) ** 1.5
    skew = np.divide(np.sum(apart**3, axis=1), 6 * scale, out=np.zeros_like(scale), where=scale > 0)
    ends = []
    for z in (normal.inv_cdf(0.025), normal.inv_cdf(0.975)):
        moved = bias + (bias + z) / (1 - skew * (bias + z))
        ends.append(np.array([normal.cdf(float(one)) for one in moved]))
    return ends[0], ends[1]


class Stopped(NamedTuple):
    """Runs that go on until the interval is narrow: where they stop, and how often they err."""

    coverage: float
    alarms: float
    median_blocks: float


def sequential(
    target: float, cv: float, simulations: int, first: int, most: int = 60, seed: int = 1
) -> Stopped:
    """Compare a mode with itself, adding blocks until the half-width is <= ``target``.

    A run stops at the first narrow look from ``first`` blocks on.  ``alarms`` is the share
    called faster or slower.
    """
    rng = np.random.default_rng(seed)
    one, two, three = np.moveaxis(NOISE["normal"]((simulations, 3, most), rng) * cv, 1, 0)
    logs, twins = three - one, one - two
    stopped = np.full(simulations, most)
    running = np.ones(simulations, bool)
    for blocks in range(first, most):
        lower, upper = statistics.resampled_median_ranks(blocks, 2000, blocks)
        ordered = np.sort(logs[:, :blocks], axis=1)
        low, high = np.exp(
            np.quantile((ordered[:, lower] + ordered[:, upper]) / 2,
                        statistics.expanded_levels(blocks), axis=1)
        )  # fmt: skip
        ratio = np.exp(np.median(ordered, axis=1))
        ending = running & ((high - low) / 2 / ratio <= target)
        stopped[ending] = blocks
        running &= ~ending
    covered = alarms = 0
    for row, twin, blocks in zip(logs, twins, stopped, strict=True):
        found = statistics.effect(row[:blocks])
        covered += found.interval.low <= 1 <= found.interval.high
        floor = statistics.noise_floor(twin[:blocks])
        alarms += statistics.verdict(found, floor) in ALARMS
    return Stopped(covered / simulations, alarms / simulations, float(np.median(stopped)))


def called(blocks: int, cv: float, true_ratio: float, n: int, seed: int = 1) -> dict[str, float]:
    """Share of each verdict (higher is better) when the true ratio is ``true_ratio``."""
    rng = np.random.default_rng([seed, blocks])
    shares = dict.fromkeys(("faster", "slower", "same", "inconclusive"), 0.0)
    for first, second, third in NOISE["normal"]((n, 3, blocks), rng) * cv:
        found = statistics.effect(np.log(true_ratio) + third - first)
        shares[statistics.verdict(found, statistics.noise_floor(first - second), "higher")] += 1 / n
    return shares


def _tables(simulations: int) -> Iterable[str]:
    yield f"Coverage of the 95 % interval of a median (width in sigma), {simulations} simulations"
    yield f"{'blocks':>6}  {'noise':<13}" + "".join(
        f"{name:>18}" for name in ("percentile", "BCa", "expanded", "order")
    )
    for blocks in BLOCKS:
        for noise in NOISE:
            cells = "".join(
                f"{cover.coverage:>11.1%} {cover.width:>6.2f}"
                for cover in coverage(blocks, noise, simulations).values()
            )
            yield f"{blocks:>6}  {noise:<13}{cells}"
    some = max(1, simulations // 4)
    yield ""
    yield f"A/A false alarms, CV 3 %, {some} comparisons each"
    yield f"{'blocks':>6}  {'noise':<13}{'interval alone':>15}{'with the floor':>15}"
    for blocks in BLOCKS:
        for noise in NOISE:
            alarms = aa_false_alarms(some, blocks, 0.03, 1, noise)
            alone = alarms.by_interval / alarms.comparisons
            yield f"{blocks:>6}  {noise:<13}{alone:>15.1%}{alarms.share:>15.1%}"
    yield ""
    yield "Stopping when the half-width reaches 2 %, CV 3 %, at most 60 blocks"
    yield f"{'from':>6}  {'coverage':>9}  {'alarms':>7}  {'median blocks':>13}"
    for first in (6, 8, 12, 16):
        stopped = sequential(0.02, 0.03, simulations, first)
        yield (
            f"{first:>6}  {stopped.coverage:>9.1%}  {stopped.alarms:>7.1%}"
            f"  {stopped.median_blocks:>13.0f}"
        )
    yield ""
    yield f"Verdicts by true ratio, CV 3 %, {some} comparisons each"
    yield f"{'blocks':>6}  {'truth':>5}" + "".join(
        f"{name:>14}" for name in ("faster", "slower", "same", "inconclusive")
    )
    for blocks in BLOCKS:
        for truth in (1.0, 0.97, 0.95, 0.90, 0.80):
            shares = called(blocks, 0.03, truth, some)
            cells = "".join(f"{share:>14.1%}" for share in shares.values())
            yield f"{blocks:>6}  {truth:>5.2f}{cells}"


def _real_table(folders: Sequence[Path]) -> Iterable[str]:
    alarms = real_aa(read(folder) for folder in folders)
    yield f"A/A comparisons in {len(folders)} stored runs: {alarms.comparisons}"
    yield f"interval excludes 1: {alarms.by_interval}"
    yield f"called faster or slower: {alarms.by_verdict} ({alarms.share:.1%})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how the statistics behave on simulated data, or on the A/A arms of stored runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("runs", nargs="*", type=Path, help="results/<experiment>/<run>")
    parser.add_argument("--simulations", type=int, default=2000, help="per cell (default 2000)")
    chosen = parser.parse_args(arguments)
    for line in _real_table(chosen.runs) if chosen.runs else _tables(chosen.simulations):
        print(line, flush=True)


if __name__ == "__main__":
    main()
