"""The table of links on bench ``virtual``: a delay, a loss, and everything at once."""

from __future__ import annotations

import pytest

from experiments.links import virtual
from experiments.links.features import Feature

pytestmark = pytest.mark.virtual

TELLING = {
    ("delay", "30ms out, 5ms in"): 2,
    ("loss", "5%, correlation 50%"): 2,
    ("together", "100mbit by htb, 10ms, loss 0.1%"): 4,
}
"""Features, and how many rows each has."""


def some(*wanted: tuple[str, str]) -> list[Feature]:
    return [one for one in virtual.FEATURES if (one.name, one.asked) in wanted]


def test_links_do_what_theory_says() -> None:
    rows = list(virtual.rows(some(*TELLING)))
    assert [(row[0], row[1]) for row in rows] == [
        one for one, count in TELLING.items() for _ in range(count)
    ]
    # of what chance decides one in a hundred misses at first, and is looked at again
    assert {row[-1].partition(" (then")[0] for row in rows} == {"holds"}, rows


def test_each_time_the_same() -> None:
    once = some(("duplicate", "5%"))
    assert list(virtual.rows(once)) == list(virtual.rows(once))
