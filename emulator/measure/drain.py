"""Whether the kernel has freed what the last lab held.

Taking a lab down returns at once, and its namespaces are invisible at once; a kernel worker
frees them afterwards, for seconds, on one of the CPUs that the next measurement wants. The
gauge is ``SUnreclaim`` of /proc/meminfo. It stands nearly still for most of that time and
falls at the end: only its return to the level from before says that the worker is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from emulator.measure.wait import until

_SLACK_KIB = 512
_SLACK_SHARE = 0.05


def meminfo(field: str, path: Path = Path("/proc/meminfo")) -> int:
    """A field of /proc/meminfo in KiB: ``SUnreclaim``, ``MemAvailable``. KeyError."""
    for row in path.read_text().splitlines():
        name, _, value = row.partition(":")
        if name == field:
            return int(value.split()[0])
    raise KeyError(field)


def unreclaimable_kib() -> int:
    """Slab memory that is in use, in KiB."""
    return meminfo("SUnreclaim")


def drained(
    before_kib: int,
    peak_kib: int,
    deadline_s: float,
    *,
    gauge: Callable[[], int] = unreclaimable_kib,
) -> float:
    """Wait until what a lab added is gone again: the seconds that it took.

    ``before_kib`` is the gauge before the lab was made and ``peak_kib`` with the lab; gone
    means within 512 KiB and a twentieth of the difference. MeasureFailed past the deadline.
    """
    goal = before_kib + _SLACK_KIB + max(0, round((peak_kib - before_kib) * _SLACK_SHARE))
    return until(
        lambda: gauge() <= goal,
        deadline_s,
        f"SUnreclaim is back at {goal} KiB ({before_kib} before the lab, {peak_kib} with it)",
        place="kernel",
    )


def settled(
    deadline_s: float,
    quiet_s: float = 3.0,
    *,
    gauge: Callable[[], int] = unreclaimable_kib,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Wait until nothing has been freed for ``quiet_s``, where no level from before is known.

    The seconds that it took. MeasureFailed past the deadline.
    """
    lowest, since = gauge(), clock()

    def quiet() -> bool:
        nonlocal lowest, since
        now, level = clock(), gauge()
        if level < lowest - _SLACK_KIB:
            lowest, since = level, now
        return now - since >= quiet_s

    return until(
        quiet, deadline_s, f"SUnreclaim has not fallen for {quiet_s:g} s", place="kernel",
        clock=clock,
    )  # fmt: skip
