"""``podwire reproduce``: the reference results of bench ``virtual``, made again and compared."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from emulator.errors import Problem, SpecError
from emulator.harness import store
from emulator.harness.interrupt import Interrupt
from emulator.harness.lock import measuring
from emulator.harness.progress import Progress
from emulator.harness.settings import Settings
from emulator.harness.store import StoredRun
from emulator.report import reproduction, table
from emulator.report.reproduction import Reproduction
from emulator.verbs.measuring import LOCK, redraw
from emulator.verbs.output import as_json, counted
from emulator.verbs.virtual import Virtual

NAME = "virtual"
"""Of the run that is an experiment's reference on that bench."""
_UNKNOWN_S = 10.0
"""A cell of an experiment that has no reference yet."""
_OTHER_IMAGE = (
    "of another image than the reference (another version of Podwire, of a package or of QEMU): "
    "medians are compared, not samples."
)
_MORE = (
    "More differs than may: if that is meant, make reference, and commit it with what changed it."
)


def reproduce_(arguments: argparse.Namespace) -> int:
    """Make reference runs again and compare them sample by sample; 1 when more differs than may.

    With ``--renew`` they take the place of the old ones. 130 when it was interrupted.
    """
    names = arguments.experiments or list(import_module("experiments").REFERENCES)
    folder = Path(arguments.reference)
    before = _references(folder, names, needed=not arguments.renew)
    interrupt, began = Interrupt(), time.monotonic()
    found: list[Reproduction] = []
    with interrupt.listening(), measuring(LOCK, "podwire reproduce", _say, undisturbed=True):
        bench = Virtual.ready(_say)
        settings = {
            name: _settings(bench, name, None if arguments.renew else before[name])
            for name in names
        }
        cells = {name: _cells(name, settings[name]) for name in names}
        each_s = {name: _each_s(before.get(name)) for name in names}
        progress = Progress(sys.stderr, sum(cells[name] * each_s[name] for name in names))
        for name in names:
            progress.weight = each_s[name]
            with _results(arguments) as (results, run):
                outcome = bench.run(
                    name, settings[name], results, ask=interrupt.check, progress=progress,
                    name_of_run=run,
                )  # fmt: skip
                if outcome.status == "interrupted":
                    return 130
                if name in before:
                    again = store.read(outcome.folder)
                    found.append(_compared(before[name], again, arguments.medians))
                if arguments.renew:
                    _take_the_place(outcome.folder, folder / name / NAME)
    for name in arguments.experiments or import_module("experiments").TABLE:
        redraw(store.runs(folder, name))
    return _told(found, time.monotonic() - began, arguments)


def _references(folder: Path, names: Sequence[str], needed: bool) -> dict[str, StoredRun]:
    """The stored ones. SpecError for a name that has none."""
    known = import_module("experiments").REFERENCES
    wrong = [name for name in names if name not in known]
    there = {name: folder / name / NAME for name in names if (folder / name / NAME).is_dir()}
    problems = [
        Problem("experiment", repr(name), f"one with a reference: {', '.join(known)}")
        for name in wrong
    ]
    problems += [
        Problem(str(folder / name / NAME), "no run", "the reference of bench virtual",
                "git checkout it, or make reference")
        for name in names if needed and name in known and name not in there
    ]  # fmt: skip
    if problems:
        raise SpecError(*problems)
    return {name: store.read(path) for name, path in there.items()}


def _settings(bench: Virtual, name: str, before: StoredRun | None) -> Settings:
    """Those of the reference; for a new one what the experiments' table says."""
    if before is not None:
        return Settings(**before.manifest["settings"])
    quick, blocks = import_module("experiments").REFERENCES[name]
    own = bench.settings(name, quick)
    return Settings(**{**own.as_json(), "blocks": blocks, "most_blocks": max(60, blocks)})


def _cells(name: str, settings: Settings) -> int:
    declared = import_module("experiments").module(name, "experiment").experiment(settings)
    return settings.blocks * len(declared.matrix.conditions)


def _each_s(reference: StoredRun | None) -> float:
    """How long a cell took when the reference was made: what it counts for in the bar."""
    if reference is None:
        return _UNKNOWN_S
    cells = len({row.cell for row in reference.rows})
    return float(sum(one["wall_s"] for one in reference.manifest["sessions"])) / max(1, cells)


@contextmanager
def _results(arguments: argparse.Namespace) -> Iterator[tuple[Path, str | None]]:
    """Where a run goes, and its name: to the usual place, or for a new reference beside the old
    one, until it takes its place."""
    if not arguments.renew:
        yield Path(arguments.results), None
        return
    Path(arguments.reference).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.reference, prefix=".renewing-") as beside:
        yield Path(beside), NAME


def _compared(before: StoredRun, again: StoredRun, medians: bool) -> Reproduction:
    plots = import_module("experiments").module(before.manifest["experiment"], "plots")
    tolerances: Mapping[str, float] | None = getattr(plots, "TOLERANCES", None)
    return reproduction.compare(before, again, tolerances, medians=medians)


def _take_the_place(fresh: Path, of: Path) -> None:
    """Without the tools' own outputs: each value is in the samples, and who runs it again has
    them."""
    shutil.rmtree(fresh / "raw", ignore_errors=True)
    shutil.rmtree(of, ignore_errors=True)
    of.parent.mkdir(parents=True, exist_ok=True)
    fresh.rename(of)


def _told(found: Sequence[Reproduction], took_s: float, arguments: argparse.Namespace) -> int:
    good = all(one.good for one in found)
    if arguments.output == "json":
        print(as_json([{**one._asdict(), "lines": [line._asdict() for line in one.lines],
                        "good": one.good} for one in found]))  # fmt: skip
    elif found:
        print(table.text(reproduction.table(found)))
        same = [one.experiment for one in found if all(x.verdict == "same" for x in one.lines)]
        print(f"{counted(len(found), 'experiment')} made again in {took_s:.0f} s, "
              f"{len(same)} the same in every sample.")  # fmt: skip
        others = [one.experiment for one in found if not one.image]
        if others:
            print(f"{', '.join(others)}: {_OTHER_IMAGE}")
        if not good:
            print(_MORE)
    return 0 if good or arguments.renew else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
