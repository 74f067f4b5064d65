"""The processes that a lab keeps running: containers' commands, and daemons.

A container that ends is started again as its pod's restart policy says: at once the
first time, then after 10, 20, 40, … seconds up to five minutes, as a kubelet does; one
that has run for ten minutes starts over; daemons are kept in the same way. How often, and
with which code it ended, is part of what ``ls`` and ``verify`` report. What a container has
started ends with it, unless it made itself a session of its own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from emulator.plan.resources import Process
from emulator.substrate import compiler, daemons
from emulator.substrate.runtime import start_ticks
from emulator.substrate.sandbox import environment, private_files

_FIRST_PAUSE_S = 10.0
_LONGEST_PAUSE_S = 300.0
_STEADY_S = 600.0
_NO_START = 127
_DEATH_S = 2.0
_FIRST_FD = 3


class State(NamedTuple):
    """A kept process: ``running``, ``waiting`` (to be started again) or ``ended``."""

    ns: str
    name: str
    state: str
    pid: int
    restarts: int
    code: int | None

    @property
    def label(self) -> str:
        """``pod/container``, or ``node:daemon``: what is its own in the whole lab."""
        return f"{self.ns}:{self.name}" if self.daemon else self.name

    @property
    def daemon(self) -> bool:
        """Whether it is a node's daemon, and no container of a pod."""
        return "/" not in self.name


class _Kept:
    def __init__(self, wanted: Process) -> None:
        self.wanted = wanted
        self.pid = 0
        self.restarts = 0
        self.code: int | None = None
        self.due: float | None = None
        self.since = 0.0
        self.pauses = 0


class Keeper:
    """Starts, watches and ends processes. One per lab, in its supervisor."""

    def __init__(
        self, enter: Callable[[str], None], open_files: int, reveal: Callable[[str], str] = str
    ) -> None:
        """``enter`` puts the calling process into a network namespace of the lab;
        ``open_files`` is the soft limit for the processes; ``reveal`` puts keys and passwords
        in the place of their words."""
        self._enter = enter
        self._open_files = open_files
        self._reveal = reveal
        self._kept: dict[tuple[str, str], _Kept] = {}

    def wanted(self) -> list[Process]:
        """What is kept."""
        return [kept.wanted for kept in self._kept.values()]

    def start(self, wanted: Process) -> None:
        """Start a process and keep it."""
        kept = self._kept[wanted.ns, wanted.name] = _Kept(wanted)
        self._launch(kept)

    def stop(self, wanted: Iterable[Process]) -> None:
        """End processes and keep them no longer."""
        kept = [self._kept.pop((one.ns, one.name), None) for one in wanted]
        end_sessions({one.pid for one in kept if one and one.pid})

    def tell(self, changed: Iterable[tuple[str, str]]) -> None:
        """SIGHUP to all that read one of these files, by (namespace, path)."""
        paths = set(changed)
        for kept in self._kept.values():
            wanted = kept.wanted
            if kept.pid and any((wanted.ns, path) in paths for path in wanted.reads):
                os.kill(kept.pid, signal.SIGHUP)

    def _launch(self, kept: _Kept) -> None:
        kept.due = None
        kept.since = time.monotonic()
        name = kept.wanted.argv[0]
        own = daemons.function(name) if name in daemons.DAEMONS else None
        try:
            pid = os.fork()
        except OSError as error:
            print(f"{kept.wanted.name}: {error}", flush=True)
            self._over(kept, _NO_START)
            return
        if pid == 0:
            try:
                os.setsid()
                self._become(kept.wanted, own)
            except BaseException:  # the child must not go on as a second supervisor
                traceback.print_exc()
            os._exit(_NO_START)
        kept.pid = pid

    def _become(self, wanted: Process, function: daemons.Daemon | None) -> None:
        name = wanted.argv[0]
        # of our own programs the path may be hidden by the files of the namespace
        own = wanted.role == "daemon" and name in compiler.PROGRAMS
        ours = compiler.opened(name) if own else None
        self._enter(wanted.ns)
        private_files(wanted.ns)
        _log_to(wanted)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._open_files, most))
        argv = [self._reveal(word) for word in wanted.argv]
        env = environment({key: self._reveal(value) for key, value in wanted.env})
        if function:
            os.closerange(_FIRST_FD, most)  # as executing a program would
            os.environ.update(env)
            function(argv[1:])
        try:
            if ours is None:
                os.execvpe(name, argv, env)
            else:
                os.execve(ours, argv, env)
        except OSError as error:
            os.write(2, f"{name}: {error.strerror}\n".encode())

    def ending(self, pid: int) -> None:
        """Told of every child that has ended and is not yet reaped: its id is still its own."""
        if any(kept.pid == pid for kept in self._kept.values()):
            end_sessions({pid})

    def ended(self, pid: int, status: int) -> None:
        """Told of every child that has ended."""
        for kept in self._kept.values():
            if kept.pid == pid:
                kept.pid = 0
                self._over(kept, os.waitstatus_to_exitcode(status))

    def _over(self, kept: _Kept, code: int) -> None:
        kept.code = code
        again = kept.wanted.restart == "Always" or (kept.wanted.restart == "OnFailure" and code)
        if not again:
            return
        now = time.monotonic()
        if now - kept.since >= _STEADY_S:
            kept.pauses = 0
        pause = min(_FIRST_PAUSE_S * 2 ** min(kept.pauses - 1, 10), _LONGEST_PAUSE_S)
        kept.due = now + (pause if kept.pauses else 0.0)
        kept.pauses += 1

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


def end_sessions(leaders: set[int]) -> None:
    """Kill processes and all of the sessions that they lead; returns when these have ended."""
    if not leaders:
        return
    killed: set[int] = set()
    # just forked, one may not lead a session yet; just killed, one may have forked before
    while alive := (leaders | set(_members(leaders))) - killed:
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= alive
    deadline = time.monotonic() + _DEATH_S
    while any(start_ticks(pid) for pid in killed) and time.monotonic() < deadline:
        time.sleep(0.001)


def _members(leaders: set[int]) -> Iterator[int]:
    """The processes whose session one of these leads."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) in leaders:
                yield pid


def log_path(wanted: Process) -> str:
    """``/var/log/containers/<pod>_<container>.log``, or ``/var/log/<daemon>.log``."""
    folder = "/var/log" if wanted.role == "daemon" else "/var/log/containers"
    return f"{folder}/{wanted.name.replace('/', '_')}.log"


def _log_to(wanted: Process) -> None:
    """Both outputs into a file of the namespace's own."""
    path = log_path(wanted)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
