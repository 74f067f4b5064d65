"""What it saves that a child makes namespaces while messages are written.

    python -m experiments.bring_up.creation [SIZE] [ROUNDS]

brings up a cluster (50x10 unless told otherwise) with the child and without it, in turn, each
from a drained kernel, twelve times, and prints the times and their ratio. The figures of
docs/decisions/0010-namespaces-meanwhile.md are from here.
"""

from __future__ import annotations

import os
import random
import sys
from statistics import median

from emulator.errors import PodwireError
from emulator.measure.drain import drained, settled, unreclaimable_kib
from emulator.report.statistics import effect, log_ratios
from emulator.report.table import Table, text
from emulator.substrate import namespaces
from experiments.bring_up import arms
from experiments.bring_up.sizes import Size, parse

DRAIN_S = 60.0
WAYS = {"with a child": namespaces.ALONE, "without": sys.maxsize}
"""Each by the number of namespaces that are made without a child."""


def up_s(size: Size, alone: int) -> float:
    """One lab from a drained kernel: the seconds until it was up. PodwireError."""
    usual, namespaces.ALONE = namespaces.ALONE, alone
    before = unreclaimable_kib()
    try:
        with arms.podwire(size) as standing:
            peak = unreclaimable_kib()
    finally:
        namespaces.ALONE = usual
    drained(before, peak, DRAIN_S)
    return standing.up_s


def main(arguments: list[str]) -> int:
    """Command line: the exit code of a PodwireError, its text on standard error."""
    size = parse(arguments[0] if arguments else "50x10")
    rounds = int(arguments[1]) if len(arguments) > 1 else 12
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        settled(DRAIN_S)
        up_s(size, namespaces.ALONE)  # memory that is touched for the first time is slow
        for number in range(rounds):
            for way in random.Random(number).sample(sorted(WAYS), len(WAYS)):
                times[way].append(up_s(size, WAYS[way]))
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    rows = [(way, f"{median(found):.3f}", f"{min(found):.3f}") for way, found in times.items()]
    print(text(Table(("way", "median, s", "least, s"), tuple(rows), frozenset(("median, s",)))))
    found = effect(log_ratios(*times.values()))
    low, high, _ = found.interval
    print(f"with a child / without: {found.ratio:.3f} [{low:.3f}, {high:.3f}]")
    print(f"{rounds} rounds of {size}, Linux {os.uname().release}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
