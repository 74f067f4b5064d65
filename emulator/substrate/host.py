"""Programs on the host, outside of every lab: a compiler, the command line itself.

What runs inside a lab is started by ``process.py``.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence

from emulator.errors import PodwireError, Problem, Unsupported
from emulator.patience import patient
from emulator.place import Completed


def run_on_host(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Completed:
    """Start, wait and return, whatever the return code; ``env`` comes on top of our own.

    Unsupported when the program is not installed; PodwireError past the deadline (killed).
    """
    try:
        ended = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            timeout=patient(timeout_s),
            env={**os.environ, **(env or {})},
            check=False,
        )
    except FileNotFoundError as error:
        raise _missing(argv) from error
    except subprocess.TimeoutExpired as error:
        raise _late(argv, timeout_s) from error
    return Completed(tuple(argv), ended.returncode, ended.stdout, ended.stderr)


class Dialogue:
    """A program that answers line by line and ends when its input ends."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start it. Unsupported when it is not installed."""
        self.argv = tuple(argv)
        self._heard = b""
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(env or {})},
            )
        except FileNotFoundError as error:
            raise _missing(argv) from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def line(self, timeout_s: float) -> str:
        """Its next line of output; empty when it has ended. PodwireError past the deadline."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.kill()
                    raise _late(self.argv, timeout_s)
                data = os.read(fd, 1 << 16)
                if not data:
                    break
                self._heard += data
        line, end, self._heard = self._heard.partition(b"\n")
        return (line + end).decode()

    def end(self, timeout_s: float) -> Completed:
        """Close its input and wait. PodwireError past the deadline (killed)."""
        try:
            out, err = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise _late(self.argv, timeout_s) from error
        return Completed(self.argv, self._process.returncode, self._heard + out, err)

    def kill(self) -> None:
        """End it now and reap it; no error when it has already ended."""
        self._process.kill()
        self._process.communicate()


def _missing(argv: Sequence[str]) -> Unsupported:
    return Unsupported(Problem(argv[0], "not installed", "the program", "install it"))


def _late(argv: Sequence[str], timeout_s: float) -> PodwireError:
    return PodwireError(
        Problem(
            " ".join(argv), f"still running after {timeout_s:g} s", "an end before the deadline"
        )
    )
