from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import path_mtu
from emulator.measure.failure import MeasureFailed
from emulator.measure.path_mtu import LARGEST_B, SMALLEST_B, largest

SIZES = st.integers(SMALLEST_B, LARGEST_B)


@given(SIZES, SIZES)
def test_the_largest_that_passes_is_found_whatever_was_guessed(limit: int, guess: int) -> None:
    found, tried = largest(lambda size: size <= limit, guess)
    assert found == limit
    assert len(tried) < 40
    assert max(tried) <= LARGEST_B


@given(SIZES)
def test_a_right_guess_needs_two_tries(limit: int) -> None:
    _, tried = largest(lambda size: size <= limit, limit)
    assert tried == [limit, limit + 1][: 2 if limit < LARGEST_B else 1]


def test_a_path_that_carries_nothing_is_no_path() -> None:
    with pytest.raises(MeasureFailed, match="576"):
        largest(lambda size: False, 1500)


def test_loopback_carries_what_ping_can_send(loopback: Any) -> None:
    measured = path_mtu.probe(loopback, "127.0.0.1", guess=1500)
    assert measured.value("path_mtu_b") == LARGEST_B
    assert measured.raw
