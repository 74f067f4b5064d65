"""Readiness by condition, with a clock that only the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.errors import PodwireError
from emulator.measure import tool, wait


class Clock:
    """Time passes only while idle."""

    def __init__(self) -> None:
        self.now_s, self.pauses = 100.0, 0

    def __call__(self) -> float:
        return self.now_s

    def idle(self, seconds: float) -> None:
        self.now_s += seconds
        self.pauses += 1


def test_what_holds_already_costs_no_pause() -> None:
    clock = Clock()
    assert wait.until(lambda: True, 0.0, "it is so", clock=clock, idle=clock.idle) == 0
    assert clock.pauses == 0


def test_returns_when_the_condition_comes_to_hold() -> None:
    clock = Clock()
    took_s = wait.until(
        lambda: clock.now_s >= 100.5, 2.0, "half a second passed", clock=clock, idle=clock.idle
    )
    assert took_s == pytest.approx(0.5, abs=wait.PAUSE_S)


def test_the_error_names_place_condition_and_deadline() -> None:
    clock = Clock()
    with pytest.raises(PodwireError) as caught:
        wait.until(
            lambda: False, 2.0, "the kernel has drained", place="n1", clock=clock, idle=clock.idle
        )
    assert str(caught.value) == ("n1: found not so after 2 s, expected the kernel has drained")
    assert clock.now_s == pytest.approx(102.0, abs=2 * wait.PAUSE_S)


def test_the_condition_is_looked_at_once_more_after_the_deadline() -> None:
    clock = Clock()
    assert wait.until(
        lambda: clock.now_s >= 101, 1.0, "now", clock=clock, idle=lambda _: clock.idle(5)
    )


def test_a_window_ends_with_its_process(scripted: Any) -> None:
    running = scripted(lambda argv: (b"", b"")).start(["iperf3"], env=tool.SURROUNDINGS)
    with pytest.raises(PodwireError, match="process 4711 ended within a window of 60 s"):
        wait.elapse(60, running)
