"""Readiness by condition: wait until something named holds, or say that it did not.

This is the one place in the project that looks, pauses and looks again. The pause is short
and constant: what is waited for here (a socket that listens, a kernel that has drained)
comes within milliseconds, and a growing pause would add its own length to what is measured.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from emulator.errors import Problem
from emulator.measure.failure import MeasureFailed
from emulator.patience import patient
from emulator.place import Place, Running

PAUSE_S = 0.005


def pause(seconds: float) -> None:
    """Let other processes run for a moment."""
    select.poll().poll(max(1, round(seconds * 1000)))


def until(
    condition: Callable[[], bool],
    deadline_s: float,
    describe: str,
    *,
    place: str = "lab",
    clock: Callable[[], float] = time.monotonic,
    idle: Callable[[float], None] = pause,
) -> float:
    """Return the seconds that it took for ``condition`` to hold.

    ``describe`` names the condition ("tcp port 5201 listens"). It is looked at once before
    any pause and once after the deadline. MeasureFailed, a PodwireError, when it never held.
    """
    begin, deadline_s = clock(), patient(deadline_s)
    while True:
        late = clock() - begin >= deadline_s
        if condition():
            return clock() - begin
        if late:
            raise MeasureFailed(Problem(place, f"not so after {deadline_s:g} s", describe))
        idle(PAUSE_S)


def listening(
    place: Place,
    protocol: str,
    port: int,
    *,
    deadline_s: float = 5.0,
    server: Running | None = None,
) -> float:
    """Wait until a ``tcp`` or ``udp`` socket of the place listens on the port.

    With ``server``, its early end fails at once, with what it wrote, instead of at the deadline.
    """

    def ready() -> bool:
        if place.listening(protocol, port):
            return True
        if server is not None and server.poll() is not None:
            ended = server.wait(1.0)
            said = (ended.stderr.strip() or ended.stdout.strip()).decode(errors="replace")[:400]
            raise MeasureFailed(
                Problem(
                    place.name,
                    f"{ended.argv[0]} ended with {ended.returncode}: {said or 'no message'}",
                    f"it listens on {protocol} port {port}",
                )
            )
        return False

    return until(ready, deadline_s, f"{protocol} port {port} listens", place=place.name)


def elapse(seconds: float, running: Running | None = None) -> float:
    """Let a window of measurement pass, while ``running`` runs; the seconds that it really took.

    MeasureFailed when the process ended within the window.
    """

    def passed() -> bool:
        if running is not None and running.poll() is not None:
            raise MeasureFailed(
                f"process {running.pid} ended within a window of {seconds:g} s with "
                f"{running.poll()}"
            )
        return time.monotonic() - begin >= seconds

    begin = time.monotonic()
    return until(passed, seconds + 60, f"a window of {seconds:g} s has passed")
