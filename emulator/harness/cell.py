"""One cell of a run: a lab under one condition, built, measured, looked at, gone.

A run asks for the cells of a block in their order and does not know where they are measured.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from emulator.errors import Problem
from emulator.harness import store as stores
from emulator.harness.bench import Bench
from emulator.harness.experiment import Condition, Experiment
from emulator.measure.sample import Sample

LabT = TypeVar("LabT")


class Cell(NamedTuple):
    """What a cell has come to. ``raw``: the tools' outputs by name, for each step in turn;
    ``problems``: in which way the lab was not what the condition claims."""

    started: str
    spent_s: float
    samples: tuple[Sample, ...]
    raw: tuple[Mapping[str, bytes], ...]
    problems: tuple[Problem, ...]

    def as_json(self) -> dict[str, Any]:
        """For who measured it elsewhere to be told."""
        return {
            "started": self.started,
            "spent_s": self.spent_s,
            "samples": [one._asdict() for one in self.samples],
            "raw": [
                {name: base64.b64encode(content).decode() for name, content in files.items()}
                for files in self.raw
            ],
            "problems": [one._asdict() for one in self.problems],
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Cell:
        """Back from :meth:`as_json`."""
        return cls(
            document["started"],
            document["spent_s"],
            tuple(Sample(**one) for one in document["samples"]),
            tuple(
                {name: base64.b64decode(text) for name, text in files.items()}
                for files in document["raw"]
            ),
            tuple(Problem(**one) for one in document["problems"]),
        )


Cells = Callable[[int, Sequence[Condition]], Generator[Cell, None, None]]
"""From a block's seed and the conditions that it has to the cells, in that order."""


def measure(
    experiment: Experiment[LabT], condition: Condition, seed: int, bench: Bench,
    clock: Callable[[], float] = time.monotonic,
) -> Cell:  # fmt: skip
    """Build the lab and measure it. PodwireError of a lab or an instrument."""
    samples: list[Sample] = []
    raw = []
    with experiment.build(condition, seed) as lab:
        started, began = stores.now(), clock()
        for one in experiment.measure(lab, condition):
            measured = bench.taken(one)
            samples += measured.samples
            raw.append(measured.raw)
        spent_s = clock() - began
        problems = experiment.gate(lab, condition, samples)
    return Cell(started, spent_s, tuple(samples), tuple(raw), tuple(problems))


def here(
    experiment: Experiment[Any], bench: Bench, clock: Callable[[], float] = time.monotonic
) -> Cells:
    """Cells measured by this process, one after the other, each when it is asked for."""
    return lambda seed, order: (measure(experiment, one, seed, bench, clock) for one in order)
