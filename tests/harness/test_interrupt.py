"""A signal that ends a run is heard once and not forgotten."""

from __future__ import annotations

import os
import signal

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


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt().listening():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
