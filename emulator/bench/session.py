"""The host's end of a command that runs in the guest: streams, signals, terminal, exit code."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from emulator.bench import frames, machine, trouble
from emulator.bench.frames import Kind, Order
from emulator.bench.guest import BOOT_S, Guest
from emulator.errors import PodwireError, Problem
from emulator.substrate import runtime

_ASK_S = 20.0
_SILENT_S = 180.0
_LOOK_S = 1.0


Write = Callable[[int, bytes], None]


def to_stdio(fd: int, payload: bytes) -> None:
    """Write what comes for standard output or errors to where it belongs."""
    while payload:
        try:
            payload = payload[os.write(fd, payload) :]
        except BlockingIOError:  # whoever shares it with us has made it so
            select.select([], [fd], [])


def run(
    guest: Guest,
    order: Order,
    *,
    stdin: bool,
    begun: Callable[[], None],
    output: Write = to_stdio,
) -> int:
    """Run a command to its end; its code as a shell gives it.

    ``begun`` is called when the guest has taken it.  Ctrl-C is the command's; the third one
    gives the command up.  PodwireError when the guest does not come up or does not answer any
    more, Ended when it has ended, both with the tail of its console.
    """
    with ExitStack() as stack:
        link = stack.enter_context(_port(guest))
        said = len(trouble.said(guest))
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, wake)
        stack.callback(os.close, woken)
        one = _Session(guest, link, order, begun, output)
        stack.enter_context(one.signals(woken))

        def listen() -> None:
            # until then Ctrl-C is ours; without an input of its own the command gets the signal
            if stdin and order.window is not None:
                stack.enter_context(_raw())

        code = one.serve(wake, stdin, listen)
    if code < 0:
        trouble.raise_if_known(guest, -code, order.argv[0], said)
    return code if code >= 0 else 128 - code


class _Session:
    def __init__(
        self,
        guest: Guest,
        link: socket.socket,
        order: Order,
        begun: Callable[[], None],
        output: Write,
    ) -> None:
        self._guest = guest
        self._link = link
        self._terminal = order.window is not None
        self._reader = frames.Reader(after=frames.mark(order.mark))
        self._to_send = bytearray(frames.order(order))
        self._room_b = frames.ROOM_B
        """So much more input the guest takes."""
        self._begun: Callable[[], None] | None = begun
        self._output = output
        self._interrupts = 0

    @contextmanager
    def signals(self, woken: int) -> Iterator[None]:
        """Pass signals on while the block runs; each wakes who waits for frames."""
        heard: dict[signal.Signals, Callable[[int, FrameType | None], None]]
        heard = {signal.SIGTERM: self._pass_on, signal.SIGINT: self._pass_on}
        if self._terminal:
            heard[signal.SIGWINCH] = self._resize
        before = {n: signal.signal(n, f) for n, f in heard.items() if _minded(n)}
        previous = signal.set_wakeup_fd(woken)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._interrupts += 1
        if self._begun is not None or self._interrupts > 2:
            raise KeyboardInterrupt
        self._to_send += frames.frame(Kind.SIGNAL, bytes([number]))

    def _resize(self, _number: int, _frame: FrameType | None) -> None:
        if self._begun is None:
            self._to_send += frames.frame(Kind.WINDOW, struct.pack("=HH", *window()))

    def serve(self, wake: int, stdin: bool, listen: Callable[[], None]) -> int:
        """Move bytes until the command has ended; its return code. ``listen`` is called when it
        has begun, before the first of its input is read."""
        link, quiet_s, asked_s = self._link.fileno(), 0.0, 0.0
        while True:
            began = time.monotonic()
            poll = select.poll()
            poll.register(wake, select.POLLIN)
            poll.register(link, select.POLLIN | (select.POLLOUT if self._to_send else 0))
            if stdin and self._begun is None and self._room_b > 0:
                poll.register(0, select.POLLIN)
            ready = dict(poll.poll(round(_LOOK_S * 1000)))
            # in which we were stopped, or wrote what nobody took, is no silence of the guest's
            quiet_s += min(time.monotonic() - began, 2 * _LOOK_S)
            if wake in ready:
                os.read(wake, 512)
            if ready.get(link, 0) & ~select.POLLOUT:
                quiet_s = asked_s = 0.0
                booting = self._begun is not None
                if (code := self._answer(self._receive())) is not None:
                    return code
                if booting and self._begun is None:
                    listen()
            elif quiet_s > (patience := BOOT_S if self._begun is not None else _SILENT_S):
                raise trouble.silent(self._guest, patience)
            elif self._begun is None and quiet_s - asked_s > _ASK_S:
                asked_s = quiet_s
                self._to_send += frames.frame(Kind.PING)
            if 0 in ready:
                stdin = self._read_input()
            self._transmit()

    def _read_input(self) -> bool:
        """Whether there may be more."""
        try:
            part = os.read(0, min(frames.MOST_B, self._room_b))
        except BlockingIOError:
            return True
        self._room_b -= len(part)
        self._to_send += frames.frame(Kind.STDIN if part else Kind.STDIN_ENDS, part)
        return bool(part)

    def _transmit(self) -> None:
        if self._to_send:
            part = bytes(self._to_send[: frames.MOST_B])  # signals add to it at any moment
            try:
                del self._to_send[: self._link.send(part, socket.MSG_DONTWAIT)]
            except BlockingIOError:
                pass
            except ConnectionError:
                raise self._lost() from None

    def _receive(self) -> bytes:
        try:
            more = self._link.recv(1 << 18)
        except ConnectionError:
            more = b""
        if not more:
            raise self._lost()
        return more

    def _lost(self) -> trouble.Ended:
        error = trouble.ended(self._guest)
        return trouble.NotBegun(*error.problems) if self._begun is not None else error

    def _answer(self, more: bytes) -> int | None:
        """Pass on what has come; the return code when the command has ended."""
        self._reader.feed(more)
        if self._begun is not None and self._reader.begun:
            self._begun()
            self._begun = None
        for kind, payload in self._reader:
            if kind == Kind.EXIT:
                return int(struct.unpack("=i", payload)[0])
            if kind == Kind.TAKEN:
                self._room_b += int(struct.unpack("=I", payload)[0])
            elif kind in (Kind.STDOUT, Kind.STDERR):
                self._output(1 if kind == Kind.STDOUT else 2, payload)
        return None


def _minded(number: signal.Signals) -> bool:
    return signal.getsignal(number) != signal.SIG_IGN


@contextmanager
def _port(guest: Guest) -> Iterator[socket.socket]:
    """A connection to a port of the guest that no command uses. PodwireError when there is none."""
    with ExitStack() as stack:
        try:
            folder = os.open(guest.folder, os.O_PATH | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            number = _free(folder, stack)
        except FileNotFoundError:  # it has left, with its folder
            raise trouble.NotBegun(*trouble.ended(guest).problems) from None
        except OSError as error:
            raise runtime.unusable(guest.folder, error) from error
        yield stack.enter_context(_connected(guest, f"/proc/self/fd/{folder}/port-{number}"))


def _free(folder: int, stack: ExitStack) -> int:
    """A port that is ours until the stack is unwound. PodwireError when all are in use."""
    for number in range(machine.PORTS):
        busy = os.open(
            f"busy-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        try:
            fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(busy)
        else:
            stack.callback(os.close, busy)
            return number
    raise PodwireError(
        Problem("the guest", f"{machine.PORTS} commands run in it", "fewer", "wait for one")
    )


@contextmanager
def _connected(guest: Guest, path: str) -> Iterator[socket.socket]:
    """QEMU makes the socket when it starts, and listens when it has made them all."""
    deadline = time.monotonic() + BOOT_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as link:
        while True:
            try:
                link.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if not _kept(guest):
                    raise trouble.NotBegun(*trouble.ended(guest).problems) from None
                if time.monotonic() > deadline:
                    raise trouble.silent(guest, BOOT_S) from None
                time.sleep(0.05)
        yield link


def _kept(guest: Guest) -> bool:
    """Whether the guest's keeper lives: it holds the lock."""
    try:
        lock = os.open(guest.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def window() -> tuple[int, int]:
    """Rows and columns of the terminal."""
    size = os.get_terminal_size(sys.stdin.fileno())
    return size.lines, size.columns
