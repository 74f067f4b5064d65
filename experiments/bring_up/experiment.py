"""Bring-up: what a cluster of a given size costs in time and memory, against floor and Mininet.

Each cell is one lab: brought up from a drained kernel, looked at, taken down, and waited for
until the kernel has freed it. README.md says what is compared with what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from emulator.compile import compile_spec
from emulator.errors import Problem
from emulator.harness.bench import Bench
from emulator.harness.experiment import Condition, Description, Experiment, Matrix, Metric, Pair
from emulator.harness.settings import Settings
from emulator.measure.drain import drained, meminfo, settled, unreclaimable_kib
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, Sample
from emulator.spec import dump, load_text
from experiments.bring_up import arms
from experiments.bring_up.arms import Standing, Traces
from experiments.bring_up.sizes import Size, parse
from experiments.bring_up.world_cost import cost, inhabitants, pid_namespace

NAME = "bring-up"
QUESTION = "How long does a cluster take to come up, and what does it hold while it stands?"
QUICK, SIZES, LARGE = ("2x2", "10x10"), ("2x2", "10x10", "50x10"), "100x100"
ARMS = ("podwire", "podwire again", "replay", "mininet", "command")
OURS = ("podwire", "podwire again", "command")
PAIRS = (
    Pair("podwire", "replay"),
    Pair("mininet", "podwire"),
    Pair("command", "podwire"),
    Pair("podwire again", "podwire", twin=True),
)
TOOLS = ("nft", "mnexec", "brctl", "ifconfig")
DRAIN_S = 60.0
GAUGED_PODS = 500
"""The smallest cluster whose kernel memory stands out from what the machine's other work takes."""

METRICS = (
    Metric("up_s", "s", "lower", "time to a ready lab"),
    Metric("down_s", "s", "lower", "time of taking it down"),
    Metric("drain_s", "s", "lower", "time until the kernel has freed it"),
    Metric("kernel_kib_per_pod", "KiB", None, "kernel memory per pod"),
    Metric("user_kib_per_pod", "KiB", None, "memory of processes per pod"),
)
"""Those whose ratios are reported."""
_UNITS = {
    **{metric.name: metric.unit for metric in METRICS},
    "available_kib_per_pod": "KiB",
    "processes": "1",
    "left": "1",
    "check_s": "s",
    "plan_s": "s",
}


class Prepared(NamedTuple):
    """A cell about to begin: its size, and the gauges of the drained kernel."""

    size: Size
    slab_kib: int
    available_kib: int


