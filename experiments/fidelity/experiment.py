"""Fidelity: one network, built by Podwire and built by hand, measured in turn.

README.md says what is the same, and what the verdict means.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from emulator.cluster import Cluster, Place
from emulator.compile import compile_spec
from emulator.errors import PodwireError, Problem
from emulator.foreign import Foreign
from emulator.harness.experiment import Condition, Description, Experiment, Matrix, Pair, Step
from emulator.harness.settings import Settings
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import Measured, Sample
from emulator.spec import dump, load
from emulator.spec.resolved import ResolvedSpec
from experiments import traffic
from experiments.fidelity.witness import Witness
from experiments.overlay_vs_routed.gate import gate
from experiments.traffic import Ends, Traffic

NAME = "fidelity"
QUESTION = "Does a network built by Podwire behave as the same network built by plain ip commands?"
TOOLS = (*traffic.TOOLS, "ethtool", "bridge")
TOPOLOGY = Path(__file__).with_name("topology.yaml")
SCRIPT = Path(__file__).with_name("plain.sh")
MTU = 1500
ADDRESSES = {"n1": "192.168.50.11", "n2": "192.168.50.12", "rack": "",
             "n1-p1": "10.244.1.2", "n2-p1": "10.244.2.2"}  # fmt: skip
ARMS = ("podwire", "ip", "ip again")
PAIRS = (Pair("podwire", "ip"), Pair("ip again", "ip", twin=True))


class Cell(NamedTuple):
    """A lab that is up, whoever built it."""

    ends: Ends
    seed: int


def settings(quick: bool) -> Settings:
    """16 blocks in full, 8 for a first look."""
    how = Traffic(traffic.congestion_control(), CpuMap.for_machine(os.sched_getaffinity(0)))
    if quick:
        return Settings(blocks=8, options={"quick": True, **how.as_options()})
    long = how._replace(throughput_s=1.5, omit_s=0.5, round_trips_s=1, trial_s=0.8)
    return Settings(blocks=16, options={"quick": False, **long.as_options()})


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say; ``options`` come from ``settings()``."""
    how = Traffic.of(settings.options)
    backends = ["vxlan"] if settings.options["quick"] else ["host-gw", "vxlan"]
    matrix = Matrix.cross(ARMS, {"network": backends, "offload": ["wire"], "mtu": [MTU]}, PAIRS)
    specs = {backend: _spec(backend, how) for backend in backends}
    witness = Witness(lambda backend: _reference(specs[backend]))

    def describe(condition: Condition) -> Description:
        resolved = specs[str(condition.factors["network"])]
        if condition.arm == "podwire":
            return Description(dump(resolved), compile_spec(resolved).text())
        words = " ".join(_arguments(str(condition.factors["network"]), how))
        return Description(dump(resolved), f"# sh plain.sh {words}\n{SCRIPT.read_text()}")

    def build(condition: Condition, seed: int) -> AbstractContextManager[Cell]:
        return _lab(condition, specs[str(condition.factors["network"])], how, seed, witness)

    metrics = tuple(
        one for one in traffic.METRICS
        if one.name.startswith(("throughput", "crr"))
        or (how.round_trips_s and one.name.startswith("tcp_rtt"))
        or (how.trial_s and one.name == "packet_rate_pps")
    )  # fmt: skip
    return Experiment(
        name=NAME, question=QUESTION, matrix=matrix, metrics=metrics, describe=describe,
        build=build, measure=partial(_measure, how), gate=_gate, headline=("throughput_bit_s",),
        exclusions=traffic.EXCLUSIONS,
    )  # fmt: skip


def _spec(backend: str, how: Traffic) -> ResolvedSpec:
    return load(
        TOPOLOGY,
        {"spec.network.backend": backend, "spec.congestionControl": how.congestion},
    )


def _arguments(backend: str, how: Traffic) -> list[str]:
    return [backend, str(MTU), how.congestion]


@contextmanager
def _lab(
    condition: Condition, resolved: ResolvedSpec, how: Traffic, seed: int, witness: Witness
) -> Iterator[Cell]:
    """The lab of either builder; PodwireError when its state is not that of the others."""
    backend = str(condition.factors["network"])
    name = f"{NAME}-{os.getpid()}"
    lab: Cluster | Foreign = (
        Cluster(resolved, name)
        if condition.arm == "podwire"
        else Foreign(name, SCRIPT.read_text(), _arguments(backend, how), ADDRESSES)
    )
    witness.look(backend)
    with lab:
        places = {one: lab.place(one) for one in ADDRESSES}
        wrong = witness.differences(backend, places)
        if wrong:
            raise PodwireError(
                *(Problem(condition.name, text, "the state that a lab by Podwire has")
                  for text in wrong)
            )  # fmt: skip
        yield Cell(_ends(places, backend), seed)


@contextmanager
def _reference(resolved: ResolvedSpec) -> Iterator[Mapping[str, Place]]:
    with Cluster(resolved, f"{NAME}-reference-{os.getpid()}") as cluster:
        yield {one: cluster.place(one) for one in ADDRESSES}


def _ends(places: dict[str, Place], backend: str) -> Ends:
    tunnel = "flannel.1" if backend == "vxlan" else None
    uplinks = ("eth0",) if tunnel is None else ("eth0", tunnel)
    pods, nodes = ("n1-p1", "n2-p1"), ("n1", "n2")
    watched = tuple((places[one], uplinks) for one in nodes)
    watched += tuple((places[one], ("eth0",)) for one in pods)
    return Ends(places["n1-p1"], places["n2-p1"], places["n1"], "eth0", tunnel, watched)


def _measure(how: Traffic, cell: Cell, condition: Condition) -> Iterable[Measured | Step]:
    yield from traffic.send(cell.ends, how, cell.seed, everything=True)


def _gate(cell: Cell, condition: Condition, samples: Sequence[Sample]) -> list[Problem]:
    """The path as for overlay-vs-routed, under the network's name."""
    factors = {**condition.factors, "path": "nodes"}
    return gate(Condition(str(condition.factors["network"]), factors), samples)
