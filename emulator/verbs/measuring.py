"""Verbs that run experiments and draw what is stored: run, plot.

The experiments stand right of this package, so they are found by name when a verb runs; see
``experiments/__init__.py`` for what a folder there must offer.  ``plot`` loads nothing of a live
lab: figures are drawn anywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from emulator.errors import PodwireError, Problem, SpecError, Unsupported
from emulator.harness import store
from emulator.harness.bench import Bench
from emulator.harness.interrupt import Interrupt
from emulator.harness.lock import measuring
from emulator.harness.settings import Settings, parse_precision
from emulator.report import summary as summaries
from emulator.report.statistics import FEWEST_BLOCKS
from emulator.verbs.output import as_json

LOCK = Path("/tmp/podwire-measuring.lock")
"""One file for all users: a measurement disturbs whoever measures beside it."""


def run_(arguments: argparse.Namespace) -> int:
    """Run an experiment, store it, draw it; 130 when it was interrupted. Without a name: a list."""
    experiments = import_module("experiments")
    if arguments.experiment is None:
        return _list(experiments.TABLE, arguments.output)
    from emulator.verbs.benches import where
    from emulator.verbs.guest import has_speed

    name: str = arguments.experiment
    interrupt = Interrupt()
    bench = where(arguments)
    # who is not disturbed may run beside others like it; all of them disturb who measures speed
    undisturbed = bench == "virtual" or (bench == "vm" and not has_speed())
    with (
        interrupt.listening(),
        measuring(LOCK, f"podwire run {name}", _say, undisturbed=undisturbed),
    ):
        measure = {"native": _measure, "vm": _in_guest, "virtual": _in_virtual}[bench]
        folder, status, code = measure(arguments, interrupt)
    if folder is None:
        return code
    if arguments.only_measure:
        print(json.dumps([str(folder), status]))
        return 0
    from emulator.report import (
        table,  # Matplotlib takes a while, and in the guest it is for nothing
    )

    plots = experiments.module(name, "plots")
    stored = store.read(folder)
    summary = getattr(plots, "analyse", summaries.summarise)(stored)
    store.renew_summary(folder, summary)
    figures = plots.draw(stored, summary, folder / "figures")
    figures += table.save(summary, folder / "figures")
    if arguments.output == "json":
        print(
            as_json(
                {"folder": str(folder), "status": status, "why": stored.manifest["why"],
                 "measuring_share": stored.manifest["measuring_share"], **summary,
                 "figures": [str(path) for path in figures]}
            )
        )  # fmt: skip
    else:
        _print(stored, summary, figures, getattr(plots, "report", None))
    return 130 if status == "interrupted" else 0


def _measure(arguments: argparse.Namespace, interrupt: Interrupt) -> tuple[Path | None, str, int]:
    """Measure here: the run's folder, and how it ended."""
    from emulator.harness.run import run
    from emulator.verbs import fingerprint
    from emulator.verbs.guest import in_guest

    experiments, name = import_module("experiments"), arguments.experiment
    module, analyse = experiments.module(name, "experiment"), summaries.summarise
    if not in_guest():
        analyse = getattr(experiments.module(name, "plots"), "analyse", analyse)
    Bench.here().require(name, getattr(module, "COUNTS", ()))
    if getattr(module, "COUNTED", False):
        raise Unsupported(
            Problem(f"experiment {name}", "instructions cannot be counted here", "bench virtual",
                    f"podwire run {name} --on virtual")
        )  # fmt: skip
    taken = fingerprint.take(module)
    resumed = _stored_settings(arguments, arguments.experiment) if arguments.resume else None
    settings = resumed or _wished(module.settings(arguments.quick), arguments)
    outcome = run(
        module.experiment(settings), settings, Path(arguments.results),
        fingerprint=taken, analyse=analyse, stream=sys.stderr, resume=arguments.resume,
        ask=interrupt.check,
    )  # fmt: skip
    return outcome.folder, outcome.status, 0


def _in_virtual(arguments: argparse.Namespace, interrupt: Interrupt) -> tuple[Path, str, int]:
    """Measure in guests of bench virtual, one for each cell; the run is kept here."""
    from emulator.verbs.virtual import Virtual, require

    name = arguments.experiment
    require(name)
    bench = Virtual.ready(_say)
    resumed = _stored_settings(arguments, name) if arguments.resume else None
    settings = resumed or _wished(bench.settings(name, arguments.quick), arguments)
    outcome = bench.run(
        name, settings, Path(arguments.results), ask=interrupt.check, resume=arguments.resume
    )
    return outcome.folder, outcome.status, 0


def _in_guest(arguments: argparse.Namespace, _: Interrupt) -> tuple[Path | None, str, int]:
    """Measure in the guest, which writes the run into our own folder of results.

    No folder, and the code, where it says that it could not.
    """
    from emulator.verbs.guest import forward, hearing

    heard = bytearray()
    code = forward(arguments, ["run", "--only-measure", *arguments.words[1:]], hearing(heard))
    if code:
        return None, "", code
    folder, status = json.loads(heard.decode().splitlines()[-1])
    return Path(folder), status, 0


