"""Bringing up every mode without daemons, against the same state by the C program.

    python -m experiments.bring_up.modes [SIZE] [ROUNDS] [PLUGIN[:BACKEND] …]

brings up a cluster (50x10 unless told otherwise) under each mode that needs no daemon, and
replays what that asked of the kernel, in turn, each from a drained kernel, eight times; prints
the times and the ratio with its 95 % interval for each mode.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterable, Iterator
from statistics import median
from typing import NamedTuple

from emulator.cni.options import PLUGINS
from emulator.compile import compile_spec
from emulator.errors import PodwireError
from emulator.measure.drain import drained, settled, unreclaimable_kib
from emulator.report.statistics import effect, log_ratios
from emulator.report.table import Table, text
from emulator.settle import daemons
from emulator.spec import load_text
from experiments.bring_up import arms
from experiments.bring_up.sizes import Size, parse

DRAIN_S = 60.0


class Mode(NamedTuple):
    """A plugin and its backend, if it has any."""

    plugin: str
    backend: str

    def __str__(self) -> str:
        return ":".join(filter(None, self))

    def of(self, size: Size) -> Size:
        """A cluster of that size under this mode."""
        backend = f", backend: {self.backend}" if self.backend else ""
        return size._replace(network=f"{{plugin: {self.plugin}{backend}}}")


_ELSEWHERE = {"tunnel", "geneve", "wireguard"}
"""Kinds of devices that many a kernel lacks."""


def without_daemons() -> Iterator[Mode]:
    """Every mode with a pod network of its own and nothing that runs, in the table's order.

    Not ``cni``: what somebody's binaries do is no state that the C program could replay. Nor what
    needs a device of ``_ELSEWHERE``.
    """
    for plugin, row in PLUGINS.items():
        for backend in row.backends if row.pod_network and plugin != "cni" else ():
            mode = Mode(plugin, backend)
            plan = compile_spec(load_text(mode.of(parse("2x1")).yaml()))
            if not daemons(plan) and not {entry.resource.kind for entry in plan} & _ELSEWHERE:
                yield mode


def ratios(
    size: Size, rounds: int, modes: Iterable[Mode]
) -> Iterator[tuple[Mode, list[float], list[float]]]:
    """Each mode with the seconds of Podwire and of the replay, a pair for each round."""
    for mode in modes:
        wanted = mode.of(size)
        ways = {"podwire": arms.podwire, "replay": arms.replay(arms.Traces())}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(-1, rounds):  # memory that is touched for the first time is slow
            for way in random.Random(number).sample(sorted(ways), len(ways)):
                settled(DRAIN_S)
                before = unreclaimable_kib()
                with ways[way](wanted) as standing:
                    peak = unreclaimable_kib()
                    standing.down()
                drained(before, peak, DRAIN_S)
                if number >= 0:
                    times[way].append(standing.up_s)
        yield mode, times["podwire"], times["replay"]


def main(arguments: list[str]) -> int:
    """Command line: the exit code of a PodwireError, its text on standard error."""
    size, rounds, *_ = [*arguments[:2], *("50x10", "8")[len(arguments) :]]
    modes = [Mode(*(*word.split(":"), "")[:2]) for word in arguments[2:]] or without_daemons()
    rows = []
    try:
        for mode, ours, floor in ratios(parse(size), int(rounds), modes):
            found = effect(log_ratios(ours, floor))
            low, high, _ = found.interval
            row = (str(mode), f"{median(ours):.3f}", f"{median(floor):.3f}")
            rows.append((*row, f"{found.ratio:.2f}", f"[{low:.2f}, {high:.2f}]"))
            print(" ".join(rows[-1]), file=sys.stderr)
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    headings = (f"{size}, {rounds} rounds", "podwire, s", "replay, s", "ratio", "95 %")
    print(text(Table(headings, tuple(rows), frozenset(headings[1:]))))
    print(f"Linux {os.uname().release}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
