"""What tc makes of a rate without a burst differs by its version; it is the same plan."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.substrate import htb

RATES_B = st.integers(1, 12_500_000_000)


def usual(rate_b: int) -> int:
    return rate_b // 1_000_000_000 + 1600


@given(RATES_B)
def test_either_rounding_of_tc_is_the_usual_burst(rate_b: int) -> None:
    time_us = usual(rate_b) / rate_b * 1e6
    for ticks in (int(int(time_us) * 15.625), math.ceil(time_us * 15.625)):
        assert htb._burst(ticks, rate_b) == usual(rate_b)


@pytest.mark.parametrize("bytes_", [3200, 10_000])
def test_another_burst_is_another(bytes_: int) -> None:
    rate_b = 1_250_000
    assert htb._burst(htb._ticks(bytes_, rate_b), rate_b) == pytest.approx(bytes_, rel=0.01)
