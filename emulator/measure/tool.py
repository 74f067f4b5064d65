"""The programs that the instruments run, and how the end of one is judged."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from emulator.errors import LabGone, PodwireError, Problem
from emulator.measure.failure import MeasureFailed
from emulator.place import Completed, Place, Running

TOOLS: Mapping[str, str] = {
    "iperf3": "iperf3",
    "ping": "iputils-ping",
    "sockperf": "sockperf",
}
"""Program to Debian (and Ubuntu) package."""

SURROUNDINGS = {"LC_ALL": "C", "TMPDIR": "/tmp"}
"""Numbers with a point and messages in English, whatever the user's locale is; and a folder for
temporary files that every place has: iperf3 needs one, and the user's own is not in the lab."""


def python(program: str, *words: str) -> list[str]:
    """The command line of a small program, by its text, for a place of the lab.

    By its text and with the interpreter itself: a checkout or a virtual environment below /tmp is
    not seen inside a lab, whose /tmp is its own. Nothing is imported from either (``-I -S``).
    """
    return [str(Path(sys.executable).resolve()), "-I", "-S", "-c", program, *words]


def finish(running: Running, tool: str, place: Place, deadline_s: float) -> Completed:
    """Wait for the end of a tool; MeasureFailed that names tool and deadline when it hangs."""
    try:
        return running.wait(deadline_s)
    except LabGone:
        raise
    except PodwireError as error:
        raise MeasureFailed(
            Problem(place.name, f"{tool} still ran after {deadline_s:g} s", "it ends by itself",
                    f"killed; {error}")
        ) from error  # fmt: skip


def said(completed: Completed) -> str:
    """The first lines that a failed tool wrote, for the reason of a sample."""
    text = (completed.stderr.strip() or completed.stdout.strip()).decode(errors="replace")
    return " / ".join(text.splitlines()[:3])[:400] or "no message"


def keep(raw: dict[str, bytes], name: str, completed: Completed, suffix: str = "txt") -> None:
    """Put both outputs of a tool among the raw files."""
    raw[f"{name}.{suffix}"] = completed.stdout
    if completed.stderr:
        raw[f"{name}.stderr.txt"] = completed.stderr
