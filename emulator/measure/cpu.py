"""CPU time of the whole machine between two looks at ``/proc/stat``.

The whole machine, since most of what a pod network costs is spent in softirq context, which
belongs to no process of the measurement.

Two clocks stand in that file. The kinds of busy time are counted by sampling at each tick of the
timer, and a sender that is paced by a timer runs in step with the ticks: such a count can be
wrong by half. Idle time is the true time that a CPU was in the idle loop, interrupts and
softirqs taken out. So the busy time used here is the time that passed less the idle time; the
kinds only say what it was made of. Both are printed in ticks (10 ms), for each CPU.
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

    def since(self, before: Times) -> Times:
        """What was spent in between. Idle and iowait can run backwards by a tick: that is 0."""
        return Times(*(max(now - then, 0.0) for now, then in zip(self, before, strict=True)))


class Snapshot(NamedTuple):
    """The machine's times, together and for each CPU by its number, at ``clock_s``."""

    clock_s: float
    total: Times
    cpus: Mapping[int, Times]


class Spent(NamedTuple):
    """What was spent in a window; ``kinds`` and ``idle_s`` are sums over all CPUs."""

    window_s: float
    busy_s_by_cpu: Mapping[int, float]
    idle_s: float
    kinds: Times

    @property
    def busy_s(self) -> float:
        """All that was not idle: user, system, irq, softirq and stolen time."""
        return sum(self.busy_s_by_cpu.values())

    @property
    def all_s(self) -> float:
        """The time that all CPUs together had."""
        return self.window_s * len(self.busy_s_by_cpu)

    def as_detail(self) -> dict[str, object]:
        """For the detail of a sample."""
        return {
            "window_s": self.window_s,
            "busy_s_by_cpu": {str(number): busy for number, busy in self.busy_s_by_cpu.items()},
            "sampled_s": self.kinds._asdict(),
        }


def read_proc_stat() -> str:
    """The text of ``/proc/stat``; it is the whole machine's in every namespace."""
    return Path("/proc/stat").read_text()


def parse(clock_s: float, text: str, ticks_per_s: int | None = None) -> Snapshot:
    """Read ``/proc/stat`` as it was at ``clock_s`` (of any steady clock).

    MeasureFailed when a line of a CPU is missing or too short.
    """
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
    return Snapshot(clock_s, total, cpus)


def between(before: Snapshot, after: Snapshot) -> Spent:
    """What was spent between two looks.

    MeasureFailed when CPUs came or went, or when no time passed.
    """
    window_s = after.clock_s - before.clock_s
    if before.cpus.keys() != after.cpus.keys():
        raise MeasureFailed(f"CPUs changed from {list(before.cpus)} to {list(after.cpus)}")
    if window_s <= 0:
        raise MeasureFailed(f"a window of {window_s} s")
    grown = {number: after.cpus[number].since(before.cpus[number]) for number in after.cpus}
    idle = {number: times.idle + times.iowait for number, times in grown.items()}
    return Spent(
        window_s,
        {number: max(window_s - idle_s, 0.0) for number, idle_s in idle.items()},
        sum(min(idle_s, window_s) for idle_s in idle.values()),
        after.total.since(before.total),
    )
