"""A signal that ends a run, remembered until the run has ended.

Python raises KeyboardInterrupt wherever the program is at that moment, and where that is a
finaliser or a callback of the collector the exception is printed and lost.  So the signal is
noted as well, and the run asks between two cells: nothing need be printed.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator


class Interrupt:
    """Hears the signals that end a run."""

    def __init__(self) -> None:
        self.heard = ""
        """What a person would call the signal that came, or empty."""

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """While the block runs, Ctrl-C and SIGTERM raise KeyboardInterrupt and are remembered.

        Where Ctrl-C is ignored (below nohup) it stays so.
        """
        before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, self._hear)
        tell, sys.unraisablehook = sys.unraisablehook, self._lost(sys.unraisablehook)
        try:
            yield
        finally:
            sys.unraisablehook = tell
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """KeyboardInterrupt when a signal has come, however long ago."""
        if self.heard:
            raise KeyboardInterrupt(self.heard)

    def _lost(
        self, tell: Callable[[sys.UnraisableHookArgs], object]
    ) -> Callable[[sys.UnraisableHookArgs], object]:
        def lost(what: sys.UnraisableHookArgs) -> None:
            if not (self.heard and issubclass(what.exc_type, KeyboardInterrupt)):
                tell(what)

        return lost

    def _hear(self, number: int, _frame: object) -> None:
        self.heard = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        self.check()
