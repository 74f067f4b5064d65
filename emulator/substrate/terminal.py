"""The caller's terminal, while a program of a lab has it.

A program in a PID namespace cannot name the process group that it is to give the terminal back to,
so that is done for it: it begins as the foreground group, and afterwards, or when Ctrl-Z stops it,
the group of its starter is that again.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def lent_terminal() -> Iterator[bool]:
    """While a child has the terminal: Ctrl-C is for it; afterwards the terminal is ours again.

    Gives whether a program may take the terminal for a group of its own: not where another one
    that reads its output wants it too.
    """
    ours = _foreground_group() == os.getpgrp()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield ours and os.isatty(1)
    finally:
        if ours and _foreground_group() not in (None, os.getpgrp()):
            _give(os.getpgrp())
        signal.signal(signal.SIGINT, before)


def take() -> None:
    """In the child that has borrowed it: become the foreground group."""
    os.setpgid(0, 0)
    _give(os.getpgrp())


def stop_with(child: int) -> None:
    """A child that had taken the terminal has been stopped: stop with it, and go on with it."""
    _give(os.getpgrp())
    os.killpg(os.getpgrp(), signal.SIGTSTP)
    if _foreground_group() == os.getpgrp():  # in the background it has to do without
        _give(child)
    os.killpg(child, signal.SIGCONT)


def _give(group: int) -> None:
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        os.tcsetpgrp(0, group)
    finally:
        signal.signal(signal.SIGTTOU, before)


def _foreground_group() -> int | None:
    """The group that the terminal listens to; None when standard input is no terminal of ours."""
    try:
        return os.tcgetpgrp(0)
    except OSError:
        return None
