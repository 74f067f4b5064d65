"""``podwire run --on virtual``: the cells of a run, each measured by a guest of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emulator.bench.virtual import counting, symbols
from emulator.bench.virtual.ready import Ready
from emulator.bench.virtual.symbols import Symbols
from emulator.errors import Problem, Unsupported
from emulator.harness import store
from emulator.harness.cell import Cell, Cells
from emulator.harness.experiment import Condition
from emulator.harness.progress import Progress
from emulator.harness.run import Outcome, run
from emulator.harness.settings import Settings
from emulator.measure import instructions
from emulator.report import summary as summaries
from emulator.verbs import fingerprint

_ERRANDS = "emulator.verbs.errands"
_SYMBOLS = "symbols.json"
_GUESTS_CPUS = 1


class Virtual(Ready):
    """The bench, ready, with experiments of its own."""

    def settings(self, experiment: str, quick: bool) -> Settings:
        """An experiment's own. Nothing is cold there: each cell begins where all others begin."""
        return replace(Settings(**self.prepared(experiment, quick)["settings"]), warm_up=False)

    def run(
        self, name: str, settings: Settings, results: Path, *, ask: Callable[[], None],
        resume: bool = False, progress: Progress | None = None,
        name_of_run: str | None = None,
    ) -> Outcome:  # fmt: skip
        """Run an experiment; as :func:`emulator.harness.run.run`, with cells from guests."""
        experiments = import_module("experiments")
        declared = experiments.module(name, "experiment").experiment(settings)
        found = self.prepared(name, bool(settings.options.get("quick")))
        plots = experiments.module(name, "plots")
        return run(
            replace(declared, lacking=lambda condition: found["lacking"][condition.name]),
            settings, results,
            fingerprint={**found["fingerprint"], "git_commit": fingerprint.commit()},
            analyse=getattr(plots, "analyse", summaries.summarise), stream=sys.stderr,
            resume=resume, ask=ask, cells=self.cells(name, settings), progress=progress,
            name=name_of_run,
        )  # fmt: skip

    def prepared(self, experiment: str, quick: bool) -> dict[str, Any]:
        """See :func:`emulator.verbs.errands.prepare`; kept with the frozen guest."""
        kept = self.moment.with_name(f"{experiment}-{'quick' if quick else 'full'}.json")
        return self._once(kept, "prepare", {"experiment": experiment, "quick": quick})

    def _symbols(self) -> Symbols:
        """See :func:`emulator.verbs.errands.symbols`; the same for all versions of ours."""
        kept = self.image.kernel.with_name(_SYMBOLS)
        if not kept.exists():
            _say("bench virtual: a guest lists the kernel's symbols, once for an image …")
        told = self._once(kept, "symbols", {})
        return symbols.parsed(told["kallsyms"], told["modules"])

    def _once(self, kept: Path, call: str, argument: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of an errand. A guest says the same each time, so it is kept in a file."""
        try:
            found: dict[str, Any] = json.loads(kept.read_text())
        except (OSError, ValueError):
            (found,) = self.carried_out(f"{_ERRANDS}:{call}", [argument], [call])
            store.replace(kept, json.dumps(found))
        return found

    def cells(self, experiment: str, settings: Settings) -> Cells:
        """Cells of an experiment under its settings, as many at a time as there are CPUs here; with
        the instructions that its programs' marks ask for, where it counts them."""
        counted = getattr(
            import_module("experiments").module(experiment, "experiment"), "COUNTED", False
        )
        table = self._symbols() if counted else None

        def of_block(seed: int, order: Sequence[Condition]) -> Generator[Cell, None, None]:
            arguments = [
                {"experiment": experiment, "settings": settings.as_json(),
                 "condition": one.name, "seed": seed}
                for one in order
            ]  # fmt: skip
            seeds = [f"{seed} {one.name}" for one in order]
            with TemporaryDirectory(prefix="podwire-counts-") as folder:
                files = [Path(folder) / str(number) for number in range(len(order))]
                told = self.carried_out(
                    f"{_ERRANDS}:cell", arguments, seeds, files if table else ()
                )
                with closing(told):
                    for one, file in zip(told, files, strict=True):
                        cell = Cell.of_json(one)
                        yield _with_counts(cell, file, table) if table else cell

        return of_block


def _with_counts(cell: Cell, file: Path, table: Symbols) -> Cell:
    """The cell with values for its samples of instructions, and all that was counted beside."""
    modules = next(
        (one[instructions.MODULES] for one in cell.raw if instructions.MODULES in one), b""
    )
    phases = counting.functions(file, table, modules.decode())
    file.unlink()
    samples = tuple(instructions.filled(one, phases) for one in cell.samples)
    told = {instructions.FUNCTIONS: instructions.as_text(phases).encode()}
    return cell._replace(samples=samples, raw=(*cell.raw, told))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def require(name: str) -> None:
    """Unsupported for an experiment that one CPU cannot carry."""
    cpus = getattr(import_module("experiments").module(name, "experiment"), "CPUS", 1)
    if cpus > _GUESTS_CPUS:
        raise Unsupported(
            Problem(f"experiment {name}", f"it needs {cpus} CPUs, and bench virtual has one",
                    "work for one CPU", "run it with --on native or --on vm")
        )  # fmt: skip
