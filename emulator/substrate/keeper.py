"""The processes that a lab keeps running: containers' commands, and later daemons.

A container that ends is started again as its pod's restart policy says: at once the
first time, then after 10, 20, 40, … seconds up to five minutes, as a kubelet does. How
often, and with which code it ended, is part of what ``ls`` and ``verify`` report.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from emulator.plan.resources import Process
from emulator.substrate import libc
from emulator.substrate.sandbox import FILES, private_files

_FIRST_PAUSE_S = 10.0
_LONGEST_PAUSE_S = 300.0


class State(NamedTuple):
    """A kept process: ``running``, ``waiting`` (to be started again) or ``ended``."""

    ns: str
    name: str
    state: str
    pid: int
    restarts: int
    code: int | None


class _Kept:
    def __init__(self, wanted: Process) -> None:
        self.wanted = wanted
        self.pid = 0
        self.restarts = 0
        self.code: int | None = None
        self.due: float | None = None


class Keeper:
    """Starts, watches and ends processes. One per lab, in its supervisor."""

    def __init__(self, enter: Callable[[str], None]) -> None:
        """``enter`` puts the calling process into a network namespace of the lab."""
        self._enter = enter
        self._kept: dict[tuple[str, str], _Kept] = {}

    def start(self, wanted: Process) -> None:
        """Start a process and keep it."""
        kept = self._kept[wanted.ns, wanted.name] = _Kept(wanted)
        self._launch(kept)

    def stop(self, wanted: Process) -> None:
        """End a process and keep it no longer."""
        kept = self._kept.pop((wanted.ns, wanted.name), None)
        if kept and kept.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(kept.pid, signal.SIGKILL)

    def _launch(self, kept: _Kept) -> None:
        wanted = kept.wanted
        kept.due = None
        pid = os.fork()
        if pid == 0:
            try:
                self._enter(wanted.ns)
                private_files(wanted.ns)
                os.setsid()
                _log_to(wanted)
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
                    signal.signal(number, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                libc.set_name(wanted.argv[0])
                os.execvpe(wanted.argv[0], list(wanted.argv), {**os.environ, **dict(wanted.env)})
            except OSError as error:
                print(f"{wanted.argv[0]}: {error}", file=sys.stderr, flush=True)
            os._exit(127)
        kept.pid = pid

    def ended(self, pid: int, status: int) -> bool:
        """Told of every child that ended; whether it was one of the kept."""
        for kept in self._kept.values():
            if kept.pid == pid:
                kept.pid = 0
                kept.code = os.waitstatus_to_exitcode(status)
                again = kept.wanted.restart == "Always" or (
                    kept.wanted.restart == "OnFailure" and kept.code != 0
                )
                if again:
                    pause = 0.0
                    if kept.restarts:
                        pause = min(_FIRST_PAUSE_S * 2 ** (kept.restarts - 1), _LONGEST_PAUSE_S)
                    kept.due = time.monotonic() + pause
                return True
        return False

    def due_in(self) -> float | None:
        """Seconds until the next restart is due, or None."""
        due = [kept.due for kept in self._kept.values() if kept.due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def restart_due(self) -> None:
        """Start again what is due."""
        for kept in self._kept.values():
            if kept.due is not None and kept.due <= time.monotonic():
                kept.restarts += 1
                self._launch(kept)

    def states(self) -> list[State]:
        """All kept processes, by namespace and name."""
        return [
            State(
                k.wanted.ns,
                k.wanted.name,
                "running" if k.pid else "waiting" if k.due is not None else "ended",
                k.pid,
                k.restarts,
                k.code,
            )
            for _, k in sorted(self._kept.items())
        ]


def _log_to(wanted: Process) -> None:
    """Both outputs into the namespace's own ``/var/log/containers/<pod>_<container>.log``."""
    folder = "/var/log/containers"
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/{wanted.name.replace('/', '_')}.log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def log_path(ns: str, name: str) -> str:
    """Where the supervisor finds a container's output."""
    return str(FILES / ns / "var/log/containers" / f"{name.replace('/', '_')}.log")
