"""In the guest: one command, from its order to its exit code.

The process that :func:`serve` is called in watches the port and the command; the command is its
child, in a mount namespace in which the host's folders are where the host has them.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import signal
import struct
import sys
import termios
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from emulator.bench import frames
from emulator.bench.frames import Kind, Order
from emulator.substrate import libc

HOST = Path("/run/podwire-host")
"""The host's files, which may be written through as far as its user may."""


def serve(port: int, first: bytes) -> NoReturn:
    """Run the command whose order begins with ``first``; never returns."""
    try:
        reader = frames.Reader()
        reader.feed(first)
        order = _next_order(port, reader)
        while order is not None:
            order = _Command(port, order).run(reader)
        os._exit(0)
    except BaseException:  # this is a copy of the agent that must not go on as it
        traceback.print_exc()
        os._exit(1)


def _next_order(port: int, reader: frames.Reader) -> Order | None:
    """The next command; None when the other end has gone."""
    while True:
        for kind, payload in reader:
            if kind == Kind.START:
                return frames.read_order(payload)
        if not (more := _receive(port)):
            return None
        reader.feed(more)


def _receive(port: int) -> bytes:
    """The next bytes; empty when the other end has gone."""
    while True:
        try:
            return os.read(port, 1 << 16)
        except BlockingIOError:
            select.select([port], [], [])


class _Gone(Exception):
    """The host's end has gone; ``order`` is that of another one which has come so soon that the
    change was not seen."""

    def __init__(self, order: Order | None = None) -> None:
        self.order = order


class _Command:
    """A command that runs, with the streams between it and the port."""

    def __init__(self, port: int, order: Order) -> None:
        self._port = port
        self._order = order
        self._pending = bytearray()
        """For the host."""
        self._input = bytearray()
        self._input_ends = False
        self._stdin = -1
        self._sources: dict[int, Kind] = {}
        self._pid = 0

    def run(self, reader: frames.Reader) -> Order | None:
        """Until it has ended and who asked has gone; the order of who comes next, if that has
        been heard meanwhile."""
        self._pending += frames.mark(self._order.mark)
        self._start()
        ended = os.pidfd_open(self._pid)
        try:
            while not select.select([ended], [], [], 0)[0]:
                self._turn(reader, ended)
            self._drain()
            _, status = os.waitpid(self._pid, 0)
            self._pid = 0
            code = os.waitstatus_to_exitcode(status)
            self._pending += frames.frame(Kind.EXIT, struct.pack("=i", code))
            while self._pending:
                _writable(self._port)
                self._send()
            # who asked hangs up when it has read all; only then is the port free for others
            return _next_order(self._port, reader)
        except _Gone as gone:
            if self._pid:
                self._signal(self._pid, signal.SIGKILL)
            return gone.order
        finally:
            for fd in {ended, *self._sources, *([self._stdin] if self._stdin >= 0 else [])}:
                os.close(fd)

    def _start(self) -> None:
        terminal = self._order.window is not None
        if terminal:
            ours, theirs = pty.openpty()
            self._resize(ours)
            child_side = (theirs, theirs, theirs)
            self._stdin, self._sources = ours, {ours: Kind.STDOUT}
        else:
            pairs = [os.pipe() for _ in range(3)]
            child_side = (pairs[0][0], pairs[1][1], pairs[2][1])
            self._stdin = pairs[0][1]
            self._sources = {pairs[1][0]: Kind.STDOUT, pairs[2][0]: Kind.STDERR}
        self._pid = os.fork()
        if not self._pid:
            _become(self._order, child_side, terminal)
        for fd in {*child_side}:
            os.close(fd)
        for fd in {self._stdin, *self._sources}:
            os.set_blocking(fd, False)

    def _turn(self, reader: frames.Reader, ended: int) -> None:
        poll = select.poll()
        poll.register(self._port, select.POLLIN | (select.POLLOUT if self._pending else 0))
        poll.register(ended, select.POLLIN)
        if len(self._pending) < frames.ROOM_B:
            for fd in self._sources:
                poll.register(fd, select.POLLIN)
        if self._stdin >= 0 and self._input:
            both = select.POLLOUT | (select.POLLIN if self._stdin in self._sources else 0)
            poll.register(self._stdin, both)
        ready = dict(poll.poll())
        for fd in [*self._sources]:
            if ready.get(fd, 0) & (select.POLLIN | select.POLLHUP):
                self._take(fd)
        if ready.get(self._port, 0) & (select.POLLIN | select.POLLHUP):
            self._hear(reader)
        self._feed()
        self._send()

    def _take(self, fd: int) -> bool:
        """Pass on what the command has written; whether there was something."""
        try:
            part = os.read(fd, frames.MOST_B)
        except BlockingIOError:
            return False
        except OSError:  # a terminal whose other end is closed
            part = b""
        if part:
            self._pending += frames.data(self._sources[fd], part)
        else:
            del self._sources[fd]
            if fd != self._stdin:
                os.close(fd)
        return bool(part)

    def _drain(self) -> None:
        """What the command has left in its streams; who else has them open is not waited for."""
        for fd in [*self._sources]:
            while self._take(fd):
                pass

    def _hear(self, reader: frames.Reader) -> None:
        try:
            more = os.read(self._port, 1 << 16)
        except BlockingIOError:
            return
        if not more:
            raise _Gone
        reader.feed(more)
        for kind, payload in reader:
            if kind == Kind.START:
                raise _Gone(frames.read_order(payload))
            if kind == Kind.STDIN:
                self._input += payload
            elif kind == Kind.STDIN_ENDS:
                self._input_ends = True
            elif kind == Kind.SIGNAL:
                self._signal(self._listener(payload[0]), payload[0])
            elif kind == Kind.WINDOW:
                rows, columns = struct.unpack("=HH", payload)
                self._order = self._order._replace(window=(rows, columns))
                self._resize(self._stdin)
            elif kind == Kind.PING:
                self._pending += frames.frame(Kind.PONG)

    def _signal(self, group: int, number: int) -> None:
        try:
            os.killpg(group, number)
        except ProcessLookupError:  # it has ended, or is so new that it has no group yet
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _listener(self, number: int) -> int:
        """The process group that a signal is for: Ctrl-C is for whoever has the terminal."""
        if number == signal.SIGINT and self._order.window is not None:
            with suppress(OSError):  # nobody has it any more
                return os.tcgetpgrp(self._stdin) or self._pid
        return self._pid

    def _resize(self, terminal: int) -> None:
        rows, columns = self._order.window or (24, 80)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _feed(self) -> None:
        """Give the command its input."""
        try:
            if self._input:
                self._taken(os.write(self._stdin, self._input))
        except BlockingIOError:
            return
        except OSError:  # it has closed its input
            self._taken(len(self._input))
            self._input_ends = True
        open_ = self._stdin >= 0 and self._stdin not in self._sources
        if open_ and self._input_ends and not self._input:
            os.close(self._stdin)
            self._stdin = -1

    def _taken(self, count: int) -> None:
        del self._input[:count]
        self._pending += frames.frame(Kind.TAKEN, struct.pack("=I", count))

    def _send(self) -> None:
        if self._pending:
            try:
                del self._pending[: os.write(self._port, self._pending)]
            except BlockingIOError:
                return
            except OSError as error:
                raise _Gone from error


