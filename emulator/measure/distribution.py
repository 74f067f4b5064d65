"""Percentiles of times: which ones a number of values can carry, and a curve to draw.

A percentile is one of the values (nearest rank), never an interpolation: of 20 values the
"99th percentile" would be their maximum under another name, so it is refused instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from emulator.measure.sample import PERCENTILES, Sample, failed, good

CURVE_LEVELS: tuple[float, ...] = (
    *(step / 200 for step in range(1, 198)),
    0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0,
)  # fmt: skip


def quantile(ordered: Sequence[float], level: float) -> float:
    """The smallest of the values (sorted, not empty) that ``level`` of them do not exceed."""
    rank = math.ceil(level * len(ordered) - 1e-9)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def carries(count: int, level: float) -> bool:
    """Whether so many values lie above the percentile that it is not just their maximum."""
    return count > 0 and count * (1 - level) >= 1 - 1e-9


def percentiles(
    prefix: str, values_us: Sequence[float], lost: int = 0, /, **detail: object
) -> tuple[Sample, ...]:
    """The samples ``<prefix>_p50_us`` to ``<prefix>_p999_us`` of times in microseconds.

    The median's detail carries the distribution as ``curve_us``, pairs of (level, time), from
    which a cumulative curve can be drawn without the raw values. A percentile that the number
    of values cannot carry is a failed sample. ``lost`` tries count as longer than any value: a
    percentile that falls among them is a failure, too.
    """
    ordered = sorted(values_us)
    every = [*ordered, *[math.inf] * lost]
    count = len(every)
    samples = []
    for name, level in PERCENTILES.items():
        metric = f"{prefix}_{name}_us"
        if not carries(count, level):
            reason = f"{count} values cannot carry it, it needs {math.ceil(1 / (1 - level) - 1e-9)}"
            samples.append(failed(metric, reason, n=count, **detail))
        elif (value := quantile(every, level)) == math.inf:
            samples.append(failed(metric, f"{lost} of {count} tries were lost", n=count, **detail))
        elif name == "p50":
            curve = [[level, quantile(ordered, level)] for level in CURVE_LEVELS]
            mean = math.fsum(ordered) / len(ordered)
            samples.append(
                good(metric, value, n=count, min_us=ordered[0],
                     max_us=ordered[-1], mean_us=mean, curve_us=curve, **detail)
            )  # fmt: skip
        else:
            samples.append(good(metric, value, n=count, **detail))
    return tuple(samples)


def names(prefix: str) -> tuple[str, ...]:
    """The metrics that ``percentiles`` gives."""
    return tuple(f"{prefix}_{name}_us" for name in PERCENTILES)
