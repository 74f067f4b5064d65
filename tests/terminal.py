"""A command on a terminal of its own, for tests of what is interactive."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import termios
import time
from collections.abc import Sequence
from types import TracebackType

from callers import Caller


class Terminal:
    """``with Terminal(caller, argv) as t``: a session whose terminal the test holds."""

    def __init__(self, caller: Caller, argv: Sequence[str]) -> None:
        self.seen = ""
        self._mark = 0
        master, slave = pty.openpty()
        self._master = master

        def session() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        more = {"stdin": slave, "stdout": slave, "stderr": slave, "preexec_fn": session}
        self.process = caller.start(argv, **more)
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def send(self, text: str) -> None:
        """Type."""
        os.write(self._master, text.encode())

    def expect(self, pattern: str, timeout_s: float = 15.0) -> re.Match[str]:
        """Wait until the pattern appears behind what was expected last."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = re.search(pattern, self.seen[self._mark :])
            if found:
                self._mark += found.end()
                return found
            left = deadline - time.monotonic()
            assert left > 0 and self._more(left), f"no {pattern!r} in {self.seen!r}"

    def _more(self, timeout_s: float) -> bool:
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # the other end is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def end(self, timeout_s: float = 15.0) -> int:
        """Wait for the end of the command; its code."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < deadline:
            self._more(0.05)
        assert self.process.poll() is not None, f"still running: {self.seen!r}"
        while self._more(0.05):
            pass
        return self.process.returncode
