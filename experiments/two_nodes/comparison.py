"""What experiments share that send everything through every mode: plugins and encapsulation."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from emulator.errors import Problem
from emulator.harness.experiment import Condition, Experiment, Matrix, Metric, Step
from emulator.harness.settings import Settings
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import Measured, Sample
from experiments import labs, traffic
from experiments.traffic import Traffic
from experiments.two_nodes import lab
from experiments.two_nodes.lab import Cell
from experiments.two_nodes.modes import MODES, MTU, PLACES, Way, pairs, way

TOOLS: Final = (*traffic.TOOLS, "tcpdump", "ping", "bird", "gobgpd")


class Loads(NamedTuple):
    """What is sent through modes in the kernel, and through those in user space: the same, but for
    the rate at which CPU time is measured."""

    usual: Traffic
    slow: Traffic

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Loads:
        """From the options of a run."""
        usual = Traffic.of(options)
        return cls(usual, usual._replace(cost_bit_s=int(options.get("slow_cost_bit_s", 0))))

    def through(self, condition: Condition) -> Traffic:
        """What is sent under a condition."""
        return self.slow if MODES[condition.arm].in_user_space else self.usual


Measure = Callable[[Loads, Cell, Condition], Iterable[Measured | Step]]


def matrix(arms: Sequence[str], places: Sequence[str] = PLACES) -> Matrix:
    """These modes in every place that they can be in, each to the host network."""
    return Matrix.cross(
        arms, {"place": places, "offload": ["wire"], "mtu": [MTU]}, pairs(arms),
        lambda one: isinstance(MODES[one.arm].at(str(one.factors["place"])), Way),
    )  # fmt: skip


def short() -> Traffic:
    """For a first look."""
    return Traffic(traffic.congestion_control(), CpuMap.for_machine(os.sched_getaffinity(0)))


def full_options(name: str, arms: Collection[str]) -> dict[str, Any]:
    """For a full run, after pilots for the two fixed rates where there is a speed."""
    rates_bit_s = lab.fixed_rates(name, short(), arms)
    long = short()._replace(
        throughput_s=1.5, omit_s=0.5, round_trips_s=1, cost_s=1.5, trial_s=0.5,
        trial_precision=0.03, cost_bit_s=rates_bit_s[False],
    )  # fmt: skip
    return {"quick": False, "slow_cost_bit_s": rates_bit_s[True], **long.as_options()}


def experiment(
    name: str, question: str, settings: Settings, declared: Matrix, counts: tuple[Metric, ...],
    measure: Measure, computed: Callable[[Way], Mapping[str, int]],
) -> Experiment[Cell]:  # fmt: skip
    """The experiment; what is ``computed`` of a way, by metric, must be found."""
    loads = Loads.of(settings.options)
    specs = labs.Specs(declared.conditions, lambda one: lab.spec(one, loads.usual.congestion))
    return Experiment(
        name=name,
        question=question,
        matrix=declared,
        metrics=loads.usual.metrics(),
        counts=counts,
        describe=labs.describer(specs),
        build=lambda condition, seed: lab.up(name, specs[condition.name], condition, seed),
        measure=partial(measure, loads),
        gate=lambda cell, condition, samples: gate(condition, samples, computed(way(condition))),
        headline=("throughput_bit_s",),
        exclusions=traffic.EXCLUSIONS,
        lacking=labs.lacking(specs),
    )


def gate(
    condition: Condition, samples: Sequence[Sample], computed: Mapping[str, int]
) -> list[Problem]:
    """Where the wire contradicts the sizes of headers; a measurement that failed does not."""
    return [
        Problem(f"{condition.name}: {sample.metric}", f"{sample.value:.0f} {sample.unit}",
                f"{computed[sample.metric]} {sample.unit}, by the sizes of headers")
        for sample in samples
        if sample.metric in computed and sample.value not in (None, computed[sample.metric])
    ]  # fmt: skip
