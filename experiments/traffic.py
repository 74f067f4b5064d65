"""What is sent between two places in one cell, for every experiment that compares paths.

How long each instrument runs is in the options of the run, hence in its manifest.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from emulator.harness.experiment import Condition, Exclusion, Metric, Step
from emulator.measure import (
    connect,
    cost,
    counters,
    cpu,
    distribution,
    iperf,
    path,
    search,
    sockperf,
)
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import Measured, Sample, good
from emulator.place import Place

METRICS = (
    Metric("throughput_bit_s", "bit/s", "higher", "TCP throughput, one stream"),
    Metric("tcp_rtt_p50_us", "us", "lower", "TCP round trip, median"),
    Metric("tcp_rtt_p90_us", "us", "lower", "TCP round trip, 90th percentile"),
    Metric("tcp_rtt_p99_us", "us", "lower", "TCP round trip, 99th percentile"),
    Metric("crr_p50_us", "us", "lower", "connect, request, response, median"),
    Metric("crr_p90_us", "us", "lower", "connect, request, response, 90th percentile"),
    Metric("crr_p99_us", "us", "lower", "connect, request, response, 99th percentile"),
    Metric("packet_rate_pps", "1/s", "higher", "UDP packets of 64 B at 0.5 % loss"),
    Metric("cpu_s_per_gb", "s/GB", "lower", "CPU time per GB at a fixed rate"),
)
TOOLS = ("iperf3", "sockperf", "ip", "nft")
STEAL_LIMIT = 0.02
_ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


class Traffic(NamedTuple):
    """Seconds of each instrument (0 leaves it out) and what else is fixed for a run.

    ``cost_bit_s`` is the rate at which CPU time is measured: it is compared at one rate alone.
    ``trial_precision``: how finely the packet rate is searched.
    """

    congestion: str
    cpus: CpuMap
    throughput_s: float = 0.8
    omit_s: float = 0.2
    transactions_s: float = 0.5
    round_trips_s: int = 0
    cost_s: float = 0.0
    cost_bit_s: int = 0
    trial_s: float = 0.0
    trial_precision: float = 0.01

    def as_options(self) -> dict[str, Any]:
        """Plain JSON for ``Settings.options``."""
        return {**self._asdict(), "cpus": self.cpus.as_detail()}

    def metrics(self) -> tuple[Metric, ...]:
        """Those of ``METRICS`` whose instruments run."""
        used = {
            "throughput_bit_s": True,
            "crr": self.transactions_s,
            "tcp_rtt": self.round_trips_s,
            "packet_rate_pps": self.trial_s,
            "cpu_s_per_gb": self.cost_s,
        }
        running = tuple(name for name, seconds in used.items() if seconds)
        return tuple(one for one in METRICS if one.name.startswith(running))

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Traffic:
        """Back from the options of a run, which may hold more."""
        known = {name: options[name] for name in cls._fields}
        cpus = CpuMap(*(tuple(known["cpus"][end]) for end in ("client", "server")))
        return cls(**{**known, "cpus": cpus})


class Ends(NamedTuple):
    """The two ends, the sender's node with its devices, and all that is watched for drops."""

    client: Place
    server: Place
    node: Place
    uplink: str
    tunnel: str | None
    watched: tuple[tuple[Place, tuple[str, ...]], ...]


def congestion_control(allowed: Path = _ALLOWED) -> str:
    """``cubic`` where a namespace may choose it, else ``reno``, which every one may."""
    try:
        return "cubic" if "cubic" in allowed.read_text().split() else "reno"
    except OSError:
        return "reno"


def send(ends: Ends, traffic: Traffic, seed: int, *, everything: bool) -> Iterator[Measured | Step]:
    """The instruments one after the other; throughput first, for the rest depends on nothing.

    ``seed`` moves the ports, alike for all conditions of a block.  Without ``everything`` the CPU
    time and the search for the packet rate are left out.
    """
    port = 20_000 + seed % 20_000
    before, began = counters.look(ends.watched), _stat()
    tunnelled = ("tunnel_tx_b",) if ends.tunnel else ()
    yield Step((*iperf.TCP_METRICS, *path.METRICS, *tunnelled), partial(_bulk, ends, traffic, port))
    if traffic.transactions_s:
        yield Step(connect.METRICS, lambda: connect.latency(
            ends.server, ends.client, seconds=traffic.transactions_s, cpus=traffic.cpus,
            port=port + 10,
        ))  # fmt: skip
    if traffic.round_trips_s:
        yield Step(distribution.names("tcp_rtt"), lambda: sockperf.ping_pong(
            ends.server, ends.client, protocol="tcp", seconds=traffic.round_trips_s,
            cpus=traffic.cpus, port=port + 20,
        ))  # fmt: skip
    if traffic.cost_s and everything:
        yield Step(cost.METRICS, lambda: cost.cpu_per_gb(
            ends.server, ends.client, rate_bit_s=traffic.cost_bit_s, seconds=traffic.cost_s,
            omit_s=0.3, congestion=traffic.congestion, cpus=traffic.cpus,
            first_port=port + 30,
        ))  # fmt: skip
    yield counters.between(before, counters.look(ends.watched))
    if traffic.trial_s and everything:  # last: its losses are meant
        yield Step(search.METRICS, lambda: search.udp_search(
            ends.server, ends.client, payload_b=64, low_bit_s=5_000_000, high_bit_s=320_000_000,
            trial_s=traffic.trial_s, omit_s=0.2, precision=traffic.trial_precision, max_trials=12,
            deadline_s=30.0, cpus=traffic.cpus, first_port=port + 40,
        ))  # fmt: skip
    spent = cpu.between(began, _stat())
    steal = good("cell_steal_ratio", spent.kinds.steal / spent.all_s, window_s=spent.window_s)
    yield Measured((steal,), {})


def _bulk(ends: Ends, traffic: Traffic, port: int) -> Measured:
    """A stream as fast as it goes, and which way its bytes went."""
    way = path.look(ends.node, ends.uplink, ends.tunnel)
    sent = iperf.tcp(
        ends.server, ends.client, seconds=traffic.throughput_s, omit_s=traffic.omit_s,
        congestion=traffic.congestion, cpus=traffic.cpus, first_port=port,
    )  # fmt: skip
    went = path.between(way, path.look(ends.node, ends.uplink, ends.tunnel))
    return Measured((*sent.samples, *went.samples), sent.raw)


def _stat() -> cpu.Snapshot:
    return cpu.parse(time.monotonic(), cpu.read_proc_stat())


def stolen(condition: Condition, samples: Sequence[Sample]) -> bool:
    """Whether the hypervisor took more than 2 % of the machine during the cell."""
    return any(
        sample.metric == "cell_steal_ratio" and (sample.value or 0) > STEAL_LIMIT
        for sample in samples
    )


EXCLUSIONS = (Exclusion("steal above 2 %", stolen),)


def fixed_rate(slowest_bit_s: float) -> int:
    """Half of the slowest capacity, in two digits: what every condition can carry."""
    half = int(slowest_bit_s / 2)
    step = int(f"1{'0' * (len(str(half)) - 2)}")
    return half // step * step
