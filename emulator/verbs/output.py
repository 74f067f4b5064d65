"""Forms of output that the verbs share: JSON, and tables for the eye."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any


def as_json(value: Any) -> str:
    """Indented JSON; what is no JSON value is given as its text."""
    return json.dumps(value, indent=2, default=str)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Left-aligned columns two spaces apart, as kubectl prints them; None is an empty cell.

    A cell of several lines goes on below.
    """
    texts = [
        line
        for row in [[h.upper() for h in head], *rows]
        for line in zip_longest(
            *(("" if cell is None else str(cell)).split("\n") for cell in row), fillvalue=""
        )
    ]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    )


def counted(number: int, what: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {what}{'s' * (number != 1)}"


def progress(what: str) -> Callable[[int, int], None]:
    """A line on stderr that counts, on a terminal only."""
    terminal = sys.stderr.isatty()

    def tell(done: int, total: int) -> None:
        if terminal:
            end = "\n" if done >= total else ""
            print(f"\r{what} {done}/{total}", end=end, file=sys.stderr, flush=True)

    return tell
