"""In the guest: one command, from its order to its exit code.

The process that :func:`serve` is called in watches the port and the command; the command is its
child, in a mount namespace in which the host's folders are where the host has them.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import traceback
from contextlib import suppress
from typing import NoReturn

from emulator.bench import child, frames
from emulator.bench.frames import Kind, Order


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
            child.become(self._order, child_side, terminal)
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
