"""Programs in a lab: started by entering its namespaces, children of who started them.

The start of a program forks twice. The first child enters the lab (user, mount, PID,
network namespaces) and its private files; since only children of a process are in the
PID namespace that it entered, it then makes a sibling that becomes the program, so that
the caller can wait for it. The program is killed when its starter dies, or the lab.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import selectors
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import IO, NoReturn, TypeVar

from emulator.errors import LabGone, PodwireError, Problem, Unsupported
from emulator.place import Completed
from emulator.substrate import libc
from emulator.substrate.runtime import World
from emulator.substrate.sandbox import NAMES, private_files

T = TypeVar("T")

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
    "gcc": "gcc",
    "iperf": "iperf",
    "telnet": "telnet",
}
"""The Debian package of each program that Podwire uses."""


def enter_world(world: World) -> None:
    """Put the calling process into the lab (children are then in its PID namespace too).

    LabGone when it is not there any more. Must be single-threaded for a lab without root.
    """
    try:
        fd = os.pidfd_open(world.pid)
    except ProcessLookupError as error:
        raise _gone(world) from error
    try:
        if not world.alive():
            raise _gone(world)
        if world.user:
            # one at a time: the rest needs the capabilities that the first gives
            libc.setns(fd, libc.CLONE_NEWUSER)
        libc.setns(
            fd,
            libc.CLONE_NEWNS
            | libc.CLONE_NEWPID
            | libc.CLONE_NEWNET
            | libc.CLONE_NEWUTS
            | libc.CLONE_NEWIPC,
        )
    finally:
        os.close(fd)


def enter_netns(ns: str) -> None:
    """Put the calling thread, which is in the lab, into a namespace by its name."""
    try:
        fd = os.open(NAMES / ns, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise LabGone(Problem(ns, "no such namespace in the lab", "one of the spec")) from error
    libc.setns(fd, libc.CLONE_NEWNET)
    os.close(fd)


def _gone(world: World) -> LabGone:
    return LabGone(Problem(f"lab {world.name}", "gone", "a running lab", "podwire up"))


class Process:
    """A program in the lab. ``pid`` is the host's id of it."""

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
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
                os.close(self._pidfd)
        return self._code

    def wait(self, timeout_s: float) -> Completed:
        """Read both outputs to the end. Past the deadline: killed, PodwireError."""
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            if self._code is None:
                selector.register(self._pidfd, selectors.EVENT_READ)
            for fd in self._open:
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    self.kill()
                    raise PodwireError(
                        Problem(
                            " ".join(self.argv),
                            f"still running after {timeout_s:g} s",
                            "an end before the deadline",
                        )
                    )
                for key, _ in ready:
                    if key.fd == self._pidfd:
                        # what a grandchild still holds open is not waited for
                        selector.unregister(self._pidfd)
                        deadline = min(deadline, time.monotonic() + 1.0)
                        self.poll()
                    elif not self._read(key.fd):
                        selector.unregister(key.fd)
                if self._code is not None and not ready:
                    break
        if self._code is None:
            _, status = os.waitpid(self.pid, 0)
            self._code = os.waitstatus_to_exitcode(status)
            os.close(self._pidfd)
        out, err = (bytes(self._out.get(fd, b"")) for fd in self._order)
        return Completed(self.argv, self._code, out, err)

    def wait_interactive(self, seconds: float | None = None) -> int:
        """Wait for a program that has the terminal; Ctrl-C is its own."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            if seconds is not None:
                with selectors.DefaultSelector() as selector:
                    selector.register(self._pidfd, selectors.EVENT_READ)
                    if not selector.select(seconds):
                        signal.pidfd_send_signal(self._pidfd, signal.SIGINT)
            _, status = os.waitpid(self.pid, 0)
        finally:
            signal.signal(signal.SIGINT, before)
        self._code = os.waitstatus_to_exitcode(status)
        os.close(self._pidfd)
        return self._code

    def _read(self, fd: int) -> bool:
        data = os.read(fd, 1 << 16)
        self._out[fd] += data
        if not data:
            os.close(fd)
            self._open.discard(fd)
        return bool(data)

    def stream(self, file: IO[bytes], seconds: float | None = None) -> Completed:
        """Copy the program's output to a file until it ends; interrupt it after ``seconds``."""
        stdout = self._order[0]
        deadline = None if seconds is None else time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not selector.select(left):
                    self.signal(signal.SIGINT)
                    deadline = None
                    continue
                data = os.read(stdout, 1 << 16)
                if not data:
                    break
                file.write(data)
        return self.wait(5.0)

    def signal(self, number: int) -> None:
        """Send a signal; nothing when it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End it now and reap it."""
        if self.poll() is None:
            self.signal(signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._code = os.waitstatus_to_exitcode(status)
            os.close(self._pidfd)
        for fd in tuple(self._open):
            os.close(fd)
            self._open.discard(fd)


def spawn(
    world: World,
    ns: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cpus: Sequence[int] | None = None,
    capture: bool = True,
) -> Process:
    """Start a program in a namespace of the lab.

    With ``capture`` both outputs go into pipes and the input is empty; else the program
    has the caller's terminal. Unsupported when the program is not installed; LabGone.
    """
    stdio: list[int] = []
    pipes: list[int] = []
    if capture:
        for _ in range(2):
            r, w = os.pipe()
            pipes.append(r)
            stdio.append(w)
        stdio.insert(0, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    report_r, report_w = os.pipe()
    helper = os.fork()
    if helper == 0:
        _become(report_w, lambda: _enter(world, ns), argv, env, cpus, stdio)
    os.close(report_w)
    for fd in stdio:
        os.close(fd)
    pid, failure = _read_report(report_r)
    os.waitpid(helper, 0)
    if failure is not None:
        if pid:
            os.waitpid(pid, 0)
        for fd in pipes:
            os.close(fd)
        raise _failure(ns, tuple(argv), *failure)
    out, err = pipes if capture else (-1, -1)
    return Process(tuple(argv), pid, out, err)


def _enter(world: World, ns: str) -> None:
    enter_world(world)
    if ns:
        enter_netns(ns)
        private_files(ns)


def _become(
    report: int,
    enter: Callable[[], None],
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    cpus: Sequence[int] | None,
    stdio: Sequence[int],
) -> NoReturn:
    """In the first child: enter, make the sibling, leave. Never returns, never raises."""
    try:
        cwd = os.getcwd()
        enter()
        with contextlib.suppress(OSError):
            os.chdir(cwd)
        pid = libc.fork_sibling()
        if pid:
            # the first child is still in the host's PID namespace: this is the host's id
            _frame(report, _STARTED, struct.pack("=i", pid))
            os._exit(0)
        libc.die_with_parent()
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        os.execvpe(argv[0], list(argv), {**os.environ, **(env or {})})
    except OSError as error:
        words = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        _frame(report, _FAILED, struct.pack("=i", error.errno or 0) + str(words).encode())
    except PodwireError as error:
        _frame(report, _FAILED, struct.pack("=i", 0) + str(error).encode())
    os._exit(127)


_STARTED, _FAILED = b"S", b"F"
_FRAME = 512


def _frame(report: int, kind: bytes, data: bytes) -> None:
    # the first child and its sibling share the pipe: writes of one size up to PIPE_BUF
    # arrive whole, in whichever order
    os.write(report, (kind + struct.pack("=H", len(data[:500])) + data[:500]).ljust(_FRAME))


def _read_report(fd: int) -> tuple[int, tuple[int, str] | None]:
    """(pid or 0, failure or None) from what the two children have written."""
    report = bytearray()
    while chunk := os.read(fd, 4096):
        report += chunk
    os.close(fd)
    pid, failure = 0, None
    for at in range(0, len(report), _FRAME):
        (size,) = struct.unpack_from("=H", report, at + 1)
        (number,) = struct.unpack_from("=i", report, at + 3)
        if report[at : at + 1] == _STARTED:
            pid = number
        else:
            failure = (number, bytes(report[at + 7 : at + 3 + size]).decode(errors="replace"))
    if not pid and failure is None:
        failure = (0, "the first child died before it had started anything")
    return pid, failure


def _failure(ns: str, argv: tuple[str, ...], number: int, words: str) -> PodwireError:
    if not number:
        return LabGone(words)
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


def inside(world: World, work: Callable[[], T]) -> T:
    """Run a function in a child that has entered the lab; returns its pickled result.

    The child stays in the host's PID namespace but ends with this process. Raises what
    the function raised, where that is an error of ours.
    """
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        answer: tuple[str, object]
        try:
            libc.die_with_parent()
            enter_world(world)
            answer = ("result", work())
        except PodwireError as error:
            answer = ("error", error)
        except Exception:  # the child must not go on as a second copy of the caller
            answer = ("error", PodwireError(traceback.format_exc()))
        with os.fdopen(w, "wb") as stream:
            pickle.dump(answer, stream)
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as stream:
        try:
            kind, value = pickle.load(stream)
        except EOFError:
            kind, value = "error", PodwireError(f"lab {world.name}: a helper process died")
    os.waitpid(pid, 0)
    if kind == "error":
        raise value
    result: T = value
    return result


def read_file(ns: str, path: str) -> bytes:
    """In a process of the lab: a file as a namespace sees it. PodwireError."""
    enter_netns(ns)
    private_files(ns)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise PodwireError(Problem(f"{ns}:{path}", error.strerror or "", "a file")) from error


def write_file(ns: str, path: str, data: bytes) -> None:
    """In a process of the lab: write a file of a namespace's own. PodwireError."""
    enter_netns(ns)
    private_files(ns)
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise PodwireError(
            Problem(
                f"{ns}:{path}",
                error.strerror or "",
                "a place to write",
                "a place of the lab writes only below /run, /tmp and /var",
            )
        ) from error


def proc_net(world: World, ns: str, name: str) -> str:
    """The text of ``/proc/net/<name>`` in a namespace of the lab."""
    # the host's procfs: the child does not exist in the lab's, whose PID namespace it is not in
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)

    def work() -> str:
        enter_netns(ns)
        fd = os.open(f"thread-self/net/{name}", os.O_RDONLY, dir_fd=proc)
        with os.fdopen(fd) as file:
            return file.read()

    try:
        return inside(world, work)
    finally:
        os.close(proc)


def foreground(world: World, work: Callable[[], None]) -> int:
    """Run a function in the lab, PID namespace included, on this terminal; returns its code."""
    first = os.fork()
    if first == 0:
        code = 1
        try:
            libc.die_with_parent()
            enter_world(world)
            second = os.fork()
            if second == 0:
                libc.die_with_parent()
                work()
                code = 0
            else:
                _, status = os.waitpid(second, 0)
                code = os.waitstatus_to_exitcode(status)
        except KeyboardInterrupt:
            code = 130
        except PodwireError as error:
            print(error, file=sys.stderr)
            code = error.exit_code
        except Exception:  # the child must not go on as a second copy of the caller
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code if code >= 0 else 128 - code)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, status = os.waitpid(first, 0)
    finally:
        signal.signal(signal.SIGINT, before)
    return os.waitstatus_to_exitcode(status)
