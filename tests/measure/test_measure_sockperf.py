"""sockperf: recorded output of 3.7, its full log, trouble, garbage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import sockperf
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed

Recorded = Callable[[str], bytes]
DATA = Path(__file__).parent / "data"
SUMMARY = (DATA / "sockperf-3.7-tcp.txt").read_bytes()
LOG = (DATA / "sockperf-3.7-tcp.log").read_bytes()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_full_log_agrees_with_the_summary(recorded: Recorded, protocol: str) -> None:
    summary = sockperf.parse_summary(recorded(f"sockperf-3.7-{protocol}.txt"))
    values = sorted(sockperf.parse_log(recorded(f"sockperf-3.7-{protocol}.log")))
    assert len(values) == summary.observations == summary.received
    assert summary.version == "3.7-no.git"
    samples = sockperf.samples(
        f"{protocol}_rtt", recorded(f"sockperf-3.7-{protocol}.txt"),
        recorded(f"sockperf-3.7-{protocol}.log"), {},
    )  # fmt: skip
    for sample, level in zip(samples[:3], (50.0, 90.0, 99.0), strict=True):
        # sockperf takes the value a rank below, and rounds it to the other nanosecond.
        rank = values.index(sample.value)
        near = values[rank - 2 : rank + 1]
        assert min(abs(one - summary.percentile_us[level]) for one in near) < 0.0015


def test_the_curve_of_the_median_is_a_distribution() -> None:
    median = sockperf.samples("tcp_rtt", SUMMARY, LOG, {})[0]
    curve = median.detail["curve_us"]
    assert isinstance(curve, list)
    assert curve == sorted(curve)
    assert [level for level, _ in curve][-1] == 1.0
    assert [0.5, median.value] in curve
    assert curve[-1][1] == median.detail["max_us"]


def test_without_a_log_the_summary_serves() -> None:
    summary = sockperf.parse_summary(SUMMARY)
    samples = sockperf.samples("tcp_rtt", SUMMARY, b"", {})
    assert samples[0].value == summary.percentile_us[50.0]
    assert samples[2].value == summary.percentile_us[99.0]
    assert "curve_us" not in samples[0].detail


def test_the_command_and_the_raw_files(scripted: Any) -> None:
    server = scripted(lambda argv: None)
    client = scripted(lambda argv: (SUMMARY, LOG))
    measured = sockperf.ping_pong(
        server, client, protocol="tcp", seconds=1, cpus=CpuMap((0,), (1,)), port=7000
    )
    assert measured.value("tcp_rtt_p50_us") is not None
    assert " ".join(server.commands[0][0]) == "sockperf server --tcp -i 10.244.0.2 -p 7000"
    assert (server.commands[0][1], client.commands[0][1]) == ((1,), (0,))
    assert " ".join(client.commands[0][0]) == (
        "sockperf ping-pong --tcp -i 10.244.0.2 -p 7000 -t 1 -m 64 --full-rtt "
        "--full-log /dev/stderr"
    )
    assert server.started[0].killed
    assert measured.raw == {
        "sockperf-tcp_rtt.txt": SUMMARY, "sockperf-tcp_rtt.stderr.txt": LOG
    }  # fmt: skip


def test_an_open_loop_that_falls_behind_is_a_failure(scripted: Any) -> None:
    place = scripted(lambda argv: None if "server" in argv else (SUMMARY, LOG))
    measured = sockperf.under_load(place, place, protocol="tcp", seconds=1, per_second=50_000)
    assert measured.samples[0].metric == "tcp_load_rtt_p50_us"
    assert "the load is not the one asked for" in measured.samples[0].failure
    kept = sockperf.under_load(place, place, protocol="tcp", seconds=1, per_second=1000)
    assert kept.samples[0].value is not None
    assert "under-load" in place.commands[-1][0]
    assert " --mps 1000 --reply-every 1 " in " ".join(place.commands[-1][0])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sockperf-3.7-refused.txt", "Connection refused"),
        ("sockperf-3.7-silent.txt", "Is the server down?"),
    ],
)
def test_no_server_is_a_failure_although_sockperf_exits_with_0(
    recorded: Recorded, scripted: Any, name: str, reason: str
) -> None:
    place = scripted(lambda argv: None if "server" in argv else (recorded(name), b""))
    measured = sockperf.ping_pong(place, place, protocol="udp", seconds=1)
    assert len(measured.samples) == 4
    assert all(reason in sample.failure for sample in measured.samples)


def test_half_round_trips_are_refused() -> None:
    with pytest.raises(MeasureFailed, match="half round trips"):
        sockperf.parse_summary(SUMMARY.replace(b"avg-rtt=", b"avg-latency="))
    with pytest.raises(MeasureFailed, match=r"no column rtt\(usec\)"):
        sockperf.parse_log(LOG.replace(b"rtt(usec)", b"latency(usec)"))


def test_a_log_that_lost_a_line_is_a_failure() -> None:
    lines = LOG.splitlines(keepends=True)
    with pytest.raises(MeasureFailed, match="its summary counts"):
        sockperf.samples("tcp_rtt", SUMMARY, b"".join(lines[:50] + lines[51:]), {})


def test_further_columns_of_later_versions_do_no_harm() -> None:
    lines = LOG.decode().splitlines()
    wider = [
        f"{line}, 64" if line[0].isdigit() else line.replace("rtt(usec)", "rtt(usec), size(B)")
        for line in lines
    ]
    assert sockperf.parse_log("\n".join(wider).encode()) == sockperf.parse_log(LOG)


def test_a_hanging_client_and_a_small_message_are_failures(scripted: Any) -> None:
    place = scripted(lambda argv: None)
    hang = sockperf.ping_pong(place, place, protocol="udp", seconds=1)
    assert "sockperf still ran after 6 s" in hang.samples[0].failure
    assert all(running.killed for running in place.started)
    small = sockperf.ping_pong(place, place, protocol="udp", seconds=1, size_b=4)
    assert "needs 14 B" in small.samples[0].failure


@given(st.integers(min_value=0, max_value=len(SUMMARY)), st.integers(0, len(LOG)))
def test_truncated_output_is_read_whole_or_fails(summary: int, log: int) -> None:
    try:
        samples = sockperf.samples("tcp_rtt", SUMMARY[:summary], LOG[:log], {})
    except MeasureFailed:
        return
    assert summary > SUMMARY.index(b"observations")
    if log >= LOG.index(b"packet, ") + len(b"packet, "):
        assert samples[0].detail["n"] == len(sockperf.parse_log(LOG))


@given(st.binary(max_size=300), st.binary(max_size=300), st.booleans())
def test_garbage_raises_nothing_else(summary: bytes, log: bytes, real: bool) -> None:
    text = SUMMARY if real else summary
    try:
        sockperf.samples("udp_rtt", text, b"packet, rtt(usec)\n" + log, {})
    except MeasureFailed as failure:
        assert str(failure)
