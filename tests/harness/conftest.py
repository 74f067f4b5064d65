"""A small experiment without a lab: two real arms and a twin, values from the block's seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from emulator.harness.experiment import (
    Condition,
    Description,
    Exclusion,
    Experiment,
    Matrix,
    Metric,
    Pair,
)
from emulator.measure.sample import Measured, good

ARMS = {"host-gw": 6e9, "host-gw again": 6e9, "vxlan": 4.5e9}
PAIRS = (Pair("vxlan", "host-gw"), Pair("host-gw again", "host-gw", twin=True))


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        return self.time_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_experiment(clock: Clock) -> Callable[..., Experiment[Any]]:
    """``spoil`` is called with (block seed, condition) when a cell is about to be measured."""

    def make(
        spoil: Callable[[int, Condition], None] = lambda seed, condition: None,
        noise: float = 0.02,
        gate: Any = None,
        exclusions: Sequence[Exclusion] = (),
        plan: str = "plan",
    ) -> Experiment[Any]:
        @contextmanager
        def build(condition: Condition, seed: int) -> Iterator[int]:
            clock.time_s += 0.5
            yield seed

        def measure(seed: int, condition: Condition) -> Iterator[Measured]:
            spoil(seed, condition)
            clock.time_s += 3.0
            common = random.Random(seed).gauss(0, 0.2)
            own = random.Random(f"{seed} {condition.name}").gauss(0, noise)
            value = ARMS[condition.arm] * 2.718281828 ** (common + own)
            yield Measured((good("throughput_bit_s", value, streams=1),), {"iperf3.json": b"{}"})
            yield Measured((good("steal_ratio", 0.0),), {"stat.txt": b"cpu"})

        matrix = Matrix.cross(list(ARMS), {"mtu": [1500]}, PAIRS)
        extra = {"gate": gate} if gate else {}
        return Experiment(
            "fake", "Does it run?", matrix, (Metric("throughput_bit_s", "bit/s", "higher"),),
            lambda condition: Description(f"kind: Cluster  # {condition.factors}\n", plan + "\n"),
            build, measure, headline=("throughput_bit_s",), exclusions=tuple(exclusions), **extra,
        )  # fmt: skip

    return make
