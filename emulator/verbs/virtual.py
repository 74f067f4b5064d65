"""Bench ``virtual``, from both ends: what is asked of a guest, and what is done in it.

What runs in the guest (``prepare``, ``cell``) takes plain JSON and gives plain JSON.
"""

from __future__ import annotations

import base64
from importlib import import_module
from typing import Any

from emulator import cluster, supervisor  # noqa: F401 - loaded before the guest is frozen
from emulator.errors import Problem
from emulator.harness import cell as cells
from emulator.harness.bench import Bench
from emulator.harness.cell import Cell
from emulator.harness.settings import Settings
from emulator.measure.sample import Sample

_EXPERIMENTS = import_module("experiments")
for _name in _EXPERIMENTS.TABLE:
    _EXPERIMENTS.module(_name, "experiment")


def prepare(argument: dict[str, Any]) -> dict[str, Any]:
    """The settings of an experiment, as this machine finds them."""
    module = _EXPERIMENTS.module(argument["experiment"], "experiment")
    settings: Settings = module.settings(argument["quick"])
    return {"settings": settings.as_json()}


def cell(argument: dict[str, Any]) -> dict[str, Any]:
    """Measure one condition."""
    module = _EXPERIMENTS.module(argument["experiment"], "experiment")
    experiment = module.experiment(Settings(**argument["settings"]))
    (condition,) = (
        one for one in experiment.matrix.conditions if one.name == argument["condition"]
    )
    return told(cells.measure(experiment, condition, argument["seed"], Bench.here()))


def told(one: Cell) -> dict[str, Any]:
    """A cell as JSON."""
    return {
        "started": one.started,
        "spent_s": one.spent_s,
        "samples": [sample._asdict() for sample in one.samples],
        "raw": [
            {name: base64.b64encode(content).decode() for name, content in files.items()}
            for files in one.raw
        ],
        "problems": [problem._asdict() for problem in one.problems],
    }


def heard(document: dict[str, Any]) -> Cell:
    """A cell from JSON."""
    return Cell(
        document["started"],
        document["spent_s"],
        tuple(Sample(**one) for one in document["samples"]),
        tuple(
            {name: base64.b64decode(text) for name, text in files.items()}
            for files in document["raw"]
        ),
        tuple(Problem(**one) for one in document["problems"]),
    )
