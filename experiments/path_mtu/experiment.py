"""Path MTU: packets that are too large for the way, and what becomes of them.

README.md says what stands in the way, and how to read the result; the modes are ``two_nodes``'.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from emulator.cluster import Place
from emulator.errors import PodwireError, Problem
from emulator.harness.bench import Bench
from emulator.harness.experiment import Condition, Experiment, Matrix, Metric
from emulator.harness.settings import Settings
from emulator.measure import tool, wait
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import METRICS as VOCABULARY
from emulator.measure.sample import Measured, Sample, all_failed
from experiments import labs, traffic
from experiments.overhead import IPV4_B, UDP_B
from experiments.path_mtu import outcomes, programs
from experiments.path_mtu.situations import (
    NARROW_MTU,
    PROBES,
    SITUATIONS,
    clamped_mss_b,
    fits_b,
    size_b,
)
from experiments.two_nodes import lab
from experiments.two_nodes.lab import Cell
from experiments.two_nodes.modes import BASELINE, MODES, PLACES, TWIN, Way, way

NAME: Final = "path-mtu"
QUESTION: Final = "What becomes of packets that are too large for the path, under each network?"
TOOLS: Final = ("ip", "nft", "bird", "gobgpd")
COUNTS: Final = tuple(Metric(name, "1", None, VOCABULARY[name].meaning) for name in PROBES)
QUICK: Final = (BASELINE, "vxlan", "ipip")
QUICK_SITUATIONS: Final = ("narrow", "silent")
PATIENCE_S: Final = {True: 2.0, False: 16.0}
"""After so long nothing comes any more, by whether the bench has a speed."""
STREAM_B: Final = 65_536
_DROPPED: Final = "icmp type destination-unreachable icmp code frag-needed drop"
_SILENT: Final = f"""table inet podwire-silent {{
    chain leaving {{
        type filter hook output priority 0; policy accept;
        {_DROPPED}
    }}
}}
"""
_CLAMPED: Final = """table inet podwire-clamped {
    chain arriving {
        type filter hook prerouting priority -150; policy accept;
        tcp flags & (syn | rst) == syn tcp option maxseg size set %(mss)d
    }
}
"""
"""At the sender's node: the answer to a SYN says how large the sender's segments may be."""


def matrix(quick: bool) -> Matrix:
    """Every mode that leads from one rack to another, in every situation; a few when quick."""
    arms = [arm for arm in (QUICK if quick else MODES) if arm in MODES and arm != TWIN]
    situations = QUICK_SITUATIONS if quick else tuple(SITUATIONS)
    return Matrix.cross(
        arms, {"place": PLACES[1:], "situation": situations}, (),
        lambda one: isinstance(MODES[one.arm].at(str(one.factors["place"])), Way),
    )  # fmt: skip


def settings(quick: bool) -> Settings:
    """One block: the outcomes are the same in each."""
    options = {
        "quick": quick,
        "cpus": CpuMap.for_machine(os.sched_getaffinity(0)).as_detail(),
        "congestion": traffic.congestion_control(),
        "patience_s": PATIENCE_S[Bench.here().has_speed],
    }
    return Settings(blocks=1, warm_up=False, options=options)


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say."""
    declared = matrix(bool(settings.options["quick"]))
    congestion = str(settings.options["congestion"])
    specs = labs.Specs(declared.conditions, lambda one: lab.spec(one, congestion))

    @contextmanager
    def build(condition: Condition, seed: int) -> Iterator[Cell]:
        with lab.up(NAME, specs[condition.name], condition, seed) as cell:
            _lay(cell, str(condition.factors["situation"]))
            yield cell

    return Experiment(
        name=NAME, question=QUESTION, matrix=declared, metrics=(), counts=COUNTS,
        describe=labs.describer(specs), build=build,
        lacking=labs.lacking(specs),
        measure=partial(_measure, float(settings.options["patience_s"])),
        gate=lambda cell, condition, samples: gate(condition, samples),
    )  # fmt: skip


def _lay(cell: Cell, situation: str) -> None:
    """Change the router's kernel behind the plan's back, and read back what it then has: the lab
    has been verified by now."""
    router = cell.cluster.place("core")
    if SITUATIONS[situation].narrow:
        mtu = ["mtu", str(NARROW_MTU)]
        _do(router, ["ip", "link", "set", "eth1", *mtu])
        _has(router, ["ip", "-o", "link", "show", "eth1"], " ".join(mtu))
    if SITUATIONS[situation].silent:
        lab.lay_rules(router, _SILENT)
        _has(router, ["nft", "list", "chain", "inet", "podwire-silent", "leaving"], _DROPPED)


