"""A signal that ends a run is heard once and not forgotten."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from emulator.harness.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_swallowed_is_still_known(number: int) -> None:
    before = signal.getsignal(number)
    interrupt = Interrupt()
    with interrupt.listening():
        interrupt.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt, match=r"Ctrl-C|SIGTERM"):
            interrupt.check()
    assert signal.getsignal(number) == before


class InTheWay:
    """A signal comes while it is finalised."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        if self.number:
            os.kill(os.getpid(), self.number)
        else:
            raise ValueError("another")


def test_where_it_is_swallowed_it_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.unraisablehook
    sys.unraisablehook = sys.__unraisablehook__  # pytest has one of its own
    try:
        interrupt = Interrupt()
        with interrupt.listening():
            InTheWay(signal.SIGINT)
            InTheWay(0)
        assert interrupt.heard == "Ctrl-C"
        assert sys.unraisablehook is sys.__unraisablehook__
    finally:
        sys.unraisablehook = before
    said = capsys.readouterr().err
    assert "ValueError: another" in said and "KeyboardInterrupt" not in said


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt().listening():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
