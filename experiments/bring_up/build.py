"""The two small C programs, compiled once per source into the user's cache."""

from __future__ import annotations

from pathlib import Path

from emulator.substrate.compiler import compiled

HERE = Path(__file__).parent


def replay() -> Path:
    """The program ``replay``. Unsupported without a compiler."""
    return compiled(HERE / "replay.c")


def capture() -> Path:
    """The library ``capture.so``, to be preloaded. Unsupported without a compiler."""
    return compiled(HERE / "capture.c", ("-shared", "-fPIC"))
