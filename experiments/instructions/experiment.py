"""Instructions: what a round trip, a packet and a byte cost the kernel under each network.

README.md says what is counted, and how to read the result; the modes are those of ``two_nodes``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from emulator.harness.experiment import Condition, Experiment, Matrix, Metric, Pair
from emulator.harness.settings import Settings
from emulator.measure import instructions
from emulator.measure.marked import Load
from emulator.measure.sample import INSTRUCTIONS, Measured
from emulator.measure.sample import METRICS as VOCABULARY
from emulator.spec.resolved import ResolvedSpec
from experiments import labs, traffic
from experiments.two_nodes import lab
from experiments.two_nodes.lab import Cell
from experiments.two_nodes.modes import BASELINE, MODES, MTU, PLACES

NAME: Final = "instructions"
QUESTION: Final = "Where in the kernel does each network spend its instructions?"
TOOLS: Final = ("ip", "nft", "bird", "gobgpd")
COUNTED: Final = True
ROUTED: Final = "host-gw"
TWIN: Final = "host-gw again"
QUICK: Final = (ROUTED, TWIN, "vxlan")
TITLES: Final = {
    "round_trip": "instructions for a round trip",
    "packet": "instructions for a packet",
    "byte": "instructions for a byte",
}
METRICS: Final = tuple(
    Metric(metric, VOCABULARY[metric].unit, "lower", title)
    for metric, title in zip(INSTRUCTIONS, TITLES.values(), strict=True)
)
COUNTS: Final = METRICS
LOAD: Final = Load(
    echoes=300, bursts=10, burst_packets=64, payload_b=64, short_b=1 << 20, long_b=4 << 20
)


def arms() -> list[str]:
    """Every mode whose packets the kernel carries, the routed one twice."""
    kernels = [arm for arm, mode in MODES.items() if not mode.in_user_space]
    kernels.remove("host again")
    return [*kernels[: kernels.index(ROUTED) + 1], TWIN, *kernels[kernels.index(ROUTED) + 1 :]]


def matrix(quick: bool) -> Matrix:
    """All modes in one rack; when quick the routed one, itself again, and VXLAN."""
    chosen = list(QUICK) if quick else arms()
    pairs = [Pair(arm, ROUTED, arm == TWIN) for arm in chosen if arm not in (ROUTED, BASELINE)]
    pairs += [Pair(arm, BASELINE) for arm in chosen if not quick and arm not in (BASELINE, TWIN)]
    factors: dict[str, Any] = {"place": PLACES[:1], "offload": ["wire"], "mtu": [MTU]}
    return Matrix.cross(chosen, factors, pairs)


def settings(quick: bool) -> Settings:
    """Six blocks, each with other seeds; two when quick."""
    options = {"quick": quick, "congestion": traffic.congestion_control(), **LOAD._asdict()}
    return Settings(blocks=2 if quick else 6, options=options)


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say; ``options`` come from ``settings()``."""
    options = settings.options
    load = Load(**{name: options[name] for name in Load._fields})
    declared = matrix(bool(options["quick"]))
    specs = labs.Specs(declared.conditions, lambda one: _spec(one, str(options["congestion"])))
    return Experiment(
        name=NAME,
        question=QUESTION,
        matrix=declared,
        metrics=METRICS,
        describe=labs.describer(specs),
        build=lambda condition, seed: _lab(specs[condition.name], condition, seed),
        measure=partial(_measure, load),
        lacking=labs.lacking(specs),
        headline=(INSTRUCTIONS[0],),
    )


def _spec(condition: Condition, congestion: str) -> ResolvedSpec:
    return lab.spec(_mode(condition), congestion)


def _mode(condition: Condition) -> Condition:
    return replace(condition, arm=ROUTED) if condition.arm == TWIN else condition


@contextmanager
def _lab(resolved: ResolvedSpec, condition: Condition, seed: int) -> Iterator[Cell]:
    with lab.up(NAME, resolved, _mode(condition), seed) as cell:
        yield cell


def _measure(load: Load, cell: Cell, condition: Condition) -> Iterable[Measured]:
    port = 20_000 + cell.seed % 20_000
    yield instructions.counted(cell.server, cell.client, load, port=port)
