"""CPU time of the whole machine between two looks at ``/proc/stat``.

The whole machine, since most of what a pod network costs is spent in softirq context, which
belongs to no process of the measurement. The kernel counts in ticks (10 ms mostly): a window of
two seconds on two CPUs resolves 0.25 %.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from emulator.measure.failure import MeasureFailed


class Times(NamedTuple):
    """Seconds since the start of the machine, by kind. Time of guests is within user and nice."""

    user: float
    nice: float
    system: float
    idle: float
    iowait: float
    irq: float
    softirq: float
    steal: float

    @property
    def busy_s(self) -> float:
        """All that is not idle; stolen time is busy: nobody here could use it."""
        return self.user + self.nice + self.system + self.irq + self.softirq + self.steal

    @property
    def all_s(self) -> float:
        """Busy and idle together."""
        return sum(self)

    def since(self, before: Times) -> Times:
        """What was spent in between. Idle and iowait can run backwards by a tick: that is 0."""
        return Times(*(max(now - then, 0.0) for now, then in zip(self, before, strict=True)))


class Snapshot(NamedTuple):
    """The machine's times, together and for each CPU by its number."""

    total: Times
    cpus: Mapping[int, Times]


def read_proc_stat() -> str:
    """The text of ``/proc/stat``; it is the whole machine's in every namespace."""
    return Path("/proc/stat").read_text()


def parse(text: str, ticks_per_s: int | None = None) -> Snapshot:
    """Read ``/proc/stat``; MeasureFailed when a line of a CPU is missing or too short."""
    ticks = ticks_per_s if ticks_per_s is not None else os.sysconf("SC_CLK_TCK")
    total: Times | None = None
    cpus: dict[int, Times] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if not name.startswith("cpu"):
            continue
        try:
            times = Times(*(int(field) / ticks for field in rest.split()[:8]))
            if name == "cpu":
                total = times
            else:
                cpus[int(name[3:])] = times
        except (TypeError, ValueError, OverflowError) as error:
            raise MeasureFailed(f"/proc/stat has a line {line[:100]!r}") from error
    if total is None or not cpus:
        raise MeasureFailed(f"/proc/stat has no CPU lines; it begins with {text[:80]!r}")
    return Snapshot(total, cpus)


def between(before: Snapshot, after: Snapshot) -> Snapshot:
    """What was spent between two looks; MeasureFailed when CPUs came or went."""
    if before.cpus.keys() != after.cpus.keys():
        raise MeasureFailed(f"CPUs changed from {list(before.cpus)} to {list(after.cpus)}")
    return Snapshot(
        after.total.since(before.total),
        {number: after.cpus[number].since(before.cpus[number]) for number in after.cpus},
    )


def as_detail(spent: Snapshot) -> dict[str, object]:
    """For the detail of a sample: seconds by kind, and busy seconds by CPU."""
    return {
        "cpu_s": spent.total._asdict(),
        "busy_s_by_cpu": {str(number): times.busy_s for number, times in spent.cpus.items()},
    }
