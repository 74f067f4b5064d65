"""Each instrument once with its real tool, on the loopback address, for a second at most.

Nothing here looks at how fast it went, only that values came, in order and from the tool.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from emulator.errors import Unsupported
from emulator.measure import connect, cost, counters, iperf, ping, search, sockperf
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import Measured

CPUS = CpuMap.for_machine(os.sched_getaffinity(0))


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def values(measured: Measured) -> dict[str, float]:
    assert {one.metric: one.failure for one in measured.samples if one.failure} == {}
    assert measured.raw
    return {one.metric: one.value for one in measured.samples if one.value is not None}


def test_iperf3_tcp(loopback: Any) -> None:
    found = values(
        iperf.tcp(loopback, loopback, seconds=0.6, omit_s=0.3, cpus=CPUS, first_port=free_port())
    )
    assert found["throughput_bit_s"] > 0
    assert found["retransmits"] >= 0


def test_iperf3_refuses_an_unknown_congestion_control(loopback: Any) -> None:
    measured = iperf.tcp(
        loopback, loopback, seconds=0.6, omit_s=0.3, congestion="nosuch", first_port=free_port()
    )
    assert "TCP_CONGESTION" in measured.samples[0].failure


def test_iperf3_udp_search(loopback: Any) -> None:
    measured = search.udp_search(
        loopback, loopback, payload_b=64, low_bit_s=100_000, high_bit_s=200_000, trial_s=0.5,
        loss_limit=0.5, max_trials=2, cpus=CPUS, first_port=free_port(),
    )  # fmt: skip
    found = values(measured)
    assert found["packet_rate_pps"] > 0
    assert {"trial00-iperf3-udp-client-0.json", "trial01-iperf3-udp-server-0.json"} <= set(
        measured.raw
    )


def test_ping(loopback: Any) -> None:
    measured = ping.rtt(loopback, "127.0.0.1", count=10, interval_s=0.01, cpus=CPUS)
    assert measured.value("icmp_loss_ratio") == 0
    assert (measured.value("icmp_rtt_p50_us") or 0) > 0
    assert measured.samples[0].detail["ttl"] == [64]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_sockperf(loopback: Any, protocol: Any) -> None:
    measured = sockperf.under_load(
        loopback, loopback, protocol=protocol, seconds=1, per_second=500, port=free_port()
    )
    median = measured.samples[0]
    assert median.failure == "" or "the load is not" in median.failure
    assert f"sockperf-{protocol}_load_rtt.stderr.txt" in measured.raw
    if median.value is not None:
        assert isinstance(median.detail["curve_us"], list)


def test_connect_latency(loopback: Any) -> None:
    measured = connect.latency(
        loopback, loopback, seconds=1, count=200, cpus=CPUS, port=free_port()
    )
    found = measured.samples[0].detail
    assert found["errors"] == []
    connect_us, crr_us = measured.value("connect_p50_us"), measured.value("crr_p50_us")
    assert connect_us is not None and crr_us is not None and 0 < connect_us < crr_us


def test_cpu_cost(loopback: Any) -> None:
    measured = cost.cpu_per_gb(
        loopback, loopback, rate_bit_s=80_000_000, seconds=0.3, omit_s=0.2, idle_s=0.1,
        cpus=CPUS, first_port=free_port(),
    )  # fmt: skip
    failures = {one.failure for one in measured.samples}
    if failures == {""}:
        assert 0 <= values(measured)["idle_ratio"] <= 1
    else:  # not on an idle machine
        assert all("other work took" in failure for failure in failures)
    assert {f"proc-stat-{number}.txt" for number in range(4)} <= set(measured.raw)


def test_counters(loopback: Any) -> None:
    watched = [(loopback, ["lo"])]
    found = values(counters.between(counters.look(watched), counters.look(watched)))
    assert found["interface_drops"] >= 0


def test_a_missing_tool_is_unsupported_and_no_sample(
    loopback: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unsupported, match="sockperf"):
        sockperf.ping_pong(loopback, loopback, protocol="tcp", seconds=1)
