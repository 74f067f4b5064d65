"""Plugins: the same two nodes under every network plugin, in one rack and in two.

README.md says what is compared with what, and how to read the result; modes.py has the modes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from emulator.cluster import Place
from emulator.errors import PodwireError, Problem
from emulator.harness.experiment import Condition, Experiment, Matrix
from emulator.harness.settings import Settings
from emulator.measure import iperf, path_mtu
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import Measured, Sample
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec
from experiments import labs, traffic
from experiments.plugins import wire
from experiments.plugins.modes import MODES, MTU, PLACES, QUICK, Way, pairs
from experiments.traffic import Ends, Traffic

NAME = "plugins"
QUESTION = "What does each network plugin cost against no pod network, in one rack and across two?"
TOOLS = (*traffic.TOOLS, "tcpdump", "ping", "bird", "gobgpd")
TOPOLOGIES = dict(zip(PLACES, ("rack.yaml", "racks.yaml"), strict=True))
SLOWEST = {False: ("vxlan", "fastdp"), True: ("udp", "sleeve")}
"""Of modes in the kernel, and of those in user space: who may be the slowest. For the pilot."""


class Cell(NamedTuple):
    """A lab that is up, with the two ends to measure between."""

    client: Place
    server: Place
    node: Place
    ends: Ends
    seed: int


def matrix(quick: bool) -> Matrix:
    """Every mode in every place that it can be in; four of them in one rack when quick."""
    arms = QUICK if quick else tuple(MODES)
    places = PLACES[:1] if quick else PLACES
    return Matrix.cross(
        arms, {"place": places, "offload": ["wire"], "mtu": [MTU]}, pairs(arms),
        lambda one: isinstance(MODES[one.arm].at(str(one.factors["place"])), Way),
    )  # fmt: skip


def settings(quick: bool) -> Settings:
    """3 blocks for a look, 12 in full with pilots for the two fixed rates."""
    short = Traffic(traffic.congestion_control(), CpuMap.for_machine(os.sched_getaffinity(0)))
    if quick:
        return Settings(blocks=3, warm_up=False, options={"quick": True, **short.as_options()})
    long = short._replace(
        throughput_s=1.5, omit_s=0.5, round_trips_s=1, cost_s=1.5, trial_s=0.5,
        trial_precision=0.03, cost_bit_s=traffic.fixed_rate(_slowest_bit_s(short, SLOWEST[False])),
    )  # fmt: skip
    slow_bit_s = traffic.fixed_rate(_slowest_bit_s(short, SLOWEST[True]))
    options = {"quick": False, "slow_cost_bit_s": slow_bit_s, **long.as_options()}
    return Settings(blocks=12, options=options)


def _slowest_bit_s(short: Traffic, arms: Sequence[str]) -> float:
    """What the slowest of the arms carries across two racks, by two cells of each."""
    found = []
    for arm in (*arms, *arms):
        condition = Condition(arm, {"place": PLACES[1], "offload": "wire", "mtu": MTU})
        with _lab(spec(condition, short), condition, 0) as cell:
            measured = iperf.tcp(
                cell.server, cell.client, seconds=short.throughput_s, omit_s=short.omit_s,
                congestion=short.congestion, cpus=short.cpus,
            )  # fmt: skip
        value = measured.value("throughput_bit_s")
        if value is None:
            raise PodwireError(
                Problem("pilot", measured.samples[0].failure, f"the throughput of {arm}")
            )
        found.append(value)
    return min(found)


def _way(condition: Condition) -> Way:
    way = MODES[condition.arm].at(str(condition.factors["place"]))
    assert isinstance(way, Way)
    return way


def spec(condition: Condition, how: Traffic) -> ResolvedSpec:
    """The topology of the place under the network of the mode."""
    way = _way(condition)
    overrides: dict[str, Any] = {
        "spec.network": {**MODES[condition.arm].network, **way.network},
        "spec.underlay.routing": way.routing,
        "spec.underlay.links.mtu": condition.factors["mtu"],
        "spec.underlay.links.offload": condition.factors["offload"],
        "spec.congestionControl": how.congestion,
    }
    topology = Path(__file__).with_name(TOPOLOGIES[str(condition.factors["place"])])
    return load(topology, overrides)


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say; ``options`` come from ``settings()``."""
    how = Traffic.of(settings.options)
    slow = how._replace(cost_bit_s=int(settings.options.get("slow_cost_bit_s", 0)))
    declared = matrix(bool(settings.options["quick"]))
    specs = {one.name: spec(one, how) for one in declared.conditions}

    return Experiment(
        name=NAME,
        question=QUESTION,
        matrix=declared,
        metrics=how.metrics(),
        describe=labs.describer(specs),
        build=lambda condition, seed: _lab(specs[condition.name], condition, seed),
        measure=partial(_measure, how, slow),
        gate=lambda cell, condition, samples: gate(condition, samples),
        headline=("throughput_bit_s",),
        exclusions=traffic.EXCLUSIONS,
    )


@contextmanager
def _lab(resolved: ResolvedSpec, condition: Condition, seed: int) -> Iterator[Cell]:
    """The lab, up and compared with its plan."""
    with labs.as_planned(resolved, NAME, condition) as cluster:
        client, server = cluster.pod("n1-p1"), cluster.pod("n2-p1")
        nodes = (cluster.node("n1"), cluster.node("n2"))
        watched: tuple[tuple[Place, tuple[str, ...]], ...] = tuple(
            (node, ("eth0",)) for node in nodes
        )
        if client.ns != nodes[0].ns:
            watched += ((client, ("eth0",)), (server, ("eth0",)))
        ends = Ends(client, server, nodes[0], "eth0", None, watched)
        yield Cell(client, server, nodes[0], ends, seed)


def _measure(how: Traffic, slow: Traffic, cell: Cell, condition: Condition) -> Iterable[Measured]:
    """The wire before the load: a datagram's headers, and the path MTU."""
    port = 20_000 + cell.seed % 20_000
    yield wire.header(cell.client, cell.server, cell.node, cell.ends.uplink, how.cpus, port + 60)
    guess = _way(condition).path_mtu
    yield path_mtu.probe(cell.client, cell.server.ip, guess=guess, cpus=how.cpus)
    load = slow if MODES[condition.arm].in_user_space else how
    yield from traffic.send(cell.ends, load, cell.seed, everything=True)


def gate(condition: Condition, samples: Sequence[Sample]) -> list[Problem]:
    """Where the wire contradicts the table of overheads; a measurement that failed does not."""
    way = _way(condition)
    expected = {"header_b": way.around.datagram_header_b, "path_mtu_b": way.path_mtu}
    return [
        Problem(f"{condition.name}: {sample.metric}", f"{sample.value:.0f} B",
                f"{expected[sample.metric]} B, by the sizes of headers")
        for sample in samples
        if sample.metric in expected and sample.value not in (None, expected[sample.metric])
    ]  # fmt: skip
