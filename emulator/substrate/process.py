"""Programs in a lab: started by entering its namespaces, children of who started them.

The start of a program forks twice. The first child enters the lab (user, mount, PID,
network namespaces) and its private files; since only children of a process are in the
PID namespace that it entered, it then makes a sibling that becomes the program, so that
the caller can wait for it. The program is killed when the *thread* that started it ends,
or the lab.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, NamedTuple, NoReturn

from emulator.errors import LabGone, PodwireError, Problem, Unsupported
from emulator.substrate import libc
from emulator.substrate.inside import ended, enter_netns, enter_world, gone
from emulator.substrate.program import Process
from emulator.substrate.runtime import World
from emulator.substrate.sandbox import environment, private_files
from emulator.substrate.seccomp import pretend_setgroups
from emulator.substrate.terminal import lent_terminal, stop_with, take

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
    "bird": "bird2",
    "gobgpd": "gobgpd",
    "gobgp": "gobgpd",
    "wg": "wireguard-tools",
    "charon": "strongswan-charon libstrongswan-standard-plugins",
    "swanctl": "strongswan-swanctl",
    "brctl": "bridge-utils",
    "ifconfig": "net-tools",
    "gcc": "gcc",
    "iperf": "iperf",
    "telnet": "telnet",
}
"""The Debian package of each program that Podwire uses."""


def spawn(
    world: World,
    ns: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cpus: Sequence[int] | None = None,
    capture: bool = True,
    setgroups: bool = True,
    foreground: bool = False,
) -> Process:
    """Start a program in a namespace of the lab.

    With ``capture`` both outputs go into pipes and the input is empty; else the program
    has the caller's terminal, with ``foreground`` as a group of its own. Without ``setgroups``
    that call does nothing, successfully.
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
        program = _Program(argv, environment(env), cpus, stdio, setgroups, foreground)
        me = os.pidfd_open(os.getpid())
        theirs.callback(os.close, me)
        report_r, report_w = os.pipe()
        with os.fdopen(report_r, "rb") as reports:
            theirs.callback(os.close, report_w)
            helper = os.fork()
            if helper == 0:
                _become(report_w, me, lambda: _enter(world, ns), program)
            theirs.close()
            birth = _Birth(helper, reports)
            try:
                pid, failure = birth.wait()
                if failure is not None:
                    raise _failure(world, ns, tuple(argv), *failure)
                started = Process(tuple(argv), pid, out, err)
            except BaseException:  # Ctrl-C too: nobody would know of the program
                birth.undo()
                raise
        ours.pop_all()
    return started


def run_on_terminal(
    world: World,
    ns: str,
    argv: Sequence[str],
    *,
    seconds: float | None = None,
    setgroups: bool = True,
) -> int:
    """Run a program to its end on the caller's terminal; its code as a shell gives it."""
    with lent_terminal() as free:
        own = free and seconds is None
        program = spawn(world, ns, argv, capture=False, setgroups=setgroups, foreground=own)
        code = program.wait_stopping(stop_with) if own else program.wait_interactive(seconds)
    return code if code >= 0 else 128 - code


class _Program(NamedTuple):
    argv: Sequence[str]
    env: Mapping[str, str]
    cpus: Sequence[int] | None
    stdio: Sequence[int]
    setgroups: bool
    foreground: bool


def _enter(world: World, ns: str) -> None:
    enter_world(world)
    if ns:
        enter_netns(ns)
        private_files(ns)


def _become(report: int, starter: int, enter: Callable[[], None], program: _Program) -> NoReturn:
    """In the first child: enter, make the sibling, leave. Never returns, never raises."""
    try:
        libc.die_with_parent(starter)
        _enter_and_exec(report, starter, enter, program)
    finally:  # whatever happens, the child must not go on as a second copy of the caller
        os._exit(127)


def _enter_and_exec(
    report: int, starter: int, enter: Callable[[], None], program: _Program
) -> None:
    kind = _NOT_ENTERED
    try:
        cwd = _working_directory()
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
        elif program.foreground:
            take()
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
        absent = kind == _NOT_STARTED and _absent(program)
        _frame(report, kind, errno.ENOENT if absent else error.errno or 0, str(words))
    except PodwireError as error:
        _frame(report, _GONE, 0, str(error))
    except BaseException:
        _frame(report, _NOT_ENTERED, 0, traceback.format_exc(limit=-2))


def _absent(program: _Program) -> bool:
    """Whether no folder of PATH has it: of one that it may not look into exec says EACCES."""
    name, folders = program.argv[0], os.get_exec_path(program.env)
    return "/" not in name and not any(os.path.lexists(os.path.join(f, name)) for f in folders)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # somebody has removed it
        return "/"


_STARTED, _NOT_ENTERED, _NOT_STARTED, _GONE = b"S", b"E", b"X", b"G"
_FRAME = 512
_HEAD = struct.Struct("=ciH")


def _frame(report: int, kind: bytes, number: int, words: str = "") -> None:
    # the first child and its sibling share the pipe: writes of one size up to PIPE_BUF
    # arrive whole, in whichever order
    data = words.encode(errors="replace")[: _FRAME - _HEAD.size]
    os.write(report, (_HEAD.pack(kind, number, len(data)) + data).ljust(_FRAME))


_Failure = tuple[bytes, int, str]


class _Birth:
    """The first child and its sibling, as the caller knows them: by their reports."""

    def __init__(self, helper: int, reports: IO[bytes]) -> None:
        self._helper = helper
        self._reports = reports
        self._pid = 0
        self._failure: _Failure | None = None

    def wait(self) -> tuple[int, _Failure | None]:
        """(pid or 0, failure or None), when the program runs or the first child has ended."""
        while report := self._reports.read(_FRAME):
            kind, number, size = _HEAD.unpack_from(report)
            if kind == _STARTED:
                self._pid = number
            else:
                words = report[_HEAD.size : _HEAD.size + size].decode(errors="replace")
                self._failure = (kind, number, words)
        os.waitpid(self._helper, 0)
        self._helper = 0
        if not self._pid and self._failure is None:
            self._failure = (_NOT_ENTERED, 0, "the first child died before it had started anything")
        return self._pid, self._failure

    def undo(self) -> None:
        """Reap both; the program is killed."""
        if self._helper:
            self.wait()  # only the first child can say whether there is a program
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def _failure(
    world: World, ns: str, argv: tuple[str, ...], kind: bytes, number: int, words: str
) -> PodwireError:
    if kind == _NOT_ENTERED and ended(world):
        return gone(world)
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


__all__ = ["PACKAGES", "Process", "run_on_terminal", "spawn"]
