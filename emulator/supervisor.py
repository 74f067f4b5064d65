"""The life of a lab, from process 1 of its namespaces: build it, and serve it to its end.

Whatever only reads runs in a forked child, so that a long verify does not keep others waiting;
whatever changes runs here, one after the other.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from emulator import ipam
from emulator.errors import PodwireError, Problem
from emulator.plan import Plan
from emulator.spec.resolved import ResolvedSpec
from emulator.standing import Standing
from emulator.substrate import control, keeper
from emulator.substrate.kernel import Kernel
from emulator.substrate.lab import Start
from emulator.substrate.sandbox import FILES, NAMES, PROCFS

_CLIENT_S = 10.0


class Supervisor:
    """Process 1 of one lab."""

    def __init__(self, spec: ResolvedSpec, plan: Plan) -> None:
        self._wanted = spec, ipam.allocate(spec), plan

    def run(self, start: Start) -> None:
        """Build the lab, say so, and serve until it is told to end."""
        entered = time.perf_counter()
        kernel = Kernel(NAMES, FILES)
        kernel.fresh_procfs_at(PROCFS)
        kept = keeper.Keeper(kernel.enter, start.open_files, kernel.secrets.reveal)
        self.lab = Standing(*self._wanted, kernel, kept)
        self.lab.build(entered, start.progress, self._states_now)
        self.lab.timings = {
            "world_s": entered - start.began,
            **self.lab.timings,
            "ready_s": time.perf_counter() - start.began,
        }
        start.ready({"timings": self.lab.timings, "addressing": self.lab.addressing})
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
                self.lab.keeper.restart_due()
                for key, _ in selector.select(self.lab.keeper.due_in()):
                    if key.fileobj is woken:
                        with contextlib.suppress(BlockingIOError):
                            woken.recv(4096)
                    else:
                        self._answer(listener)

    def _states_now(self) -> Sequence[keeper.State]:
        self._reap()
        self.lab.keeper.restart_due()
        return self.lab.keeper.states()

    def _reap(self) -> None:
        while True:
            try:
                gone = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if gone is None:
                return
            self.lab.keeper.ending(gone.si_pid)
            self.lab.keeper.ended(*os.waitpid(gone.si_pid, 0))

    def _answer(self, listener: socket.socket) -> None:
        """One request. Whatever goes wrong with it, the lab lives on."""
        try:
            link, _ = listener.accept()
            with link:
                self._attend(link)
        except Exception:
            traceback.print_exc()

    def _attend(self, link: socket.socket) -> None:
        lab = self.lab
        readers: dict[str, Callable[..., Any]] = {
            "facts": lab.facts,
            "verify": lambda probes, wait_s: lab.verify(probes, wait_s, _teller(link)),
            "plan": lab.text,
            "observed": lab.observed,
            "cables": lab.cables,
            "preview": lab.preview,
        }
        writers: dict[str, Callable[..., Any]] = {
            "apply": lab.apply,
            "fail": lab.fail,
            "heal": lab.heal,
            "cni": lab.cni,
        }
        # who does not send, or does not read, must not keep everybody else waiting
        link.settimeout(_CLIENT_S)
        if not control.same_user(link):
            return
        try:
            verb, arguments = control.receive(link)
        except PodwireError as error:
            control.send(link, ("error", error))
            return
        if verb in readers:
            self._in_child(link, readers[verb], arguments)
        elif verb in writers:
            _reply(link, writers[verb], arguments)
        else:
            control.send(link, ("error", PodwireError(f"unknown request {verb!r}")))

    def _in_child(
        self, link: socket.socket, action: Callable[..., Any], arguments: Sequence[Any]
    ) -> None:
        try:
            child = os.fork()
        except OSError as error:
            failed = Problem("a helper process", error.strerror or "", "a fork of the supervisor")
            control.send(link, ("error", PodwireError(failed)))
            return
        if child:
            return
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            link.settimeout(None)
            self.lab.kernel.after_fork()
            _reply(link, action, arguments)
        finally:
            os._exit(0)


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
        answer = ("error", PodwireError(f"supervisor: {traceback.format_exc()}"))
    control.send(link, answer)
