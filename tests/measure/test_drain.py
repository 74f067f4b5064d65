"""When the kernel counts as drained, on scripted gauges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import drain
from emulator.measure.failure import MeasureFailed


def script(levels: list[int]) -> Callable[[], int]:
    """A gauge that shows one level after the other, and then stays."""
    rest = list(levels)
    return lambda: rest.pop(0) if len(rest) > 1 else rest[0]


def test_a_plateau_far_above_the_level_from_before_is_not_the_end() -> None:
    shown: list[int] = []
    gauge = script([180_000] * 30 + [176_000] * 30 + [1_600])

    def watched() -> int:
        shown.append(gauge())
        return shown[-1]

    drain.drained(1_000, 180_000, 30, gauge=watched)
    assert shown[-1] == 1_600 and len(shown) == 61


def test_a_twentieth_of_what_the_lab_held_may_stay() -> None:
    assert drain.drained(1_000, 101_000, 0, gauge=lambda: 1_000 + 512 + 5_000) >= 0
    with pytest.raises(MeasureFailed, match="6512 KiB"):
        drain.drained(1_000, 101_000, 0, gauge=lambda: 1_000 + 512 + 5_001)


@given(st.lists(st.integers(0, 50_000), min_size=1, max_size=40))
def test_settled_is_not_said_while_it_falls(steps: list[int]) -> None:
    """Time goes on by a second at each look; a fall by more than 512 KiB starts the wait anew."""
    now = 0.0
    level = 10_000_000
    last_fall = 0.0
    levels = []
    for step in steps:
        level -= step
        levels.append(level)
    gauge = script(levels)
    lowest = levels[0]

    def clock() -> float:
        return now

    def watched() -> int:
        nonlocal now, lowest, last_fall
        now += 1.0
        shown = gauge()
        if shown < lowest - 512:
            lowest, last_fall = shown, now
        return shown

    drain.settled(1e9, 3.0, gauge=watched, clock=clock)
    assert now - last_fall >= 3.0


def test_a_field_of_meminfo(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       24684 kB\nSUnreclaim:       77 kB\n")
    assert drain.meminfo("SUnreclaim", path) == 77
    with pytest.raises(KeyError):
        drain.meminfo("Unheard", path)
