"""Programs in a lab: started by entering its namespaces, children of who started them.

The start of a program forks twice. The first child enters the lab (user, mount, PID,
network namespaces) and its private files; since only children of a process are in the
PID namespace that it entered, it then makes a sibling that becomes the program, so that
the caller can wait for it. The program is killed when the *thread* that started it ends,
or the lab. (Over 300 lines: the ways to run something in a lab share entering it and
reporting from it.)
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import struct
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, NamedTuple, NoReturn

from emulator.errors import LabGone, PodwireError, Problem, Unsupported
from emulator.place import Completed
from emulator.substrate import libc
from emulator.substrate.inside import enter_netns, enter_world, lent_terminal
from emulator.substrate.runtime import World
from emulator.substrate.sandbox import environment, private_files
from emulator.substrate.seccomp import pretend_setgroups

PACKAGES = {
    "iperf3": "iperf3",
    "sockperf": "sockperf",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "nft": "nftables",
    "ip": "iproute2",
    "bridge": "iproute2",
    "tc": "iproute2",
    "ethtool": "ethtool",
    "mnexec": "mininet",
    "brctl": "bridge-utils",
    "ifconfig": "net-tools",
    "gcc": "gcc",
    "iperf": "iperf",
    "telnet": "telnet",
}
"""The Debian package of each program that Podwire uses."""


class Process:
    """A program in the lab. ``pid`` is the host's id of it.

    Its outputs are pipes, or the caller's own (descriptors -1). A program with pipes leads
    a session of its own: the terminal's Ctrl-C does not reach it, ``kill`` reaches what it
    has started.
    """

    def __init__(self, argv: tuple[str, ...], pid: int, stdout: int, stderr: int) -> None:
        self.argv = argv
        self.pid = pid
        self._out = {stdout: bytearray(), stderr: bytearray()}
        self._order = (stdout, stderr)
        self._open = {fd for fd in (stdout, stderr) if fd >= 0}
        self._pidfd = os.pidfd_open(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """The return code (negative: a signal), or None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self, timeout_s: float) -> Completed:
        """Read both outputs to the end. Past the deadline: killed, PodwireError."""
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            if self._code is None:
                selector.register(self._pidfd, selectors.EVENT_READ)
            else:
                deadline = min(deadline, time.monotonic() + _REST_S)
            for fd in self._open:
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    break
                for key, _ in ready:
                    if key.fd == self._pidfd:
                        selector.unregister(self._pidfd)
                        self._reap()
                        deadline = min(deadline, time.monotonic() + _REST_S)
                    elif not self._read(key.fd):
                        selector.unregister(key.fd)
        if self._code is None:
            self.kill()
            raise PodwireError(
                Problem(
                    " ".join(self.argv),
                    f"still running after {timeout_s:g} s",
                    "an end before the deadline",
                )
            )
        self._close()
        out, err = (bytes(self._out.get(fd, b"")) for fd in self._order)
        return Completed(self.argv, self._code, out, err)

    def wait_interactive(self, seconds: float | None = None) -> int:
        """Wait for a program without pipes; its code.

        After ``seconds`` it is interrupted, and killed if it does not heed that.
        """
        if seconds is not None and not self._ends(seconds):
            signal.pidfd_send_signal(self._pidfd, signal.SIGINT)
            if not self._ends(_PATIENCE_S):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        code = self._reap()
        assert code is not None
        return code

    def stream(self, file: IO[bytes], seconds: float | None = None) -> Completed:
        """Copy the program's output to a file until it ends.

        It is interrupted after ``seconds`` or by Ctrl-C, and what it then still says is
        copied as well.
        """
        stdout = self._order[0]
        deadline = None if seconds is None else time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                try:
                    late = not selector.select(left)
                except KeyboardInterrupt:
                    late = True
                if late:
                    self.signal(signal.SIGINT)
                    deadline = None
                    continue
                data = os.read(stdout, 1 << 16)
                if not data:
                    break
                file.write(data)
                file.flush()
        return self.wait(_PATIENCE_S)

    def signal(self, number: int) -> None:
        """Send a signal; nothing when it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End it now, with what it has started, and reap it."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if self._order[0] >= 0:
                    os.killpg(self.pid, signal.SIGKILL)
                else:
                    os.kill(self.pid, signal.SIGKILL)
            self._reap()
        self._close()

    def _reap(self, flags: int = 0) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
                os.close(self._pidfd)
        return self._code

    def _ends(self, seconds: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pidfd, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def _read(self, fd: int) -> bool:
        data = os.read(fd, 1 << 16)
        self._out[fd] += data
        if not data:
            os.close(fd)
            self._open.discard(fd)
        return bool(data)

    def _close(self) -> None:
        for fd in self._open:
            os.close(fd)
        self._open.clear()


_REST_S = 1.0
"""How long the outputs of a program that has ended are read: a child of it may hold them."""
_PATIENCE_S = 5.0


def spawn(
    world: World,
    ns: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cpus: Sequence[int] | None = None,
    capture: bool = True,
    setgroups: bool = True,
) -> Process:
    """Start a program in a namespace of the lab.

    With ``capture`` both outputs go into pipes and the input is empty; else the program
    has the caller's terminal. Without ``setgroups`` that call does nothing, successfully.
    Unsupported when the program is not installed; LabGone.
    """
    with ExitStack() as theirs, ExitStack() as ours:

        def pipe() -> tuple[int, int]:
            r, w = os.pipe()
            ours.callback(os.close, r)
            theirs.callback(os.close, w)
            return r, w

        stdio: list[int] = []
        out = err = -1
        if capture:
            null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            theirs.callback(os.close, null)
            (out, out_w), (err, err_w) = pipe(), pipe()
            stdio = [null, out_w, err_w]
        me = os.pidfd_open(os.getpid())
        theirs.callback(os.close, me)
        report_r, report_w = os.pipe()
        with os.fdopen(report_r, "rb") as reports:
            theirs.callback(os.close, report_w)
            helper = os.fork()
            if helper == 0:
                program = _Program(argv, environment(env), cpus, stdio, setgroups)
                _become(report_w, me, lambda: _enter(world, ns), program)
            theirs.close()
            pid, failure = _read_reports(reports)
        os.waitpid(helper, 0)
        if failure is not None:
            if pid:
                os.waitpid(pid, 0)
            raise _failure(ns, tuple(argv), *failure)
        ours.pop_all()
    return Process(tuple(argv), pid, out, err)


def run_on_terminal(
    world: World,
    ns: str,
    argv: Sequence[str],
    *,
    seconds: float | None = None,
    setgroups: bool = True,
) -> int:
    """Run a program to its end on the caller's terminal; its code (negative: a signal)."""
    with lent_terminal():
        program = spawn(world, ns, argv, capture=False, setgroups=setgroups)
        return program.wait_interactive(seconds)


