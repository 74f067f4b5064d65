"""How long a running cluster takes to become another, and whether anything is left behind.

    python -m experiments.bring_up.changing switch [SIZE] [ROUNDS]
    python -m experiments.bring_up.changing pods [TIMES]

``switch`` turns a cluster (10x10 unless told otherwise) from flannel vxlan to host-gw and back,
twelve times, and compares after each switch what the kernel holds with the plan: an object that
is too many is counted. ``pods`` takes a pod more and a pod less, a thousand times, and compares
what the lab's supervisor holds after a tenth of it with the end.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from emulator.cluster import Cluster
from emulator.errors import PodwireError
from emulator.measure.wait import pause
from emulator.report.table import Table, text
from emulator.spec import load_text
from emulator.spec.resolved import ResolvedSpec
from experiments.bring_up.sizes import parse


class Held(NamedTuple):
    """What the supervisor of a lab holds."""

    descriptors: int
    mounts: int
    files: int
    processes: int
    memory_kib: int


def held(pid: int) -> Held:
    """By its process number on the host; a moment later, when it has let its caller go."""
    pause(0.05)
    own = Path(f"/proc/{pid}")
    status = (own / "status").read_text()
    return Held(
        descriptors=len(os.listdir(own / "fd")),
        mounts=len((own / "mountinfo").read_text().splitlines()),
        files=sum(len(files) for _, _, files in os.walk(own / "root/run")),
        processes=len((own / f"task/{pid}/children").read_text().split()),
        memory_kib=int(status.partition("VmRSS:")[2].split()[0]),
    )


def switch(size: str, rounds: int) -> Table:
    """A row for each direction: seconds, and objects that verify did not expect."""
    before = _spec(size)
    network = before.network
    after = before._replace(network=network._replace(backend="host-gw"))
    ways = {"vxlan to host-gw": after, "host-gw to vxlan": before}
    times: dict[str, list[float]] = {way: [] for way in ways}
    left = dict.fromkeys(ways, 0)
    with Cluster(before, f"changing-{os.getpid()}") as cluster:
        for _ in range(rounds):
            for way, wanted in ways.items():
                began = time.perf_counter()
                cluster.apply(wanted)
                times[way].append(time.perf_counter() - began)
                left[way] += len(cluster.verify(probes=False).deviations)
    rows = tuple(
        (way, f"{median(found):.3f}", f"{max(found):.3f}", str(left[way]))
        for way, found in times.items()
    )
    headings = (f"{size}, {rounds} rounds", "median, s", "most, s", "deviations after")
    return Table(headings, rows, frozenset(headings[1:]))


def pods(times: int, tell: Callable[[str], None] = lambda text: None) -> tuple[Held, Held, float]:
    """(held after a tenth of the changes, held at the end, milliseconds for each change)."""
    less = _spec("2x2")
    more = _one_more(less)
    early, done = max(2, times // 10 // 2 * 2), times // 2 * 2
    with Cluster(less, f"changing-{os.getpid()}") as cluster:
        began = time.perf_counter()
        for number in range(done):
            if number == early:
                first = held(cluster.world.pid)
            if number % 100 == 0:
                tell(f"{number} of {done}")
            cluster.apply(less if number % 2 else more)
        spent_ms = (time.perf_counter() - began) / done * 1e3
        return first, held(cluster.world.pid), spent_ms


def _spec(size: str) -> ResolvedSpec:
    return load_text(parse(size).yaml())


def _one_more(less: ResolvedSpec) -> ResolvedSpec:
    last = less.pods[-1]
    return less._replace(pods=(*less.pods, last._replace(name=f"{last.name}-more")))


def main(arguments: list[str]) -> int:
    """Command line: the exit code of a PodwireError, its text on standard error."""
    try:
        match arguments:
            case ["switch", *rest]:
                size, rounds, *_ = [*rest, *("10x10", "12")[len(rest) :]]
                print(text(switch(size, int(rounds))))
            case ["pods", *rest]:
                first, last, spent_ms = pods(
                    int(rest[0]) if rest else 1000, lambda words: print(words, file=sys.stderr)
                )
                print(f"held by the supervisor: {first}\nand at the end:         {last}")
                print(f"{spent_ms:.0f} ms for each change")
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
