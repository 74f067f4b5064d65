"""Running the binaries of CNI in the namespaces of a lab, several at once.

A binary runs in its node's network namespace, with the node's own files and host name; what
is not ours to trust (how long it runs, how much it says, what it leaves running) is bounded.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from emulator.conflist.chain import Outcome, Run
from emulator.conflist.requests import Invocation
from emulator.errors import PodwireError
from emulator.substrate import libc
from emulator.substrate.keeper import end_sessions
from emulator.substrate.sandbox import environment, private_files

MOST_OUTPUT_B = 1 << 20
"""What a binary may print; results have some thousand bytes."""

_OUT, _ERR = 0, 1


class Job(NamedTuple):
    """A chain of invocations on one node. ``path``: the folders that binaries lie in."""

    ns: str
    chain: Run[Any]
    path: Sequence[str]
    timeout_s: float


class _Running:
    """One binary that runs."""

    def __init__(self, pid: int, pipes: Sequence[int], timeout_s: float) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.pipes = list(pipes)
        self.said = (bytearray(), bytearray())
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s

    def read(self, which: int) -> bool:
        """Take in what there is; False at the end of the pipe."""
        with suppress(BlockingIOError):
            data = os.read(self.pipes[which], 1 << 16)
            self.said[which].extend(data)
            return bool(data)
        return True

    def too_much(self) -> bool:
        return max(map(len, self.said)) > MOST_OUTPUT_B

    def outcome(self, trouble: str = "") -> Outcome:
        """The end of it: killed with its session where there is trouble, and reaped."""
        if trouble:
            end_sessions({self.pid})
        _, status = os.waitpid(self.pid, 0)
        for which in (_OUT, _ERR):
            # what it has started may hold the pipe open: only what is there already counts
            before = -1
            while not self.too_much() and before != len(self.said[which]):
                before = len(self.said[which])
                self.read(which)
            os.close(self.pipes[which])
        os.close(self.pidfd)
        code = os.waitstatus_to_exitcode(status)
        return Outcome(code, bytes(self.said[_OUT]), bytes(self.said[_ERR]), trouble)


class Binaries:
    """Runs the chains of one lab. ``enter`` puts the calling process into a namespace."""

    def __init__(self, enter: Callable[[str], None], at_once: int = 0) -> None:
        self._enter = enter
        self._at_once = at_once or 2 * (os.cpu_count() or 1)

    def drive(self, jobs: Sequence[Job]) -> list[Any]:
        """Run every chain to its end; what it returned, or its PodwireError, job by job."""
        running: dict[int, _Running] = {}
        try:
            return self._drive(jobs, running)
        finally:  # none, unless something else than a binary has failed
            for one in running.values():
                one.outcome("given up")

    def _drive(self, jobs: Sequence[Job], running: dict[int, _Running]) -> list[Any]:
        ended: list[Any] = [None] * len(jobs)
        waiting = deque(range(len(jobs)))
        with selectors.DefaultSelector() as selector:

            def go_on(number: int, outcome: Outcome | None) -> None:
                job = jobs[number]
                try:
                    while True:
                        call = job.chain.send(outcome) if outcome else next(job.chain)
                        started = self._start(job, call)
                        if not isinstance(started, Outcome):
                            break
                        outcome = started
                except StopIteration as end:
                    ended[number] = end.value
                    return
                except PodwireError as error:
                    ended[number] = error
                    return
                running[number] = started
                selector.register(started.pidfd, selectors.EVENT_READ, (number, None))
                for which in (_OUT, _ERR):
                    selector.register(started.pipes[which], selectors.EVENT_READ, (number, which))

            def end(number: int, trouble: str = "") -> None:
                one = running.pop(number)
                for fd in (one.pidfd, *one.pipes):
                    with suppress(KeyError):
                        selector.unregister(fd)
                go_on(number, one.outcome(trouble))

            while waiting or running:
                while waiting and len(running) < self._at_once:
                    go_on(waiting.popleft(), None)
                if not running:
                    continue
                first = min(one.deadline for one in running.values())
                over = {
                    key.data[0]: ""
                    for key, _ in selector.select(max(0.0, first - time.monotonic()))
                    if self._look(selector, key, running[key.data[0]])
                }
                now = time.monotonic()
                for number, one in running.items():
                    if one.too_much():
                        over[number] = f"more than {MOST_OUTPUT_B >> 20} MiB of output, killed"
                    elif one.deadline <= now and number not in over:
                        over[number] = f"still running after {one.timeout_s:g} s, killed"
                for number, trouble in over.items():
                    end(number, trouble)
        return ended

    @staticmethod
    def _look(selector: selectors.BaseSelector, key: selectors.SelectorKey, one: _Running) -> bool:
        """Whether the binary has ended."""
        _, which = key.data
        if which is None:
            return True
        if not one.read(which):
            selector.unregister(key.fd)
        return False

    def _start(self, job: Job, call: Invocation) -> _Running | Outcome:
        program = find(call.program, job.path)
        if program is None:
            return Outcome(0, b"", b"", absent(call.program, job.path))
        asked = os.memfd_create("asked")
        os.write(asked, call.standard_input)
        os.lseek(asked, 0, os.SEEK_SET)
        pipes = [os.pipe(), os.pipe()]
        try:
            pid = os.fork()
            if pid == 0:
                self._become(job.ns, program, call.environment, asked, [w for _, w in pipes])
        finally:
            os.close(asked)
            for _, w in pipes:
                os.close(w)
        for r, _ in pipes:
            os.set_blocking(r, False)
        return _Running(pid, [r for r, _ in pipes], job.timeout_s)

    def _become(
        self, ns: str, program: str, more: Mapping[str, str], asked: int, pipes: Sequence[int]
    ) -> None:
        try:
            libc.die_with_parent()
            os.setsid()
            for target, fd in enumerate((asked, *pipes)):
                os.dup2(fd, target)
            self._enter(ns)
            private_files(ns)
            signal.set_wakeup_fd(-1)
            for number in (
                signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD,
            ):  # fmt: skip
                signal.signal(number, signal.SIG_DFL)
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), most))
            os.execve(program, [program], environment(more))
        except OSError as error:
            os.write(2, f"{program}: {error.strerror}\n".encode())
        except BaseException:  # the child must not go on as a second supervisor
            traceback.print_exc()
        finally:
            os._exit(127)


def find(program: str, path: Sequence[str]) -> str | None:
    """The binary of that name in the first folder that has one."""
    for folder in path:
        candidate = Path(folder) / program
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    return None


def absent(program: str, path: Sequence[str]) -> str:
    """That there is no such binary, in words."""
    return f"no program {program} in {', '.join(path) or 'no folder at all'}"


__all__ = ["MOST_OUTPUT_B", "Binaries", "Job", "absent", "find"]
