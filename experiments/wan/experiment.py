"""WAN: how much of a long, slow, lossy link TCP turns into goodput, under every kind of tunnel.

README.md says what is compared with what, and which of it an emulated CPU may measure.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from emulator.harness.experiment import Condition, Experiment, Matrix, Metric, Step
from emulator.harness.settings import Settings
from emulator.measure import cpu, tool, wait
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import METRICS as VOCABULARY
from emulator.measure.sample import Measured, Sample, all_failed, failed, good
from experiments import labs, traffic
from experiments.two_nodes import lab
from experiments.two_nodes.lab import Cell
from experiments.two_nodes.modes import BASELINE, MODES, PLACES, TWIN, Way, pairs, way
from experiments.wan import paths, programs
from experiments.wan.paths import PATHS, QUICK_PATHS, Path

NAME: Final = "wan"
QUESTION: Final = "How much of a long, slow, lossy link does TCP get to use, under each tunnel?"
TOOLS: Final = ("ip", "nft", "tc")
METRICS: Final = (
    Metric("goodput_bit_s", "bit/s", "higher", "TCP goodput of a long transfer"),
    Metric("short_ms", "ms", "lower", "time of a short transfer, connecting included"),
)
COUNTS: Final = tuple(
    Metric(name, VOCABULARY[name].unit, None, VOCABULARY[name].meaning)
    for name in ("transfers_completed", "resent_segments")
)
ARMS: Final = (BASELINE, TWIN, "vxlan", "udp", "sleeve", "ipip", "kube-router-gue", "geneve",
               "wireguard", "ipsec")  # fmt: skip
"""One for each kind of tunnel: who puts it there is the same to the link."""
QUICK: Final = (BASELINE, "vxlan")
IDLE_LEAST: Final = 0.1
"""Where less of a CPU was idle, that and not the link may have been the limit …"""
FULL: Final = 0.9
"""… unless so much of the link was used."""
ABOVE: Final = 1.01
"""Nothing is faster than the link: more than that was not counted as it came."""
LONG_S: Final = {False: {"calm": 10, "lossy": 50}, True: {"calm": 3, "lossy": 6}}
"""How long the long transfer takes by the model, by whether it is quick. On lossy links enough for
the losses; on others, for what a shaper that was idle lets through at once to be little."""
SHORT_B: Final = 10_000
"""Less than the ten segments that a new connection may send at once."""
PATIENCE_S: Final = 60.0


def matrix(quick: bool) -> Matrix:
    """Every kind of tunnel over every link, between two racks."""
    arms = [arm for arm in (QUICK if quick else ARMS) if arm in MODES]
    conditions = [
        Condition(arm, {"place": PLACES[1], **path._asdict()})
        for path in (QUICK_PATHS if quick else PATHS)
        for arm in arms
    ]
    return Matrix(tuple(conditions), pairs(arms, {"loss_percent": 0.0}))


def settings(quick: bool) -> Settings:
    """Short transfers once for a look; 8 blocks in full."""
    options = {
        "quick": quick,
        "cpus": CpuMap.for_machine(os.sched_getaffinity(0)).as_detail(),
        "congestion": traffic.congestion_control(),
        "rate_bit_s": paths.RATE_BIT_S,
        "long_s": LONG_S[quick],
    }
    return Settings(blocks=1 if quick else 8, warm_up=False, options=options)


def experiment(settings: Settings) -> Experiment[Cell]:
    """The experiment as its settings say."""
    declared = matrix(bool(settings.options["quick"]))
    congestion = str(settings.options["congestion"])
    specs = labs.Specs(
        declared.conditions,
        lambda one: lab.spec(one, congestion, **_router(paths.of(one.factors))),
    )
    return Experiment(
        name=NAME, question=QUESTION, matrix=declared, metrics=METRICS, counts=COUNTS,
        describe=labs.describer(specs),
        build=lambda condition, seed: lab.up(NAME, specs[condition.name], condition, seed),
        measure=partial(_measure, settings.options["long_s"]), headline=("goodput_bit_s",),
        lacking=labs.lacking(specs),
    )  # fmt: skip


def _router(path: Path) -> dict[str, Any]:
    """The router's cable to the second rack."""
    router = {"segments": ["rack-a", "rack-b"], "links": {"rack-b": path.link()}}
    return {"spec.underlay.routers": {"core": router}}


