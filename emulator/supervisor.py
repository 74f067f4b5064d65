"""The life of a lab, from process 1 of its namespaces: build, serve, change, report.

It holds the one truth about the lab: the resolved spec, the faults laid over it, the
plan that follows from both. Whatever only reads runs in a forked child, so that a long
verify does not keep others waiting; whatever changes runs here, one after the other.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from emulator import ipam
from emulator.compile import compile_spec
from emulator.degrade import degraded
from emulator.errors import PodwireError, Problem
from emulator.faults import Fault
from emulator.plan import Op, Plan, deviations, diff
from emulator.plan.resources import Process
from emulator.plan.text import line
from emulator.spec.resolved import ResolvedSpec
from emulator.stations import cables, stations
from emulator.substrate import control, keeper
from emulator.substrate.kernel import Kernel
from emulator.substrate.lab import Start
from emulator.substrate.mininet import view
from emulator.substrate.sandbox import FILES, NAMES, PROCFS
from emulator.verify import Report, verify


class Facts(NamedTuple):
    """What a lab says of itself."""

    spec: ResolvedSpec
    faults: tuple[Fault, ...]
    processes: tuple[keeper.State, ...]
    plan_digest: str
    timings: dict[str, float]
    began: float


class Supervisor:
    """One lab."""

    def __init__(self, spec: ResolvedSpec, plan: Plan) -> None:
        self.spec = spec
        self.addressing = ipam.allocate(spec)
        self.plan = plan
        self.faults: tuple[Fault, ...] = ()
        self.timings: dict[str, float] = {}
        self.began = time.time()

    def run(self, start: Start) -> None:
        """Build the lab, say so, and serve until it is told to end."""
        entered = time.perf_counter()
        self.kernel = Kernel(NAMES, FILES)
        self.kernel.fresh_procfs_at(PROCFS)
        self.keeper = keeper.Keeper(self.kernel.enter)
        self.kernel.apply(diff(self.plan, {}), start.progress)
        applied = time.perf_counter()
        self.mininet = view(stations(self.spec), cables(self.spec, self.plan))
        viewed = time.perf_counter()
        for entry in self.plan:
            if type(entry.resource) is Process:
                self.keeper.start(entry.resource)
        done = time.perf_counter()
        self.timings = {
            "world_s": entered - start.began,
            "apply_s": applied - entered,
            "mininet_s": viewed - applied,
            "processes_s": done - viewed,
            "ready_s": done - start.began,
        }
        start.ready({"timings": self.timings})
        self._serve(start.control)

    # --- serving --------------------------------------------------------------------

    def _serve(self, listener: socket.socket) -> None:
        woken, waker = socket.socketpair()
        waker.setblocking(False)
        woken.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                self._reap()
                self.keeper.restart_due()
                for key, _ in selector.select(self.keeper.due_in()):
                    if key.fileobj is woken:
                        with contextlib.suppress(BlockingIOError):
                            woken.recv(4096)
                    else:
                        link, _ = listener.accept()
                        with link:
                            self._answer(link)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.keeper.ended(pid, status)

    def _answer(self, link: socket.socket) -> None:
        link.settimeout(10.0)
        try:
            if not control.same_user(link):
                return
            verb, arguments = control.receive(link)
            link.settimeout(None)
            readers: dict[str, Callable[..., Any]] = {
                "verify": self.verify,
                "plan": lambda: self._current().text(),
                "observed": self.observed,
            }
            writers: dict[str, Callable[..., Any]] = {
                "facts": self.facts,
                "apply": self.apply,
                "faults": self.set_faults,
                "restart": self.restart,
            }
            if verb == "down":
                control.send(link, ("result", None))
                os._exit(0)
            if verb in readers:
                if os.fork() == 0:
                    self._in_child(link, readers[verb], arguments)
            elif verb in writers:
                _reply(link, writers[verb], arguments)
            else:
                control.send(link, ("error", PodwireError(f"unknown request {verb!r}")))
        except (OSError, EOFError) as error:
            print(f"control: {error}", file=sys.stderr, flush=True)

    def _in_child(
        self, link: socket.socket, action: Callable[..., Any], arguments: Sequence[Any]
    ) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.kernel.after_fork()
        try:
            _reply(
                link, action, (*arguments, _teller(link)) if action == self.verify else arguments
            )
        finally:
            os._exit(0)

    # --- what can be asked ----------------------------------------------------------

    def facts(self) -> Facts:
        """The lab as it is now."""
        return Facts(
            self.spec,
            self.faults,
            tuple(self.keeper.states()),
            self.plan.digest(),
            self.timings,
            self.began,
        )

    def verify(self, probes: bool, progress: Callable[[str, int, int], None]) -> Report:
        """Kernel against plan, probes against oracle, processes against what should run."""
        return verify(
            self.kernel,
            self.spec,
            self.addressing,
            self._current(),
            self.faults,
            tuple(self.keeper.states()),
            probes,
            progress,
        )

    def observed(self) -> str:
        """The state of the kernel as text, in the form of a plan."""
        found = Plan()
        for resource in self.kernel.observe([e.resource for e in self.plan]).values():
            found.add([resource], "observed")
        return found.text()

    def apply(self, spec: ResolvedSpec) -> list[str]:
        """Change the lab into another cluster; returns the operations as text."""
        plan = compile_spec(spec)
        before = self._current()
        known = [*before, *plan]
        ops = self._converge(plan, before, [e.resource for e in known])
        self.spec, self.plan, self.faults = spec, plan, ()
        self.addressing = ipam.allocate(spec)
        self.mininet.stop()
        self.mininet = view(stations(spec), cables(spec, plan))
        return ops

    def set_faults(self, faults: tuple[Fault, ...]) -> list[str]:
        """Lay these faults, and no others, over the cluster."""
        before = self._current()
        after = degraded(self.plan, faults)
        ops = self._converge(after, before, [e.resource for e in [*before, *after]])
        self.faults = faults
        return ops

    def restart(self, ns: str, name: str) -> list[str]:
        """Start a container's process anew; its pod, and so its address, stays."""
        for entry in self.plan:
            r = entry.resource
            if type(r) is Process and (r.ns, r.name) == (ns, name):
                self.keeper.stop(r)
                self.keeper.start(r)
                return [f"~ {line(r)}"]
        raise PodwireError(Problem(f"{ns}: {name}", "no such process", "a container's command"))

    def _current(self) -> Plan:
        return degraded(self.plan, self.faults) if self.faults else self.plan

    def _converge(self, desired: Plan, owned: Plan, known: Iterable[Any]) -> list[str]:
        """Observe, compare, apply, until nothing is left to do."""
        asked = list(known)
        done: list[str] = []
        for _ in range(3):
            observed = dict(self.kernel.observe(asked))
            for entry in owned:
                if type(entry.resource) is Process:
                    observed[entry.resource.key] = entry.resource
            ops = [op for op in diff(desired, observed, owned) if not self._absent(op)]
            if not ops:
                return done
            done += [str(op) for op in ops]
            self._carry_out(ops)
            owned = desired
        left = [
            str(op)
            for op in diff(desired, self.kernel.observe(asked), desired)
            if op.resource.kind != "process" and not self._absent(op)
        ]
        if left:
            raise PodwireError(
                Problem("apply", "still to do after three rounds: " + "; ".join(left), "nothing")
            )
        return done

    @staticmethod
    def _absent(op: Op) -> bool:
        """A sysctl that the kernel may lack, and lacks: nothing to set."""
        return op.action == "create" and getattr(op.resource, "if_present", False)

    def _carry_out(self, ops: list[Op]) -> None:
        for op in ops:
            if type(op.resource) is Process and op.action == "delete":
                self.keeper.stop(op.resource)
        self.kernel.apply(ops)
        for op in ops:
            if type(op.resource) is Process and op.action == "create":
                self.keeper.start(op.resource)


def _teller(link: socket.socket) -> Callable[[str, int, int], None]:
    def tell(what: str, done: int, total: int) -> None:
        with contextlib.suppress(OSError):
            control.send(link, ("progress", (what, done, total)))

    return tell


def _reply(link: socket.socket, action: Callable[..., Any], arguments: Sequence[Any]) -> None:
    try:
        answer: tuple[str, Any] = ("result", action(*arguments))
    except PodwireError as error:
        answer = ("error", error)
    except Exception:  # a fault of ours: the caller sees it, the lab lives on
        import traceback

        answer = ("error", PodwireError(f"supervisor: {traceback.format_exc()}"))
    control.send(link, answer)


__all__ = ["Facts", "Supervisor", "deviations"]
