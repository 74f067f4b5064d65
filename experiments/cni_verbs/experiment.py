"""CNI verbs: ADD, CHECK and DEL with the real binaries, up to the pods that a node may have.

README.md says what is timed, and how to read the result; arms.py has the lists of plugins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emulator.cluster import Cluster
from emulator.compile import compile_spec
from emulator.harness.experiment import Condition, Description, Experiment, Matrix, Metric, Pair
from emulator.harness.settings import Settings
from emulator.measure import distribution
from emulator.measure.sample import Measured, Sample, failed, good
from emulator.spec import dump, load
from experiments.cni_verbs.arms import (
    ARMS,
    AT_ONCE,
    PODS,
    QUICK,
    QUICK_PODS,
    VERBS,
    metric,
    percentiles,
)
from experiments.cni_verbs.verbs import Called, Timed, measure

NAME = "cni-verbs"
QUESTION = "How long do the verbs of CNI take, from the first pod of a node to the last?"
TOOLS = ("ip", "nft", "iptables")
HERE = Path(__file__).parent
PAIRS = (
    Pair("ptp", "bridge"),
    Pair("chain", "bridge"),
    Pair("bridge again", "bridge", twin=True),
)


def matrix(quick: bool) -> Matrix:
    """Every list of plugins, one pod after the other and several at once."""
    arms = QUICK if quick else tuple(ARMS)
    pairs = [pair for pair in PAIRS if {pair.treatment, pair.baseline} <= set(arms)]
    pods = QUICK_PODS if quick else PODS
    return Matrix.cross(arms, {"pods": [pods], "at_once": AT_ONCE}, pairs)


def settings(quick: bool) -> Settings:
    """10 pods for a look; in full as many as a node may have."""
    if quick:
        return Settings(blocks=1, warm_up=False, options={"quick": True})
    return Settings(blocks=8, options={"quick": False})


def conflist(arm: str) -> str:
    """The text of an arm's list."""
    return (HERE / "conflists" / f"{ARMS[arm].conflist}.conflist").read_text()


def experiment(settings: Settings) -> Experiment[Cluster]:
    """The experiment as its settings say."""
    declared = matrix(bool(settings.options["quick"]))
    (pods,) = {int(one.factors["pods"]) for one in declared.conditions}
    metrics = tuple(
        Metric(metric(verb, percentile), "ms", "lower", f"{verb.upper()}, {percentile}")
        for verb in VERBS
        for percentile in percentiles(pods)
    )
    spec = load(HERE / "topology.yaml", {"spec.pods.perNode": pods})
    plan = compile_spec(spec).text()

    def describe(condition: Condition) -> Description:
        return Description(dump(spec), f"# {conflist(condition.arm)}\n{plan}")

    @contextmanager
    def build(condition: Condition, seed: int) -> Iterator[Cluster]:
        with Cluster(spec, f"{NAME}-{os.getpid()}") as cluster:
            yield cluster

    return Experiment(
        name=NAME, question=QUESTION, matrix=declared, metrics=metrics, describe=describe,
        build=build, measure=_measure, headline=("add_p50_ms",),
    )  # fmt: skip


def _measure(cluster: Cluster, condition: Condition) -> Iterable[Measured]:
    pods = [pod.id for pod in cluster.spec.pods]
    at_once = int(condition.factors["at_once"])
    timed = measure(cluster.world, "n1", pods, conflist(condition.arm), at_once)
    raw = json.dumps({"format": 1, **timed._asdict()}).encode()
    yield Measured(tuple(samples(timed, len(pods))), {"verbs.json": raw})


def samples(timed: Timed, pods: int) -> Iterator[Sample]:
    """The percentiles of each verb; its median's detail has all times, as (pod, ms).

    A verb that failed for a pod has none: some pods that were quick say nothing of the others.
    """
    for verb in VERBS:
        calls = timed.calls[verb]
        lost = pods - len(calls)
        for name, level in percentiles(pods).items():
            if lost:
                reason = f"{lost} of {pods} calls failed: {'; '.join(timed.failed)[:300]}"
                yield failed(metric(verb, name), reason)
            else:
                yield _percentile(metric(verb, name), level, calls, median=name == "p50")


def _percentile(name: str, level: float, calls: Sequence[Called], *, median: bool) -> Sample:
    times = sorted(1000 * call.took_s for call in calls)
    detail: dict[str, Any] = {"n": len(times)}
    if median:
        detail["by_pod_ms"] = [[call.pod, 1000 * call.took_s] for call in calls]
    return good(name, distribution.quantile(times, level), **detail)
