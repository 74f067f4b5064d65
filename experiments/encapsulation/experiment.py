"""Encapsulation: the wire, the packets and the rules of every way between two nodes.

README.md says what is counted, and how to read the result; the modes are those of ``two_nodes``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from emulator.harness.bench import Bench
from emulator.harness.experiment import Condition, Experiment, Matrix, Metric, Step
from emulator.harness.settings import Settings
from emulator.measure import overheard, path_mtu
from emulator.measure.sample import METRICS as VOCABULARY
from emulator.measure.sample import Measured
from experiments import traffic
from experiments.encapsulation import round_trips, wire
from experiments.encapsulation.expected import expected
from experiments.two_nodes import comparison, lab
from experiments.two_nodes.comparison import Loads
from experiments.two_nodes.lab import Cell
from experiments.two_nodes.modes import BASELINE, MODES, PLACES, way

NAME: Final = "encapsulation"
QUESTION: Final = "What does each tunnel and each route put on the wire, and ask of a packet?"
TOOLS: Final = comparison.TOOLS
COUNTS: Final = tuple(
    Metric(name, VOCABULARY[name].unit, None, VOCABULARY[name].meaning)
    for name in (*wire.METRICS, *path_mtu.METRICS, *round_trips.METRICS, *overheard.METRICS)
)
QUICK: Final = (BASELINE, "vxlan", "ipip", "wireguard")


def matrix(quick: bool) -> Matrix:
    """Every mode in every place that it can be in; some of them in one rack when quick."""
    if quick:
        return comparison.matrix([arm for arm in QUICK if arm in MODES], PLACES[:1])
    return comparison.matrix(tuple(MODES))


def settings(quick: bool) -> Settings:
    """One block for a look, 12 in full with pilots for the fixed rates where there is a speed.

    One is enough for counts alone.
    """
    if quick:
        short = comparison.short()._replace(throughput_s=0.5, transactions_s=0.2)
        return Settings(blocks=1, warm_up=False, options={"quick": True, **short.as_options()})
    options = comparison.full_options(NAME, MODES)
    if not Bench.here().has_speed:
        return Settings(blocks=1, warm_up=False, options=options)
    return Settings(blocks=12, options=options)


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say; ``options`` come from ``settings()``."""
    declared = matrix(bool(settings.options["quick"]))
    return comparison.experiment(NAME, QUESTION, settings, declared, COUNTS, _measure, expected)


def _measure(loads: Loads, cell: Cell, condition: Condition) -> Iterable[Measured | Step]:
    """What is counted before the load."""
    port, cpus = 20_000 + cell.seed % 20_000, loads.usual.cpus
    there = way(condition)
    yield round_trips.packets(cell)
    yield round_trips.rules(cell)
    yield wire.by_size(
        cell.client, cell.server, cell.node, lab.UPLINK, largest_b=there.path_mtu,
        sealed=there.around.sealed, cpus=cpus, port=port + 60,
    )  # fmt: skip
    ear, port_of_node = cell.cluster.beside(cell.node.name)
    yield overheard.measured(ear, port_of_node, cell.client, cell.server)
    yield path_mtu.probe(cell.client, cell.server.ip, guess=there.path_mtu, cpus=cpus)
    yield from traffic.send(cell.ends, loads.through(condition), cell.seed, everything=True)
