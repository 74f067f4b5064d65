"""``python -m experiments.calibration``: draws results/reference/calibration from stored runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from emulator.errors import PodwireError, Problem
from emulator.harness import store
from emulator.harness.bench import NATIVE, VIRTUAL, Bench
from emulator.harness.store import StoredRun
from emulator.report.summary import summarise
from experiments.calibration import plots

EXPERIMENT = "overlay-vs-routed"


def main() -> None:
    """Draw it, and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", default="results/reference", metavar="DIR")
    for path in draw(Path(parser.parse_args().reference)):
        print(path)


def draw(reference: Path) -> list[Path]:
    """The figure, from the latest native and the virtual run in ``reference``. PodwireError."""
    runs = [store.read(one) for one in store.runs(reference, EXPERIMENT)]
    native, virtual = (_of(runs, bench, reference) for bench in (NATIVE, VIRTUAL))
    summaries = (summarise(native), summarise(virtual))
    return plots.save(native, virtual, summaries, reference / "calibration")


def _of(runs: list[StoredRun], bench: str, reference: Path) -> StoredRun:
    found = [r for r in runs if Bench.of_fingerprint(r.manifest["fingerprint"]).bench == bench]
    if not found:
        raise PodwireError(
            Problem(str(reference / EXPERIMENT), f"no run of bench {bench}", "one to compare",
                    "git checkout it, or make reference")
        )  # fmt: skip
    return found[-1]


if __name__ == "__main__":
    main()
