"""``podwire run --on virtual``: the cells of a run, each measured by a guest of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from emulator.bench.virtual.ready import Ready
from emulator.errors import Problem, Unsupported
from emulator.harness import store
from emulator.harness.cell import Cell, Cells
from emulator.harness.experiment import Condition
from emulator.harness.progress import Progress
from emulator.harness.run import Outcome, run
from emulator.harness.settings import Settings
from emulator.report import summary as summaries
from emulator.verbs import fingerprint

_ERRANDS = "emulator.verbs.errands"
_GUESTS_CPUS = 1


class Virtual(Ready):
    """The bench, ready, with experiments of its own."""

    def settings(self, experiment: str, quick: bool) -> Settings:
        """An experiment's own. Nothing is cold there: each cell begins where all others begin."""
        return replace(Settings(**self._prepared(experiment, quick)["settings"]), warm_up=False)

    def run(
        self, name: str, settings: Settings, results: Path, *, ask: Callable[[], None],
        resume: bool = False, progress: Progress | None = None,
        name_of_run: str | None = None,
    ) -> Outcome:  # fmt: skip
        """Run an experiment; as :func:`emulator.harness.run.run`, with cells from guests."""
        experiments = import_module("experiments")
        declared = experiments.module(name, "experiment").experiment(settings)
        found = self._prepared(name, bool(settings.options.get("quick")))
        plots = experiments.module(name, "plots")
        return run(
            replace(declared, lacking=lambda condition: found["lacking"][condition.name]),
            settings, results,
            fingerprint={**found["fingerprint"], "git_commit": fingerprint.commit()},
            analyse=getattr(plots, "analyse", summaries.summarise), stream=sys.stderr,
            resume=resume, ask=ask, cells=self._cells(name, settings), progress=progress,
            name=name_of_run,
        )  # fmt: skip

    def _prepared(self, experiment: str, quick: bool) -> dict[str, Any]:
        """See :func:`emulator.verbs.errands.prepare`; a guest says the same each time, so what it
        has said is kept."""
        kept = self.moment.with_name(
            f"{self.moment.name}-{experiment}-{'quick' if quick else 'full'}.json"
        )
        try:
            found: dict[str, Any] = json.loads(kept.read_text())
        except (OSError, ValueError):
            argument = {"experiment": experiment, "quick": quick}
            (found,) = self.carried_out(f"{_ERRANDS}:prepare", [argument], [experiment])
            store.replace(kept, json.dumps(found))
        return found

    def _cells(self, experiment: str, settings: Settings) -> Cells:
        """Cells of an experiment under its settings, as many at a time as there are CPUs here."""

        def of_block(seed: int, order: Sequence[Condition]) -> Generator[Cell, None, None]:
            arguments = [
                {"experiment": experiment, "settings": settings.as_json(),
                 "condition": one.name, "seed": seed}
                for one in order
            ]  # fmt: skip
            seeds = [f"{seed} {one.name}" for one in order]
            for told in self.carried_out(f"{_ERRANDS}:cell", arguments, seeds):
                yield Cell.of_json(told)

        return of_block


def require(name: str) -> None:
    """Unsupported for an experiment that one CPU cannot carry."""
    cpus = getattr(import_module("experiments").module(name, "experiment"), "CPUS", 1)
    if cpus > _GUESTS_CPUS:
        raise Unsupported(
            Problem(f"experiment {name}", f"it needs {cpus} CPUs, and bench virtual has one",
                    "work for one CPU", "run it with --on native or --on vm")
        )  # fmt: skip
