"""A run that says on stdout what is safely on the disk, until somebody kills it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from emulator.harness.experiment import Condition, Description, Experiment, Matrix, Metric, Pair
from emulator.harness.run import run
from emulator.harness.settings import Settings
from emulator.measure.sample import Measured, good
from emulator.report.summary import summarise

finished = 0


def measure(lab, condition):  # type: ignore[no-untyped-def]
    """Announce the cells before this one: they must survive."""
    global finished
    print(finished, flush=True)
    finished += 1
    yield Measured((good("throughput_bit_s", 1.0), good("retransmits", 0)), {"x.json": b"{}"})


matrix = Matrix((Condition("a"), Condition("b")), (Pair("a", "b"),))
run(
    Experiment("killed", "?", matrix, (Metric("throughput_bit_s", "bit/s", "higher"),),
               lambda condition: Description("a: 1\n", "p\n"),
               lambda condition, seed: contextlib.nullcontext(), measure),
    Settings(int(sys.argv[2])), Path(sys.argv[1]), fingerprint={"kernel": "k"},
    analyse=summarise, stream=sys.stderr, resume=len(sys.argv) > 3,
)  # fmt: skip