class _Program(NamedTuple):
    argv: Sequence[str]
    env: Mapping[str, str]
    cpus: Sequence[int] | None
    stdio: Sequence[int]
    setgroups: bool


def _enter(world: World, ns: str) -> None:
    enter_world(world)
    if ns:
        enter_netns(ns)
        private_files(ns)


def _become(report: int, starter: int, enter: Callable[[], None], program: _Program) -> NoReturn:
    """In the first child: enter, make the sibling, leave. Never returns, never raises."""
    kind = _NOT_ENTERED
    try:
        cwd = os.getcwd()
        enter()
        with contextlib.suppress(OSError):
            os.chdir(cwd)
        pid = libc.fork_sibling()
        if pid:
            # the first child is still in the host's PID namespace: this is the host's id
            _frame(report, _STARTED, pid)
            os._exit(0)
        libc.die_with_parent(starter)
        kind = _NOT_STARTED
        if program.stdio:
            os.setsid()
        for target, fd in enumerate(program.stdio):
            os.dup2(fd, target)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if program.cpus is not None:
            os.sched_setaffinity(0, program.cpus)
        if not program.setgroups:
            pretend_setgroups()
        os.execvpe(program.argv[0], list(program.argv), program.env)
    except OSError as error:
        words = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        _frame(report, kind, error.errno or 0, str(words))
    except PodwireError as error:
        _frame(report, _GONE, 0, str(error))
    except BaseException:  # the child must not go on as a second copy of the caller
        _frame(report, _NOT_ENTERED, 0, traceback.format_exc(limit=-2))
    os._exit(127)


_STARTED, _NOT_ENTERED, _NOT_STARTED, _GONE = b"S", b"E", b"X", b"G"
_FRAME = 512
_HEAD = struct.Struct("=ciH")


def _frame(report: int, kind: bytes, number: int, words: str = "") -> None:
    # the first child and its sibling share the pipe: writes of one size up to PIPE_BUF
    # arrive whole, in whichever order
    data = words.encode()[: _FRAME - _HEAD.size]
    os.write(report, (_HEAD.pack(kind, number, len(data)) + data).ljust(_FRAME))


_Failure = tuple[bytes, int, str]


def _read_reports(stream: IO[bytes]) -> tuple[int, _Failure | None]:
    """(pid or 0, failure or None) from what the two children have written."""
    pid, failure = 0, None
    while report := stream.read(_FRAME):
        kind, number, size = _HEAD.unpack_from(report)
        if kind == _STARTED:
            pid = number
        else:
            words = report[_HEAD.size : _HEAD.size + size].decode(errors="replace")
            failure = (kind, number, words)
    if not pid and failure is None:
        failure = (_NOT_ENTERED, 0, "the first child died before it had started anything")
    return pid, failure


def _failure(ns: str, argv: tuple[str, ...], kind: bytes, number: int, words: str) -> PodwireError:
    if kind == _GONE:
        return LabGone(words)
    if kind == _NOT_ENTERED:
        return PodwireError(Problem(f"entering {ns}", words, "a place of the lab", "podwire ls"))
    if number == errno.ENOENT:
        package = PACKAGES.get(argv[0], "")
        return Unsupported(
            Problem(
                f"{ns}: {argv[0]}",
                "not installed",
                "the program",
                f"sudo apt-get install {package}" if package else "install it",
            )
        )
    return PodwireError(Problem(f"{ns}: {' '.join(argv)}", words or "no start", "it to start"))
