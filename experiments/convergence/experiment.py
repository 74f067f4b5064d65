"""Convergence: a steady stream of datagrams while something fails, and is mended again.

README.md says what fails where, and how to read the result; arms.py has the arms.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from emulator.cluster import Cluster
from emulator.harness.experiment import (
    Condition,
    Experiment,
    Matrix,
    Metric,
)
from emulator.harness.settings import Settings
from emulator.measure import arrivals
from emulator.measure.arrivals import Step
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import Measured
from emulator.measure.wait import until
from emulator.place import Place
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec
from experiments import labs
from experiments.convergence.arms import ARMS, EVENTS, QUICK, WAY, bfds, fault, holds, possible

NAME = "convergence"
QUESTION = "How long is traffic lost when a link, a node or a daemon fails, until routes are new?"
TOOLS = ("bird", "gobgpd", "ip", "nft")
METRICS = (
    Metric("outage_ms", "ms", "lower", "longest outage"),
    Metric("recovery_ms", "ms", "lower", "time from the repair until a datagram passes"),
    Metric("lost_packets", "1", "lower", "datagrams lost"),
)
RATE_PER_S = 200


class Cell(NamedTuple):
    """A lab that is up."""

    cluster: Cluster
    seed: int


def matrix(quick: bool) -> Matrix:
    """Every arm under every event that can be, by hold time and BFD; three cells when quick."""
    chosen = [
        (arm, event) for arm in ARMS for event in EVENTS
        if possible(arm, event) and (not quick or (arm, event) in QUICK)
    ]  # fmt: skip
    conditions = [
        Condition(arm, {"event": event, "hold_s": hold_s, "bfd_ms": bfd_ms})
        for arm, event in chosen
        for hold_s in (holds(arm, event)[:1] if quick else holds(arm, event))
        for bfd_ms in bfds(arm, event)
    ]
    return Matrix(tuple(conditions), ())


def settings(quick: bool) -> Settings:
    """Failures of 2 s for a look; in full they outlast the hold time, and the repair is awaited."""
    cpus = CpuMap.for_machine(os.sched_getaffinity(0)).as_detail()
    lead_s, fails_s, after_s = (0.5, 2.0, 2.0) if quick else (1.0, 8.0, 12.0)
    times = {"lead_s": lead_s, "fails_s": fails_s, "after_s": after_s}
    options = {"quick": quick, "cpus": cpus, "rate_per_s": RATE_PER_S, **times}
    return Settings(blocks=1 if quick else 8, warm_up=False, options=options)


def spec(condition: Condition) -> ResolvedSpec:
    """The topology that the event needs, under the network of the arm."""
    arm = ARMS[condition.arm]
    topology, _, _ = fault(condition.arm, str(condition.factors["event"]))
    hold = {arm.hold: condition.factors["hold_s"]} if arm.hold else {}
    overrides: dict[str, Any] = {
        "spec.network": {**arm.network, **hold},
        "spec.underlay.routing": arm.routing,
    }
    if condition.factors["bfd_ms"]:
        overrides["spec.underlay.bgp.bfd"] = {}
    return load(Path(__file__).with_name(f"{topology}.yaml"), overrides)


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say."""
    declared = matrix(bool(settings.options["quick"]))
    specs = labs.Specs(declared.conditions, spec)

    @contextmanager
    def build(condition: Condition, seed: int) -> Iterator[Cell]:
        with labs.as_planned(specs[condition.name], NAME, condition) as cluster:
            for router in cluster.spec.routers if condition.factors["bfd_ms"] else ():
                up = partial(_watching, cluster.place(router.name))
                until(up, 30.0, "all sessions of BFD are up", place=router.name)
            yield Cell(cluster, seed)

    return Experiment(
        name=NAME, question=QUESTION, matrix=declared, metrics=METRICS,
        describe=labs.describer(specs), build=build,
        measure=partial(_measure, dict(settings.options)), headline=("outage_ms",),
    )  # fmt: skip


def _watching(router: Place) -> bool:
    """Whether all sessions of BFD are up, which daemons that have converged need not have."""
    done = router.run(["birdc", "show", "bfd", "sessions"], timeout_s=10.0)
    _, _, _, *rows = done.stdout.decode().strip().splitlines()
    return bool(rows) and all(row.split()[2] == "Up" for row in rows)


def _measure(options: dict[str, Any], cell: Cell, condition: Condition) -> Iterable[Measured]:
    cluster = cell.cluster
    _, kind, target = fault(condition.arm, str(condition.factors["event"]))
    lead_s, fails_s, after_s = (options[name] for name in ("lead_s", "fails_s", "after_s"))
    way = Way(cluster) if WAY in target else None

    def fail() -> None:
        cluster.fail(kind, way.named(target) if way else target)

    steps = [
        Step("fails", lead_s, fail),
        Step("mended", lead_s + fails_s, cluster.heal),
    ]
    cpus = CpuMap(*(tuple(options["cpus"][end]) for end in ("client", "server")))
    yield arrivals.watch(
        cluster.pod("n2-p1"), cluster.pod("n1-p1"), seconds=lead_s + fails_s + after_s,
        rate_per_s=options["rate_per_s"], steps=steps, cpus=cpus,
        port=20_000 + cell.seed % 20_000,
    )  # fmt: skip


class Way:
    """Which spine a stream goes by that has begun since: a hash decides, with a key that the kernel
    draws."""

    def __init__(self, cluster: Cluster) -> None:
        self._leaf = cluster.place("leaf1")
        self._from_leaf1 = _spines(cluster.spec, "leaf1")
        self._from_leaf2 = _spines(cluster.spec, "leaf2")
        self._before = self._sent()

    def _sent(self) -> dict[str, int]:
        return {
            spine: self._leaf.counters(interface)["tx_packets"]
            for spine, interface in self._from_leaf1.items()
        }

    def named(self, target: str) -> str:
        """A target with the spine that has been sent most since, or the second leaf's end to it."""
        now = self._sent()
        spine = max(now, key=lambda one: now[one] - self._before[one])
        at_leaf = target.startswith("leaf2")
        return target.replace(WAY, self._from_leaf2[spine] if at_leaf else spine)


def _spines(spec: ResolvedSpec, leaf: str) -> dict[str, str]:
    """A leaf's interface to each spine, from the names of the segments between them."""
    segments = next(router.segments for router in spec.routers if router.name == leaf)
    return {
        name.removeprefix(f"{leaf}-"): f"eth{at}"
        for at, name in enumerate(segments) if name.startswith(f"{leaf}-")
    }  # fmt: skip
