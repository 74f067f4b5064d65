"""Plugins: the same two nodes under every network plugin, in one rack and in two.

README.md says what is compared with what, and how to read the result; modes.py has the modes.
"""

from __future__ import annotations

from collections.abc import Iterable

from emulator.harness.experiment import Condition, Experiment, Matrix, Metric, Step
from emulator.harness.settings import Settings
from emulator.measure import path_mtu
from emulator.measure.sample import Measured
from experiments import traffic
from experiments.plugins import wire
from experiments.plugins.modes import MODES, QUICK
from experiments.two_nodes import comparison, lab
from experiments.two_nodes.comparison import Loads
from experiments.two_nodes.lab import Cell
from experiments.two_nodes.modes import PLACES, Way, way

NAME = "plugins"
QUESTION = "What does each network plugin cost against no pod network, in one rack and across two?"
TOOLS = comparison.TOOLS
COUNTS = (
    Metric("header_b", "B", None, "headers of a datagram on the wire"),
    Metric("path_mtu_b", "B", None, "path MTU"),
)


def matrix(quick: bool) -> Matrix:
    """Every mode in every place that it can be in; four of them in one rack when quick."""
    return comparison.matrix(QUICK, PLACES[:1]) if quick else comparison.matrix(tuple(MODES))


def settings(quick: bool) -> Settings:
    """3 blocks for a look, 12 in full with pilots for the two fixed rates where there are any."""
    if quick:
        options = {"quick": True, **comparison.short().as_options()}
        return Settings(blocks=3, warm_up=False, options=options)
    return Settings(blocks=12, options=comparison.full_options(NAME, MODES))


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say; ``options`` come from ``settings()``."""
    declared = matrix(bool(settings.options["quick"]))
    return comparison.experiment(NAME, QUESTION, settings, declared, COUNTS, _measure, computed)


def computed(there: Way) -> dict[str, int]:
    """By metric: the headers of a datagram, and the path MTU."""
    return {"header_b": there.header_b, "path_mtu_b": there.path_mtu}


def _measure(loads: Loads, cell: Cell, condition: Condition) -> Iterable[Measured | Step]:
    """The wire before the load: a datagram's headers, and the path MTU."""
    port, cpus = 20_000 + cell.seed % 20_000, loads.usual.cpus
    yield wire.header(cell.client, cell.server, cell.node, lab.UPLINK, cpus, port + 60)
    guess = way(condition).path_mtu
    yield path_mtu.probe(cell.client, cell.server.ip, guess=guess, cpus=cpus)
    yield from traffic.send(cell.ends, loads.through(condition), cell.seed, everything=True)