def plot_(arguments: argparse.Namespace) -> int:
    """Draw the figures of stored runs anew, into their folders; their summary with them."""
    folders = [Path(one) for one in arguments.runs] or _all_latest(Path(arguments.results))
    if not folders:
        raise PodwireError(
            Problem(arguments.results, "no stored run", "one to draw",
                    "podwire run overlay-vs-routed --quick makes one")
        )  # fmt: skip
    redraw(folders, arguments.pgf, print)
    return 0


def redraw(
    folders: Iterable[Path], pgf: bool = False, tell: Callable[[Path], None] = lambda path: None
) -> None:
    """Summary, figures and tables of stored runs, anew; ``tell`` hears of every file."""
    from emulator.report import table

    experiments = import_module("experiments")
    for folder in folders:
        run = store.read(folder)
        plots = experiments.module(run.manifest["experiment"], "plots")
        summary = getattr(plots, "analyse", summaries.summarise)(run)
        if store.renew_summary(folder, summary):
            tell(folder / "summary.json")
        for path in plots.draw(run, summary, folder / "figures", pgf=pgf):
            tell(path)
        for path in table.save(summary, folder / "figures"):
            tell(path)


def _list(experiments: Mapping[str, str], output: str) -> int:
    module = import_module("experiments").module
    questions = {name: module(name, "experiment").QUESTION for name in experiments}
    if output == "json":
        print(as_json(questions))
    else:
        width = max(map(len, questions))
        for name, question in questions.items():
            print(f"{name:<{width}}  {question}")
        print("\nrun one: podwire run NAME [--quick]")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _wished(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """The experiment's own settings, with what the command line says otherwise."""
    wishes: dict[str, Any] = {}
    if arguments.blocks is not None:
        wishes["blocks"] = arguments.blocks
        wishes["most_blocks"] = max(arguments.blocks, settings.most_blocks)
    if arguments.precision is not None:
        wishes["precision"] = parse_precision(arguments.precision)
    if arguments.seconds is not None:
        wishes["budget_s"] = arguments.seconds
    if arguments.seed is not None:
        wishes["seed"] = arguments.seed
    return replace(settings, **wishes)


def _stored_settings(arguments: argparse.Namespace, name: str) -> Settings | None:
    """Those of the run to be resumed, whole: half a run under other ones would be no run."""
    folder = store.unfinished(Path(arguments.results), name)
    if folder is None:
        return None  # the loop says what is missing
    stored = store.read(folder).manifest["settings"]
    given = {one: getattr(arguments, one) for one in ("blocks", "precision", "seconds", "seed")}
    other = [f"--{one}" for one, value in given.items() if value is not None]
    if arguments.quick and not stored["options"].get("quick"):
        other.append("--quick")
    if other:
        raise SpecError(
            Problem("--resume", f"also {', '.join(other)}", f"the settings of {folder} alone",
                    "resume without, or start a new run without --resume")
        )  # fmt: skip
    return Settings(**stored)


def _all_latest(results: Path) -> list[Path]:
    """The latest run of each experiment, and every run that is kept in ``reference``."""
    found = []
    for name in import_module("experiments").TABLE:
        link = results / name / "latest"
        if link.is_dir():
            found.append(link.resolve())
        found += store.runs(results / "reference", name)
    return found


def _print(
    run: store.StoredRun, summary: Mapping[str, Any], figures: list[Path], report: Any
) -> None:
    from emulator.report import figure, table

    wall_s = sum(session["wall_s"] for session in run.manifest["sessions"])
    kinds = ("metrics", "counts")
    declared = {metric["name"] for kind in kinds for metric in run.manifest.get(kind, ())}
    cells = [cell for cell in summary["cells"] if cell["metric"] in declared]
    if cells:
        print(table.text(table.values({**summary, "cells": cells})))
    if summary["comparisons"]:
        print(table.text(table.ratios(summary)))
    if report is not None:
        print(report(summary))
    floors = ", ".join(
        f"{metric} {figure.percent(floor)}" for metric, floor in summary["noise_floor"].items()
    )
    print(f"noise floor: {floors or f'none (it needs an A/A pair over {FEWEST_BLOCKS} blocks)'}")
    for note in (told := [note for note in summary["notes"] if _heads(note, run)]):
        print(f"note: {note}")
    if len(told) < len(summary["notes"]):
        print(f"{len(summary['notes']) - len(told)} more notes in {run.folder / 'summary.json'}")
    print(f"{wall_s:.0f} s, of which {_measuring(run)} measuring. Results: {run.folder}")
    for path in figures:
        if path.suffix == ".png":
            print(f"figure: {path} (also .pdf, caption in .txt, numbers in .csv)")
    print(f"tables: {run.folder / 'figures'}/{{ratios,values}}.md (also .csv, .tex)")


def _measuring(run: store.StoredRun) -> str:
    if Bench.of_fingerprint(run.manifest["fingerprint"]).own_clock:
        spent_s = sum(one["measured_s"] for one in run.manifest["sessions"])
        return f"{spent_s:.1f} s of the guests' own clocks"
    return f"{run.manifest['measuring_share'] or 0.0:.0%}"


def _heads(note: str, run: store.StoredRun) -> bool:
    """Whether a note is about no single metric, or about one that the run is judged by."""
    about = note.split(" of ")[0].split(":")[0]
    measured = {row.metric for row in run.rows}
    return about not in measured or about in run.manifest["headline"]
