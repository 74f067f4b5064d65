"""Is the lab what the spec says? Kernel against plan, probes against oracle."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from emulator.attachments import Attachments
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.matrix import Observation, compare, grid
from emulator.measure.probe import LONGER_S, WAITS_S, observe
from emulator.measure.whereabouts import whereabouts
from emulator.oracle import Probe, predict
from emulator.oracle.chance import Chances
from emulator.plan import Plan, deviations, natural
from emulator.plan.resources import Process
from emulator.settle import settled
from emulator.spec.resolved import ResolvedSpec
from emulator.statements import Statement, statements
from emulator.substrate.keeper import State
from emulator.substrate.kernel import Kernel

_ON_ITS_WAY_S = 1.0
_M2 = "containers of one pod share one network namespace"


class Report(NamedTuple):
    """The answer of ``verify``.

    ``deviations``: kernel state that differs from the plan, as text; ``processes``: those
    that do not run as they should; ``differences``: probes that found something else than
    predicted; ``statements``: the network model sentence by sentence, as predicted and
    found; ``grid``: the matrix of pods for the eye; ``not_predicted``: probes that
    nothing is predicted of; ``notes``: what is worth knowing and no fault
    of the lab. Times in seconds.
    """

    resources: int
    deviations: tuple[str, ...]
    processes: tuple[str, ...]
    probes: int
    differences: tuple[str, ...]
    statements: tuple[Statement, ...]
    grid: str
    kernel_s: float
    probes_s: float
    not_predicted: int = 0
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.deviations or self.processes or self.differences)


def verify(
    kernel: Kernel,
    spec: ResolvedSpec,
    addressing: Addressing,
    plan: Plan,
    faults: Sequence[Fault],
    states: Sequence[State],
    probes: bool,
    wait_s: float,
    progress: Callable[[str, int, int], None],
    attached: Attachments,
) -> Report:
    """Compare everything; of processes only where they are, since the caller knows last how they
    fare. To be called by a process in the lab that may change namespaces.

    ``wait_s``: how long daemons may take until the kernel holds what they should write.
    """
    began = time.perf_counter()
    known = [entry.resource for entry in plan]
    kept = {e.resource.key for e in plan if type(e.resource) is Process}
    daemons = any(type(r) is Process and r.role == "daemon" for r in known)

    def look() -> list[str]:
        observed = {**kernel.observe(known), **attached.observe()}
        found = [
            str(finding)
            for finding in deviations(plan, observed)
            if finding.expected is None or finding.expected.key not in kept
        ]
        return found or attached.broken(observed)

    found = settled(look, wait_s if daemons else 0.0)
    # who has just been started may be on its way
    strays = tuple(settled(lambda: _strays(kernel, states), _ON_ITS_WAY_S))
    looked = time.perf_counter()
    differences: tuple[str, ...] = ()
    sentences: tuple[Statement, ...] = ()
    count, picture, unjudged = 0, "", 0
    if probes:
        predicted = predict(spec, addressing, faults)
        progress("probing", 0, len(predicted))
        sizes = {p: e.mtu for p, e in predicted.items() if e.mtu}
        wanted = [p for p, e in predicted.items() if e.outcome != "not-probed"]
        chances, places = Chances(spec), whereabouts(spec)
        seen: dict[Probe, Observation] = {}
        for usual in dict.fromkeys((WAITS_S, LONGER_S)):  # on a real machine they are the same
            seen |= observe(
                wanted, places, kernel.enter, kernel.flush_neighbours, sizes,
                waits_s=chances.waits_s(usual, len(wanted)),
            )  # fmt: skip
            lost = {d.probe for d in compare(predicted, seen)}
            wanted = [p for p in wanted if p in lost and seen[p].outcome == "lost"]
            if not wanted:
                break
        kernel.leave()
        count = len(predicted)
        unjudged = sum(e.outcome == "not-predicted" for e in predicted.values())
        differences = tuple(str(d) for d in compare(predicted, seen))
        shared = Statement("M2", _M2, not strays, "; ".join(strays[:3]))
        judged = (*statements(spec, addressing, seen), shared)
        sentences = tuple(sorted(judged, key=lambda one: natural(one.number)))
        picture = grid(spec, predicted, seen)
    return Report(
        len(plan),
        tuple(found),
        strays,
        count,
        differences,
        sentences,
        picture,
        looked - began,
        time.perf_counter() - looked,
        unjudged,
        tuple(f"from the start: {words}" for words in attached.attacher.complaints()),
    )


def _strays(kernel: Kernel, states: Sequence[State]) -> tuple[str, ...]:
    """Processes of containers and daemons that are not in the namespace of their pod or node."""
    strays = []
    for s in states:
        try:
            own = os.stat(f"/proc/{s.pid}/ns/net").st_ino if s.pid else None
        except FileNotFoundError:
            continue  # it has just ended, which is reported elsewhere
        if own is not None and own != os.fstat(kernel.fds[s.ns]).st_ino:
            strays.append(f"{s.label}: not in the network namespace of {s.ns}")
    return tuple(strays)


def troubles(states: Sequence[State]) -> tuple[str, ...]:
    """Processes that do not run as they should, as text. A daemon that runs again does; a command
    that ends again and again is seen running only by chance."""
    out = []
    for s in states:
        if s.state == "waiting":
            so_far = f" ({_restarts(s)} so far)" if s.restarts else ""
            out.append(f"{s.label}: {_death(s)}, to be started again{so_far}")
        elif s.state == "ended" and s.code != 0:
            out.append(f"{s.label}: {_death(s)}")
        elif s.restarts and not s.daemon:
            out.append(_again(s))
    return tuple(out)


def restarted(states: Sequence[State]) -> tuple[str, ...]:
    """Daemons that run, and have not all the time, as text."""
    return tuple(_again(s) for s in states if s.daemon and s.state == "running" and s.restarts)


def _again(s: State) -> str:
    return f"{s.label}: running, after {_restarts(s)} (last {_death(s)})"


def _restarts(s: State) -> str:
    return f"{s.restarts} restart{'s' * (s.restarts != 1)}"


def _death(s: State) -> str:
    code = s.code or 0
    return f"ended with code {code}" if code >= 0 else f"killed by signal {-code}"