class Labs:
    """Knows the arms, and whether the kernel has been waited for."""

    def __init__(self) -> None:
        self._traces = Traces()
        self._arms: dict[str, Callable[[Size], AbstractContextManager[Standing]]] = {
            "podwire": arms.podwire,
            "podwire again": arms.podwire,
            "replay": arms.replay(self._traces),
            "mininet": arms.stock,
            "command": arms.command,
        }
        self._drained = False
        # where cells know nothing of each other, each would measure a kernel's first lab
        self._alone = Bench.here().own_clock

    def describe(self, condition: Condition) -> Description:
        """The spec and the plan of a size (stock Mininet gets a host for each node and pod)."""
        spec = load_text(_size(condition).yaml())
        return Description(dump(spec), compile_spec(spec).text())

    @contextmanager
    def build(self, condition: Condition, seed: int) -> Iterator[Prepared]:
        """Nothing is built ahead: coming up is what is measured."""
        size = _size(condition)
        if condition.arm == "replay" and size not in self._traces:
            self._traces.get(size)
            self._drained = False
        if not self._drained:
            if self._alone and condition.arm in self._arms:
                with self._arms[condition.arm](size) as rehearsal:
                    rehearsal.down()
            settled(DRAIN_S)
            self._drained = True
        yield Prepared(size, unreclaimable_kib(), meminfo("MemAvailable"))

    def measure(self, cell: Prepared, condition: Condition) -> Iterable[Measured]:
        """One lab from up to drained, or for arm ``plan`` the two commands that compile."""
        if condition.arm == "plan":
            check, plan = arms.compiling(cell.size)
            yield _measured(check_s=check, plan_s=plan)
            return
        with self._arms[condition.arm](cell.size) as standing:
            yield _measured(standing.detail, up_s=standing.up_s)
            slab, available = unreclaimable_kib(), meminfo("MemAvailable")
            held = cost(standing.world)
            namespace = pid_namespace(standing.world)
            yield _measured(
                user_kib_per_pod=held.user_kib / cell.size.pods, processes=held.processes
            )
            if cell.size.pods >= GAUGED_PODS:
                yield _measured(
                    kernel_kib_per_pod=(slab - cell.slab_kib) / cell.size.pods,
                    available_kib_per_pod=(cell.available_kib - available) / cell.size.pods,
                )
            down_s = standing.down()
            yield _measured(down_s=down_s, left=len(inhabitants(namespace)))
        yield self._drain(cell, slab)

    def _drain(self, cell: Prepared, slab_kib: int) -> Measured:
        """What other programs allocate meanwhile can keep the level from coming back."""
        try:
            return _measured(drain_s=drained(cell.slab_kib, slab_kib, DRAIN_S))
        except MeasureFailed as failure:
            self._drained = False
            return Measured((Sample("drain_s", None, "s", {}, str(failure)),), {})

    @staticmethod
    def gate(cell: Prepared, condition: Condition, samples: Sequence[Sample]) -> list[Problem]:
        """A lab of Podwire's keeps no process per pod, and down leaves nothing to see."""
        problems = []
        for sample in samples:
            value = sample.value or 0
            if sample.metric == "left" and value:
                problems.append(Problem(condition.name, f"{value:g} processes after down", "none"))
            if sample.metric == "processes" and condition.arm in OURS and value > 4:
                problems.append(Problem(condition.name, f"{value:g} processes", "the supervisor"))
        return problems


def _measured(detail: object = None, **values: float) -> Measured:
    kept = dict(detail) if isinstance(detail, dict) else {}
    samples = (Sample(name, float(value), _UNITS[name], kept) for name, value in values.items())
    return Measured(tuple(samples), {})


def _size(condition: Condition) -> Size:
    return parse(str(condition.factors["size"]))


def settings(quick: bool) -> Settings:
    """Every size in eight blocks, or twice for a first look."""
    links = load_text(parse(LARGE).yaml()).links
    options = {
        "quick": quick,
        "sizes": list(QUICK) if quick else [*SIZES, LARGE],
        "links": {"offload": links.offload, "mtu": links.mtu},
    }
    return Settings(blocks=2 if quick else 8, warm_up=not quick, options=options)


def experiment(settings: Settings) -> Experiment[Prepared]:
    """The experiment as its settings say; ``options`` come from ``settings()``."""
    labs = Labs()
    return Experiment(
        name=NAME,
        question=QUESTION,
        matrix=matrix([str(size) for size in settings.options["sizes"]]),
        metrics=METRICS,
        describe=labs.describe,
        build=labs.build,
        measure=labs.measure,
        gate=labs.gate,
        headline=("up_s",),
    )


def matrix(sizes: Sequence[str]) -> Matrix:
    """Every arm at every size, but for the largest: there Podwire alone. Compiling up to it.

    The A/A pair stands at the largest size that all arms have: what a few milliseconds more are
    to the smallest ones says nothing about it.
    """
    shared = [size for size in sizes if size != LARGE]
    twin_at = max(shared, key=lambda size: parse(size).pods)
    conditions = [
        Condition(arm, {"size": size})
        for size in sizes
        for arm in (ARMS if size in shared else ARMS[:1])
        if arm != "podwire again" or size == twin_at
    ]
    conditions += [Condition("plan", {"size": size}) for size in dict.fromkeys((*sizes, LARGE))]
    return Matrix(tuple(conditions), PAIRS)
