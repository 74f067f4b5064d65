"""``podwire run --on virtual``: the cells of a run, each measured by a guest of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from emulator.bench.virtual import guests, image, lock, machine, pool, renew
from emulator.bench.virtual.guests import Say
from emulator.bench.virtual.image import Image
from emulator.errors import Problem, Unsupported
from emulator.harness import store
from emulator.harness.cell import Cell, Cells
from emulator.harness.experiment import Condition
from emulator.harness.progress import Progress
from emulator.harness.run import Outcome, run
from emulator.harness.settings import Settings
from emulator.patience import VARIABLE
from emulator.report import summary as summaries
from emulator.verbs import fingerprint

_GUESTS_CPUS = 1


class Virtual(NamedTuple):
    """The bench, ready: its image, and the guest that was frozen when it had loaded everything."""

    image: Image
    moment: Path

    @classmethod
    def ready(cls, say: Say) -> Virtual:
        """Fetched, made and frozen, unless it was before. Unsupported where that cannot be."""
        made = image.made(*renew.to_be_had(lock.read(), say), say)
        return cls(made, guests.frozen(made, say))

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
            (found,) = self._carried_out([self._order("prepare", argument, experiment)])
            store.replace(kept, json.dumps(found))
        return found

    def _cells(self, experiment: str, settings: Settings) -> Cells:
        """Cells of an experiment under its settings, as many at a time as there are CPUs here."""

        def of_block(seed: int, order: Sequence[Condition]) -> Generator[Cell, None, None]:
            orders = [
                self._order(
                    "cell",
                    {"experiment": experiment, "settings": settings.as_json(),
                     "condition": one.name, "seed": seed},
                    f"{seed} {one.name}",
                )
                for one in order
            ]  # fmt: skip
            for told in self._carried_out(orders):
                yield Cell.of_json(told)

        return of_block

    def _order(self, call: str, argument: Mapping[str, Any], seed: str) -> dict[str, Any]:
        facts = json.dumps(machine.facts(self.image))
        return {
            "call": f"emulator.verbs.errands:{call}", "argument": argument, "seed": seed,
            "env": {VARIABLE: facts},
        }  # fmt: skip

    def _carried_out(self, orders: Sequence[Mapping[str, Any]]) -> Generator[Any, None, None]:
        return pool.answers(self.image, self.moment, orders)


def require(name: str) -> None:
    """Unsupported for an experiment that one CPU cannot carry."""
    cpus = getattr(import_module("experiments").module(name, "experiment"), "CPUS", 1)
    if cpus > _GUESTS_CPUS:
        raise Unsupported(
            Problem(f"experiment {name}", f"it needs {cpus} CPUs, and bench virtual has one",
                    "work for one CPU", "run it with --on native or --on vm")
        )  # fmt: skip
