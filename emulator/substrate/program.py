"""A program that runs in a lab, as its starter holds it: wait, read, signal, kill."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO

from emulator.errors import PodwireError, Problem
from emulator.patience import patient
from emulator.place import Completed


class Process:
    """A program in the lab. ``pid`` is the host's id of it.

    Its outputs are pipes, or the caller's own (descriptors -1). A program with pipes leads
    a session of its own: the terminal's Ctrl-C does not reach it, ``kill`` reaches what it
    has started, as long as it runs itself.
    """

    def __init__(self, argv: tuple[str, ...], pid: int, stdout: int, stderr: int) -> None:
        """From here on the pipes are its own. OSError: they are still the caller's."""
        self._open: set[int] = set()
        self.argv = argv
        self.pid = pid
        self._out = {stdout: bytearray(), stderr: bytearray()}
        self._order = (stdout, stderr)
        self._code: int | None = None
        self._pidfd = os.pidfd_open(pid)
        self._open |= {fd for fd in self._order if fd >= 0}

    def __del__(self) -> None:
        self._close()

    def poll(self) -> int | None:
        """The return code (negative: a signal), or None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self, timeout_s: float) -> Completed:
        """Read both outputs to the end. Past the deadline: killed, PodwireError."""
        deadline = time.monotonic() + patient(timeout_s)
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

    def wait_stopping(self, stopped: Callable[[int], None]) -> int:
        """Wait for a program that is a process group; its code. ``stopped`` is called with the
        group whenever a signal stops it."""
        while self._code is None:
            _, status = os.waitpid(self.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                stopped(self.pid)
            else:
                self._ended(status)
        return self._code

    def stream(self, file: IO[bytes], seconds: float | None = None) -> Completed:
        """Copy the program's output to a file until it ends.

        It is interrupted after ``seconds`` or by Ctrl-C, and what it then still says is
        copied as well; killed if it does not heed that.
        """
        stdout = self._order[0]
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        stopping = False

        def stop() -> None:
            nonlocal deadline, stopping
            deadline, stopping = time.monotonic() + _PATIENCE_S, True
            self.signal(signal.SIGINT)

        with _on_ctrl_c(stop), selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0 and stopping:
                    self.kill()
                    break
                if left <= 0:
                    stop()
                elif selector.select(min(left, _LOOK_S)):
                    data = os.read(stdout, 1 << 16)
                    if not data:
                        break
                    file.write(data)
                    file.flush()
        return self.wait(_PATIENCE_S)

    def signal(self, number: int) -> None:
        """Send a signal; nothing when it has ended."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End it now, with what it has started, and reap it; nothing when it has ended."""
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
                self._ended(status)
        return self._code

    def _ended(self, status: int) -> None:
        self._code = os.waitstatus_to_exitcode(status)
        os.close(self._pidfd)

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
        while self._open:
            os.close(self._open.pop())


@contextlib.contextmanager
def _on_ctrl_c(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls ``stop`` and interrupts nothing else, a second one is as ever.

    Where Ctrl-C is not ours to hear (in a thread, below nohup) nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)

    def heard(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_REST_S = 1.0
"""How long the outputs of a program that has ended are read: a child of it may hold them."""
_PATIENCE_S = 5.0
"""How long a program may take to heed an interrupt."""
_LOOK_S = 0.5
"""How often a copy looks whether a signal has set it a deadline."""
