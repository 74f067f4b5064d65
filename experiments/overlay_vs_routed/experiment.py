"""Overlay or routed: the same pods, nodes and cables under four networks.

README.md says what is compared with what, and how to read the result.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from emulator.cluster import Cluster, Place
from emulator.errors import PodwireError, Problem
from emulator.harness.bench import Bench
from emulator.harness.experiment import (
    Condition,
    Experiment,
    Factor,
    Matrix,
    Pair,
    Step,
)
from emulator.harness.settings import Settings
from emulator.measure import iperf
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import Measured
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec
from experiments import labs, traffic
from experiments.overlay_vs_routed.gate import gate
from experiments.traffic import Ends, Traffic

NAME = "overlay-vs-routed"
QUESTION = "What does a VXLAN overlay cost against routed pods, and those against no pod network?"
TOOLS = traffic.TOOLS
TOPOLOGY = Path(__file__).with_name("topology.yaml")
NETWORKS: dict[str, dict[str, str]] = {
    "host": {"plugin": "host"},
    "host-gw": {"plugin": "flannel", "backend": "host-gw"},
    "host-gw again": {"plugin": "flannel", "backend": "host-gw"},
    "vxlan": {"plugin": "flannel", "backend": "vxlan"},
}
PAIRS = (
    Pair("vxlan", "host-gw"),
    Pair("vxlan", "host"),
    Pair("host-gw", "host"),
    Pair("host-gw again", "host-gw", twin=True),
)


class Cell(NamedTuple):
    """A lab that is up, with the two ends to measure between."""

    cluster: Cluster
    ends: Ends
    seed: int


def matrix(quick: bool) -> Matrix:
    """All conditions; ``path`` is ``nodes`` (between two nodes) or ``same-node``."""
    factors: dict[str, list[Factor]]
    if quick:
        factors = {"offload": ["wire"], "mtu": [1500], "path": ["nodes"]}
        pairs = [pair for pair in PAIRS if "host" not in pair]
        return Matrix.cross([arm for arm in NETWORKS if arm != "host"], factors, pairs)

    def keep(condition: Condition) -> bool:
        """On one node no cable is in the path, hence one offload; nor is the twin needed."""
        if condition.factors["path"] == "nodes":
            return True
        return condition.arm in ("host-gw", "vxlan") and condition.factors["offload"] == "wire"

    factors = {"offload": ["full", "wire"], "mtu": [1500, 9000], "path": ["nodes", "same-node"]}
    crossed = Matrix.cross(list(NETWORKS), factors, PAIRS, keep)
    control_last = sorted(crossed.conditions, key=lambda one: str(one.factors["path"]))
    return Matrix(tuple(control_last), PAIRS)


def settings(quick: bool) -> Settings:
    """12 blocks, of seconds each cell when quick; in full with a pilot for the fixed rate."""
    short = Traffic(traffic.congestion_control(), CpuMap.for_machine(os.sched_getaffinity(0)))
    if quick:
        return Settings(blocks=12, options={"quick": True, **short.as_options()})
    long = short._replace(
        throughput_s=1.5, omit_s=0.5, round_trips_s=1, cost_s=1.7, trial_s=0.8,
    )  # fmt: skip
    if Bench.here().own_clock:  # no noise that a longer look would average, but ticks of 10 ms
        long = short._replace(
            throughput_s=0.4, transactions_s=0.2, round_trips_s=1, cost_s=3.0, trial_s=0.2,
        )  # fmt: skip
    long = long._replace(cost_bit_s=traffic.fixed_rate(_slowest_bit_s(short)))
    return Settings(blocks=12, options={"quick": False, **long.as_options()})


def _slowest_bit_s(short: Traffic) -> float:
    """What the slowest condition carries, from a pilot of the two that can be the slowest."""
    found = []
    for arm in ("host-gw", "vxlan") * 2:
        condition = Condition(arm, {"offload": "wire", "mtu": 1500, "path": "nodes"})
        with _lab(spec(condition, short), condition, 0) as cell:
            measured = iperf.tcp(
                cell.ends.server, cell.ends.client, seconds=short.throughput_s,
                omit_s=short.omit_s, congestion=short.congestion, cpus=short.cpus,
            )  # fmt: skip
        value = measured.value("throughput_bit_s")
        if value is None:
            raise PodwireError(
                Problem("pilot", measured.samples[0].failure, f"the throughput of {arm}")
            )
        found.append(value)
    return min(found)


def spec(condition: Condition, how: Traffic) -> ResolvedSpec:
    """The topology of the folder under a condition."""
    overrides: dict[str, Any] = {
        "spec.network": NETWORKS[condition.arm],
        "spec.underlay.links.mtu": condition.factors["mtu"],
        "spec.underlay.links.offload": condition.factors["offload"],
        "spec.congestionControl": how.congestion,
    }
    return load(TOPOLOGY, overrides)


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say; ``options`` come from ``settings()``."""
    how = Traffic.of(settings.options)
    declared = matrix(bool(settings.options["quick"]))
    specs = labs.Specs(declared.conditions, lambda one: spec(one, how))

    return Experiment(
        name=NAME,
        question=QUESTION,
        matrix=declared,
        metrics=how.metrics(),
        describe=labs.describer(specs),
        build=lambda condition, seed: _lab(specs[condition.name], condition, seed),
        measure=partial(_measure, how),
        gate=lambda cell, condition, samples: gate(condition, samples),
        headline=("throughput_bit_s",),
        exclusions=traffic.EXCLUSIONS,
    )


@contextmanager
def _lab(resolved: ResolvedSpec, condition: Condition, seed: int) -> Iterator[Cell]:
    """The lab, up and compared with its plan.

    The kernel frees the lab of eight namespaces before (0.7 MiB) within 0.2 s, while this one is
    built and the omitted beginning passes; it is not waited for.
    """
    with labs.as_planned(resolved, NAME, condition) as cluster:
        yield Cell(cluster, _ends(cluster, condition), seed)


def _ends(cluster: Cluster, condition: Condition) -> Ends:
    far = condition.factors["path"] == "nodes"
    client, server = cluster.pod("n1-p1"), cluster.pod("n2-p1" if far else "n1-p2")
    nodes = (cluster.node("n1"), cluster.node("n2"))
    tunnel = "flannel.1" if condition.arm == "vxlan" else None
    watched: tuple[tuple[Place, tuple[str, ...]], ...] = tuple(
        (node, ("eth0",) if tunnel is None else ("eth0", tunnel)) for node in nodes
    )
    if condition.arm != "host":
        watched += ((client, ("eth0",)), (server, ("eth0",)))
    return Ends(client, server, nodes[0], "eth0", tunnel, watched)


def _measure(how: Traffic, cell: Cell, condition: Condition) -> Iterable[Measured | Step]:
    """The packet rate is searched once for each mode: 64 bytes know neither MTU nor offload."""
    far = condition.factors["path"] == "nodes"
    small = far and (condition.factors["offload"], condition.factors["mtu"]) == ("wire", 1500)
    once = how if small else how._replace(trial_s=0.0)
    yield from traffic.send(cell.ends, once, cell.seed, everything=far)
