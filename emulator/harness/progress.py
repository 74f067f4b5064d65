"""A progress bar for a terminal, a line per block for everything else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO


class Progress:
    """Counts cells (one condition of one block); ``clock`` is a monotonic time in seconds.

    ``weight``: what each cell counts for, where cells of several runs take different times;
    ``cells`` is then the sum over all of them.
    """

    def __init__(
        self, stream: TextIO, cells: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._cells, self._clock = stream, cells, clock
        self._started, self._done, self._width = clock(), 0.0, 0
        self.weight = 1.0
        self._terminal = stream.isatty()

    def cell(self, block: str, name: str) -> None:
        """A cell begins."""
        if self._terminal:
            self._draw(f"{block}  {name}")

    def done(self) -> None:
        """A cell has ended."""
        self._done += self.weight

    def block(self, text: str) -> None:
        """A block has ended; shown only where there is no bar."""
        if not self._terminal:
            self.say(f"{text}, {self._left()}")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._stream.write(f"{self._blank()}{text}\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the bar away."""
        self._stream.write(self._blank())
        self._stream.flush()

    def _draw(self, text: str) -> None:
        share = min(1.0, self._done / self._cells) if self._cells else 1.0
        full = int(share * 24)
        line = f"[{'#' * full}{'.' * (24 - full)}] {share:4.0%}  {text}  {self._left()}"[:118]
        self._stream.write(f"\r{line:<{self._width}}")
        self._stream.flush()
        self._width = len(line)

    def _blank(self) -> str:
        width, self._width = self._width, 0
        return f"\r{' ' * width}\r" if width else ""

    def _left(self) -> str:
        if not self._done:
            return "time left unknown"
        seconds = (self._clock() - self._started) / self._done * max(0, self._cells - self._done)
        minutes, rest = divmod(round(seconds), 60)
        return f"about {minutes}:{rest:02d} left"