def _has(place: Place, argv: Sequence[str], words: str) -> None:
    said = _do(place, argv)
    if words not in said:
        raise PodwireError(
            Problem(f"{place.name}: {' '.join(argv)}", " ".join(said.split()), words,
                    "this kernel did not take it: nothing can be measured in its place")
        )  # fmt: skip


def _do(place: Place, argv: Sequence[str]) -> str:
    done = place.run(argv, timeout_s=60.0)
    if done.returncode:
        raise PodwireError(Problem(place.name, tool.said(done), f"{argv[0]} to do it"))
    return done.stdout.decode()


def _measure(patience_s: float, cell: Cell, condition: Condition) -> Iterable[Measured]:
    """The four probes, the clamping rule laid before the last; what one learns of the path is
    forgotten before the next."""
    situation, there = str(condition.factors["situation"]), way(condition)
    port = 20_000 + cell.seed % 20_000
    payload = size_b(there, situation) - IPV4_B - UDP_B
    at = [cell.server.ip, str(port)]
    patience = str(patience_s)
    receiver = cell.server.start(tool.python(programs.RECEIVER, *at))
    try:
        wait.listening(cell.server, "tcp", port, deadline_s=60.0, server=receiver)
        _do(cell.client, ["ping", "-c", "1", "-W", "10", cell.server.ip])  # the path is there
        for metric, argv, sent_b in (
            ("outcome_df", [programs.UDP, *at, str(payload), "1", patience], payload),
            ("outcome_fragments", [programs.UDP, *at, str(payload), "0", patience], payload),
            ("outcome_tcp", [programs.TCP, *at, str(STREAM_B), patience], STREAM_B),
            ("outcome_clamped", [programs.TCP, *at, str(STREAM_B), patience], STREAM_B),
        ):
            for place in (cell.client, cell.node):
                _do(place, ["ip", "route", "flush", "cache"])
            if metric == "outcome_clamped":
                mss = clamped_mss_b(there, situation)
                lab.lay_rules(cell.node, _CLAMPED % {"mss": mss})
            yield _probe(cell, metric, tool.python(*argv), sent_b, patience_s)
    finally:
        receiver.kill()


def _places(cell: Cell) -> dict[str, Place]:
    """Who can cut a packet, by namespace: a pod on the host network has its node's."""
    nodes = [cell.cluster.node("n1"), cell.cluster.node("n2")]
    every = (cell.client, nodes[0], cell.cluster.place("core"), nodes[1])
    return {one.ns: one for one in every}


def _probe(
    cell: Cell, metric: str, argv: Sequence[str], sent_b: int, patience_s: float
) -> Measured:
    places = _places(cell)
    before = {name: one.snmp()[outcomes.FRAGMENTS] for name, one in places.items()}
    raw: dict[str, bytes] = {}
    done = cell.client.run(argv, timeout_s=2 * patience_s + 60.0)
    tool.keep(raw, metric, done, "json")
    after = {name: one.snmp()[outcomes.FRAGMENTS] for name, one in places.items()}
    try:
        if done.returncode:
            raise MeasureFailed(f"sender: {tool.said(done)}")
        told = outcomes.parse(done.stdout)
    except MeasureFailed as error:
        return all_failed((metric,), str(error), raw)
    return Measured((outcomes.outcome(metric, told, sent_b, outcomes.cut_by(before, after)),), raw)


def gate(condition: Condition, samples: Sequence[Sample]) -> list[Problem]:
    """Where a refusal names another MTU than the sizes of headers give, or one byte too much is not
    refused; a probe that failed contradicts nothing."""
    situation = str(condition.factors["situation"])
    computed = fits_b(way(condition), situation)
    problems = []
    for sample in samples:
        word = sample.detail.get("outcome")
        must = sample.metric == "outcome_df" and not SITUATIONS[situation].narrow
        told = f"refused with an MTU of {sample.detail['mtu']}" if word == "refused" else word
        if word and (word == "refused" or must) and sample.detail.get("mtu") != computed:
            problems.append(
                Problem(f"{condition.name}: {sample.metric}", str(told),
                        f"refused with an MTU of {computed}, by the sizes of headers")
            )  # fmt: skip
    return problems