def _writable(port: int) -> None:
    """Wait until the host takes more. _Gone when it has gone: a port says no more than that."""
    poll = select.poll()
    poll.register(port, select.POLLOUT)
    if any(events & select.POLLHUP for _, events in poll.poll()):
        raise _Gone


def _become(order: Order, stdio: tuple[int, int, int], terminal: bool) -> NoReturn:
    """In the child: be the command."""
    code = 1
    try:
        os.setsid()
        if terminal:
            fcntl.ioctl(stdio[0], termios.TIOCSCTTY, 0)
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        Path("/proc/self/oom_score_adj").write_text("0")
        libc.unshare(libc.CLONE_NEWNS)
        libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)
        for path in sorted(order.see):  # what is in one of them comes after it
            show(path, write=path in order.write)
        os.environ.clear()
        os.environ.update(order.env)
        os.chdir(order.cwd)
        code = _call(order) if order.call else _execute(order.argv)
    except BaseException:  # this is a copy of the agent that must not go on as it
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _call(order: Order) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = _output(1)
    sys.stderr = _output(2)
    sys.argv = ["podwire", *order.argv]
    module, _, name = order.call.partition(":")
    function: Callable[[list[str]], int | None] = getattr(import_module(module), name)
    try:
        return function(order.argv) or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _output(fd: int) -> io.TextIOWrapper:
    return open(
        fd, "w", buffering=1 if fd == 2 or os.isatty(fd) else -1, closefd=False,
        errors="backslashreplace" if fd == 2 else "strict",
    )  # fmt: skip


def _execute(argv: list[str]) -> int:
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
    return 127


def show(path: str, *, write: bool) -> None:
    """Lay a file or folder of the host where the host has it, unless it is to be seen there anyway.

    Some folders the guest has for itself, ``/tmp`` for one: those stay as they are, and files that
    a command names are laid into them one by one. What the host has not is for the command to
    complain of.
    """
    theirs = f"{HOST}{path}"
    if not os.path.exists(theirs) or (not write and _seen(path)):
        return
    if not os.path.isdir(theirs) or os.path.islink(theirs):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(theirs):
        with suppress(FileExistsError):
            os.symlink(os.readlink(theirs), path)
        return
    if not os.path.isdir(theirs):
        Path(path).touch()
    elif write or not os.path.ismount(path):
        os.makedirs(path, exist_ok=True)
    else:
        return
    libc.mount(theirs, path, "", libc.MS_BIND)
    if not write:
        libc.make_read_only(path, recursive=False)


def _seen(path: str) -> bool:
    """Whether what is there is the host's."""
    there = (os.stat("/").st_dev, os.stat(HOST).st_dev)
    return os.path.exists(path) and os.stat(path).st_dev in there
