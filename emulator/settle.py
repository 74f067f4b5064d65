"""Waiting for daemons: until the kernel holds what they are expected to write.

A daemon converges by itself and in its own time.  What is waited for is the plan; what is
still missing at the deadline is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from emulator.errors import PodwireError, Problem
from emulator.measure.wait import pause
from emulator.patience import patient
from emulator.plan import Finding, Plan, deviations
from emulator.plan.check import told
from emulator.plan.resources import Process
from emulator.substrate.keeper import State, log_path
from emulator.substrate.kernel import Kernel

T = TypeVar("T")

UP_S = 60.0
"""How long ``up`` waits for daemons."""
_LOOK_S = 0.02
_TAIL_B = 2000


def expected(plan: Plan) -> Plan:
    """The part of a plan that daemons write."""
    part = Plan()
    for entry in plan:
        if entry.owner == "expected":
            part.keep(entry)
    return part


def daemons(plan: Plan) -> set[str]:
    """The programs that the daemons of a plan are."""
    return {one.argv[0] for one in _daemons(plan).values()}


def _daemons(plan: Plan) -> dict[tuple[str, str], Process]:
    return {
        (r.ns, r.name): r
        for entry in plan
        if type(r := entry.resource) is Process and r.role == "daemon"
    }


def settled(
    look: Callable[[], Sequence[T]],
    seconds: float,
    tick: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    idle: Callable[[float], None] = pause,
) -> Sequence[T]:
    """Look until nothing is found, or until the deadline; what was found last.

    ``tick`` is called before each look, and may raise.
    """
    begin, seconds = clock(), patient(seconds)
    while True:
        now = clock()
        late = now - begin >= seconds
        tick()
        found = look()
        if not found or late:
            return found
        idle(max(_LOOK_S, clock() - now))  # half of the time is for those who are waited for


def await_daemons(
    kernel: Kernel,
    plan: Plan,
    states: Callable[[], Sequence[State]],
    seconds: float = UP_S,
) -> None:
    """Wait until everything that is expected is there.

    ``states`` gives the processes as they are now. PodwireError, with the end of its log, as
    soon as a daemon ends; and with what is missing at the deadline.
    """
    theirs = expected(plan)
    running = _daemons(plan)
    places = sorted({entry.resource.ns for entry in theirs})
    known = [entry.resource for entry in theirs]

    def look() -> list[Finding]:
        return [one for one in deviations(theirs, kernel.observe(known, places)) if one.expected]

    def alive() -> None:
        for state in states():
            wanted = running.get((state.ns, state.name))
            if wanted and state.code is not None:
                raise PodwireError(_ended(kernel, wanted, state))

    alive()
    left = settled(look, seconds, alive)
    if left:
        hint = "podwire verify looks again; the daemon's log is in its node's /var/log"
        raise PodwireError(
            *told(
                [
                    Problem(str(one).partition("\n")[0], f"not so after {seconds:g} s",
                            "what a daemon writes", hint)
                    for one in left
                ]
            ),
            *_last_words(kernel, theirs, left, running),
        )  # fmt: skip


def _last_words(
    kernel: Kernel,
    theirs: Plan,
    left: Sequence[Finding],
    running: Mapping[tuple[str, str], Process],
) -> Iterator[Problem]:
    """Of the first daemon that has not written what it should."""
    for one in left:
        found = one.expected and theirs.entries[one.expected.key]
        wanted = found and running.get((found.resource.ns, found.writer))
        if wanted:
            said = f"runs, and has said last:\n{_tail(kernel, wanted)}"
            yield Problem(f"{wanted.ns}: {wanted.name}", said, "a daemon that succeeds")
            return


def _ended(kernel: Kernel, wanted: Process, state: State) -> Problem:
    code = state.code or 0
    how = f"ended with code {code}" if code >= 0 else f"killed by signal {-code}"
    return Problem(
        f"{wanted.ns}: {wanted.name} ({' '.join(wanted.argv)})",
        f"{how}: {_tail(kernel, wanted)}",
        "a daemon that runs",
    )


def _tail(kernel: Kernel, wanted: Process) -> str:
    path = kernel.spaces.file(wanted.ns, log_path(wanted))
    try:
        text = path.read_bytes()[-_TAIL_B:].decode(errors="replace").strip()
    except FileNotFoundError:
        text = ""
    return text or "it said nothing"
