"""The bisection for the highest UDP rate, against paths whose capacity is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure.failure import MeasureFailed
from emulator.measure.search import Found, Trial, bisect


def path(capacity: float, sender: float = 1e15) -> Callable[[int], Trial]:
    def attempt(rate: int) -> Trial:
        sent = min(rate, sender)
        received = min(sent, capacity)
        return Trial(rate, sent, received, received / 512, 1 - received / sent)

    return attempt


def search(attempt: Callable[[int], Trial], **more: float) -> Found:
    limits = {
        "low_bit_s": 10**6, "high_bit_s": 10**10, "loss_limit": 0.005, "precision": 0.03,
        "max_trials": 20, "deadline_s": 60.0,
    }  # fmt: skip
    return bisect(attempt, **{**limits, **more})  # type: ignore[arg-type]


@given(st.integers(min_value=10**6, max_value=10**10 - 1))
def test_finds_the_capacity_within_the_precision_and_the_loss_limit(capacity: int) -> None:
    found = search(path(capacity))
    if found.ended == "the highest rate passed":
        assert capacity >= 0.995 * 10**10
        return
    assert found.ended == "the precision of 3.0%"
    assert found.best.loss_ratio <= 0.005
    assert found.best.rate_bit_s <= capacity / 0.995
    assert found.best.rate_bit_s * 1.03 >= capacity * 0.99
    assert len(found.trials) <= 12


def test_loss_at_low_load_makes_the_search_meaningless() -> None:
    with pytest.raises(MeasureFailed, match=r"2\.00% of the packets were lost at the low rate"):
        search(lambda rate: Trial(rate, rate, rate * 0.98, 1.0, 0.02))


def test_the_highest_rate_is_tried_before_any_halving() -> None:
    found = search(path(1e12))
    assert [trial.rate_bit_s for trial in found.trials] == [10**6, 10**10]
    assert found.best.rate_bit_s == 10**10


def test_a_sender_that_cannot_keep_up_ends_the_search_with_what_it_sent() -> None:
    found = search(path(1e12, sender=3e8))
    assert found.ended == "the sender cannot send faster"
    assert found.best.received_bit_s == 3e8


def test_trials_are_bounded_in_number_and_time() -> None:
    assert len(search(path(5e8), max_trials=4).trials) == 4
    seconds = itertools.count(0, 10)
    found = search(path(5e8), clock=lambda: next(seconds), deadline_s=25)  # type: ignore[arg-type]
    assert found.ended == "the deadline of 25 s"
    assert len(found.trials) == 3
