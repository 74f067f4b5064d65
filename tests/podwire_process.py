"""The command line as a process of its own, and runs small enough for a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def podwire(*words: str, results: Path) -> subprocess.Popen[str]:
    """``podwire <words> --results <results>``, started."""
    return subprocess.Popen(
        command(*words, results=results),
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )


def command(*words: str, results: Path) -> Sequence[str]:
    return [sys.executable, "-m", "emulator.cli", *words, "--results", str(results)]


def finished(process: subprocess.Popen[str], timeout_s: float = 240.0) -> tuple[int, str, str]:
    """Code and both outputs; the process is killed past the deadline."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, err
