"""What it saves that a child makes namespaces while messages are written.

    python -m experiments.bring_up.creation [SIZE] [ROUNDS]

brings up a cluster (50x10 unless told otherwise) with the child, without it, and as the C
program that is the floor, in turn, each from a drained kernel, twelve times; prints the times
and their ratios with 95 % intervals. The figures of docs/decisions/0010-namespaces-meanwhile.md
are from here.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from emulator.errors import PodwireError
from emulator.measure.drain import drained, settled, unreclaimable_kib
from emulator.report.statistics import effect, log_ratios
from emulator.report.table import Table, text
from emulator.substrate import namespaces
from experiments.bring_up import arms
from experiments.bring_up.arms import Standing
from experiments.bring_up.sizes import Size, parse

DRAIN_S = 60.0
WITH, WITHOUT, FLOOR = "with the child", "without", "C replay"
PAIRS = ((WITH, WITHOUT), (WITH, FLOOR), (WITHOUT, FLOOR))


@contextmanager
def without_child(size: Size) -> Iterator[Standing]:
    """Podwire, all namespaces made one after the other by the supervisor itself."""
    usual, namespaces.ALONE = namespaces.ALONE, sys.maxsize
    try:
        with arms.podwire(size) as standing:
            yield standing
    finally:
        namespaces.ALONE = usual


def main(arguments: list[str]) -> int:
    """Command line: the exit code of a PodwireError, its text on standard error."""
    size = parse(arguments[0] if arguments else "50x10")
    rounds = int(arguments[1]) if len(arguments) > 1 else 12
    ways = {WITH: arms.podwire, WITHOUT: without_child, FLOOR: arms.replay(arms.Traces())}
    times: dict[str, list[float]] = {way: [] for way in ways}

    def up_s(way: str) -> float:
        before = unreclaimable_kib()
        with ways[way](size) as standing:
            peak = unreclaimable_kib()
            standing.down()
        drained(before, peak, DRAIN_S)
        return standing.up_s

    try:
        settled(DRAIN_S)
        for way in ways:  # memory that is touched for the first time is slow
            up_s(way)
            settled(DRAIN_S)
        for number in range(rounds):
            for way in random.Random(number).sample(sorted(ways), len(ways)):
                times[way].append(up_s(way))
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    rows = [(way, f"{median(found):.3f}", f"{min(found):.3f}") for way, found in times.items()]
    headings = ("", "median, s", "least, s")
    print(text(Table(headings, tuple(rows), frozenset(headings[1:]))))
    for treatment, baseline in PAIRS:
        found = effect(log_ratios(times[treatment], times[baseline]))
        low, high, _ = found.interval
        print(f"{treatment} / {baseline}: {found.ratio:.2f} [{low:.2f}, {high:.2f}]")
    print(f"{rounds} rounds of {size}, Linux {os.uname().release}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