def _measure(
    long_s: Mapping[str, float], cell: Cell, condition: Condition
) -> Iterable[Measured | Step]:
    """The long transfer, of which the second half is counted, then the short one; ports and buffers
    are new for both."""
    port, path = 20_000 + cell.seed % 20_000, paths.of(condition.factors)
    long_b = paths.size_b(path, long_s["lossy" if path.loss_percent else "calm"])
    argv = tool.python(programs.RECEIVER, cell.server.ip, str(port), str(long_b // 2))
    receiver = cell.server.start(argv)
    try:
        wait.listening(cell.server, "tcp", port, deadline_s=60.0, server=receiver)
        # neighbours, tunnels, keys: of three one comes through, however lossy the link
        cell.client.run(["ping", "-c", "3", "-W", "10", cell.server.ip], timeout_s=60.0)
        yield _long(cell, way(condition), port, long_b)
        yield Step(("short_ms",), lambda: _short(cell, port))
    finally:
        receiver.kill()


def _long(cell: Cell, there: Way, port: int, size_b: int) -> Measured:
    raw: dict[str, bytes] = {}
    before = cpu.parse(time.monotonic(), cpu.read_proc_stat())
    resent = cell.client.snmp()["Tcp.RetransSegs"]
    try:
        told = _sent(cell, port, size_b, raw, "long")
        spent = cpu.between(before, cpu.parse(time.monotonic(), cpu.read_proc_stat()))
        resent = cell.client.snmp()["Tcp.RetransSegs"] - resent
        idle = 1 - max(spent.busy_s_by_cpu.values()) / spent.window_s
        ceiling = paths.ceiling_bit_s(there)
        return Measured(long_samples(told, size_b, resent, idle, ceiling), raw)
    except MeasureFailed as error:
        names = ("goodput_bit_s", *(one.name for one in COUNTS))
        return all_failed(names, str(error), raw)


def long_samples(
    told: dict[str, Any], size_b: int, resent: int, idle: float, ceiling_bit_s: float
) -> tuple[Sample, ...]:
    """Goodput is a property of link and TCP where every CPU had time left (``idle``: the share of
    the busiest one), or the link was full.

    It has no value otherwise, nor where the transfer did not end or was faster than the link.
    """
    done = told["came_b"] == size_b
    found = 8 * told["steady_b"] / told["steady_s"] if told["steady_s"] else 0.0
    share = found / ceiling_bit_s
    detail = {"idle_ratio": idle, "elapsed_s": told["elapsed_s"], "mss_b": told["mss"],
              "counted_b": told["steady_b"], "ceiling_bit_s": ceiling_bit_s}  # fmt: skip
    failure = ""
    if not done:
        failure = f"{told['came_b']:.0f} B of {size_b} B after {told['elapsed_s']:.1f} s"
    elif not found:
        failure = "the receiver never had read all that had come"
    elif share > ABOVE:
        failure = f"{share:.1%} of what the link has room for"
    elif idle < IDLE_LEAST and share < FULL:
        failure = f"{idle:.0%} of a CPU's time was idle at {share:.0%} of the link"
    return (
        failed("goodput_bit_s", failure, **detail) if failure
        else good("goodput_bit_s", found, **detail),
        good("transfers_completed", int(done), **detail),
        good("resent_segments", resent),
    )  # fmt: skip


def _short(cell: Cell, port: int) -> Measured:
    raw: dict[str, bytes] = {}
    try:
        told = _sent(cell, port, SHORT_B, raw, "short")
        if told["came_b"] != SHORT_B:
            raise MeasureFailed(f"{told['came_b']:.0f} B of {SHORT_B} B")
        return Measured((good("short_ms", 1000 * told["elapsed_s"]),), raw)
    except MeasureFailed as error:
        return all_failed(("short_ms",), str(error), raw)


def _sent(cell: Cell, port: int, size_b: int, raw: dict[str, bytes], name: str) -> dict[str, Any]:
    argv = tool.python(
        programs.SENDER, cell.server.ip, str(port), str(size_b), str(PATIENCE_S)
    )  # fmt: skip
    done = cell.client.run(argv, timeout_s=4 * PATIENCE_S)
    tool.keep(raw, name, done, "json")
    if done.returncode:
        raise MeasureFailed(f"sender: {tool.said(done)}")
    try:
        told: dict[str, Any] = json.loads(done.stdout)
        for name in ("came_b", "elapsed_s", "steady_b", "steady_s"):
            told[name] = float(told[name])
        return told
    except (ValueError, TypeError, KeyError) as error:
        raise MeasureFailed(f"the sender wrote {done.stdout[:80]!r}") from error
