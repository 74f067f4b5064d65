"""iperf3: its reports, recorded from 3.12, and what the instrument makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import iperf, iperf_json
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured

Recorded = Callable[[str], bytes]
GOOD = (Path(__file__).parent / "data" / "iperf3-3.12-tcp-server.json").read_bytes()


def answers(recorded: Recorded, kind: str) -> Callable[[Sequence[str]], tuple[bytes, bytes]]:
    def answer(argv: Sequence[str]) -> tuple[bytes, bytes]:
        end = "client" if "-c" in argv else "server"
        return recorded(f"iperf3-3.12-{kind}-{end}.json"), b""

    return answer


def reasons(measured: Measured) -> set[str]:
    assert all(sample.value is None for sample in measured.samples)
    return {sample.failure for sample in measured.samples}


def test_reads_both_ends_of_a_tcp_test(recorded: Recorded) -> None:
    client = iperf_json.read(recorded("iperf3-3.12-tcp-client.json"))
    server = iperf_json.read(recorded("iperf3-3.12-tcp-server.json"))
    assert (client.version, client.protocol, client.congestion) == ("iperf 3.12", "TCP", "cubic")
    assert server.congestion == "cubic"
    assert len(server.intervals) >= 10
    assert all(one.retransmits is not None for one in client.intervals)
    assert all(one.retransmits is None for one in server.intervals)
    end = json.loads(recorded("iperf3-3.12-tcp-server.json"))["end"]
    assert sum(one.bytes for one in server.intervals) == end["sum_received"]["bytes"]


def test_reads_packets_and_losses_of_udp(recorded: Recorded) -> None:
    server = iperf_json.read(recorded("iperf3-3.12-udp-server.json"))
    end = json.loads(recorded("iperf3-3.12-udp-server.json"))["end"]["sum"]
    assert sum(one.packets or 0 for one in server.intervals) == end["packets"]
    assert sum(one.lost or 0 for one in server.intervals) == end["lost_packets"]


def test_an_error_report_is_a_failure_in_the_words_of_iperf3(recorded: Recorded) -> None:
    with pytest.raises(MeasureFailed, match="unable to connect to server: Connection refused"):
        iperf_json.read(recorded("iperf3-3.12-refused.json"))


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 100_000, b"1e999"]
)
def test_what_is_no_report_fails(text: bytes) -> None:
    with pytest.raises(MeasureFailed, match="no complete report"):
        iperf_json.read(text)


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_else(garbage: bytes) -> None:
    with pytest.raises(MeasureFailed):
        iperf_json.read(garbage)


@given(st.integers(min_value=0, max_value=len(GOOD.rstrip()) - 1))
def test_a_truncated_report_fails(length: int) -> None:
    with pytest.raises(MeasureFailed):
        iperf_json.read(GOOD[:length])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    return [path, *(found for key, child in inner for found in places(child, (*path, key)))]


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.builds(
    list
) | st.builds(dict)  # fmt: skip


@given(st.sampled_from(places(json.loads(GOOD))[1:]), JUNK)
def test_a_report_with_one_wrong_value_is_read_or_fails(path: tuple[Any, ...], junk: Any) -> None:
    report = json.loads(GOOD)
    owner = report
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = junk
    try:
        read = iperf_json.read(json.dumps(report).encode())
        cut = iperf_json.window(read.intervals, 0.2, 0.8)
    except MeasureFailed:
        return
    assert iperf_json.duration_s(cut) > 0


def test_a_window_takes_whole_intervals_inside_it(recorded: Recorded) -> None:
    intervals = iperf_json.read(GOOD).intervals
    cut = iperf_json.window(intervals, 0.3, 0.8)
    assert [round(one.start_s, 1) for one in cut] == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert iperf_json.duration_s(cut) == pytest.approx(0.5, abs=0.02)


def test_a_window_that_was_not_measured_is_a_failure() -> None:
    intervals = iperf_json.read(GOOD).intervals
    with pytest.raises(MeasureFailed, match=r"of the 2\.00 s to be measured"):
        iperf_json.window(intervals, 0.5, 2.5)


def test_tcp_counts_what_the_receiver_read_in_the_window(recorded: Recorded, scripted: Any) -> None:
    place = scripted(answers(recorded, "tcp"))
    measured = iperf.tcp(place, place, seconds=0.5, omit_s=0.3)
    cut = iperf_json.window(iperf_json.read(GOOD).intervals, 0.3, 0.8)
    expected = 8 * sum(one.bytes for one in cut) / sum(one.end_s - one.start_s for one in cut)
    throughput, retransmits = measured.samples
    assert throughput.value == pytest.approx(expected)
    assert throughput.unit == "bit/s"
    assert throughput.detail["congestion"] == "cubic"
    assert throughput.detail["received_b"] == sum(one.bytes for one in cut)
    assert len(throughput.detail["interval_bit_s"]) == 5
    assert retransmits.value is not None
    assert set(measured.raw) == {"iperf3-tcp-client-0.json", "iperf3-tcp-server-0.json"}
    assert measured.raw["iperf3-tcp-server-0.json"] == GOOD
    json.dumps([sample._asdict() for sample in measured.samples])


def test_streams_are_processes_on_distinct_ports_and_pinned_cpus(
    recorded: Recorded, scripted: Any
) -> None:
    server, client = scripted(answers(recorded, "tcp")), scripted(answers(recorded, "tcp"))
    measured = iperf.tcp(
        server, client, seconds=0.5, omit_s=0.3, streams=3, first_port=7000, rate_bit_s=300,
        cpus=CpuMap((0,), (2, 3)), target_ip="10.96.0.1",
    )  # fmt: skip
    one = iperf.tcp(server, client, seconds=0.5, omit_s=0.3).value("throughput_bit_s")
    assert one is not None
    assert measured.value("throughput_bit_s") == pytest.approx(3 * one)
    assert [cpus for _, cpus in server.commands[:3]] == [(2,), (3,), (2,)]
    assert [cpus for _, cpus in client.commands[:3]] == [(0,), (0,), (0,)]
    assert " ".join(server.commands[1][0]) == "iperf3 -s -1 -B 10.244.0.2 -p 7001 -i 0.1 -J"
    assert " ".join(client.commands[2][0]) == (
        "iperf3 -c 10.96.0.1 -p 7002 -t 1 -i 0.1 -J --connect-timeout 2000 -b 100 -C cubic"
    )


def test_another_congestion_control_than_asked_for_is_a_failure(
    recorded: Recorded, scripted: Any
) -> None:
    place = scripted(answers(recorded, "tcp"))
    measured = iperf.tcp(place, place, seconds=0.5, omit_s=0.3, congestion="bbr")
    assert reasons(measured) == {"TCP used cubic, not bbr"}
    assert measured.raw


def test_a_refused_connection_is_a_failure_and_ends_the_waiting_server(
    recorded: Recorded, scripted: Any
) -> None:
    server = scripted(lambda argv: None)
    client = scripted(lambda argv: (recorded("iperf3-3.12-refused.json"), b""))
    measured = iperf.tcp(server, client, seconds=1, omit_s=0)
    assert reasons(measured) == {"iperf3: unable to connect to server: Connection refused"}
    assert measured.raw["iperf3-tcp-client-0.json"] == recorded("iperf3-3.12-refused.json")
    assert all(running.killed for running in server.started)


def test_a_hanging_client_is_a_failure_that_names_tool_and_deadline(
    recorded: Recorded, scripted: Any
) -> None:
    server, client = scripted(answers(recorded, "tcp")), scripted(lambda argv: None)
    (reason,) = reasons(iperf.tcp(server, client, seconds=1, omit_s=0.5))
    assert "iperf3 -c still ran after 7 s" in reason


def test_a_server_that_ends_at_once_is_a_failure_with_its_words(scripted: Any) -> None:
    server = scripted(lambda argv: (b"", b"iperf3: error - Address already in use"), listens=False)
    (reason,) = reasons(iperf.tcp(server, server, seconds=1, omit_s=0))
    assert "Address already in use" in reason
    assert "tcp port 5201" in reason


def test_udp_loss_and_rate_come_from_the_receiver(recorded: Recorded, scripted: Any) -> None:
    place = scripted(answers(recorded, "udp"))
    measured = iperf.udp(
        place, place, seconds=1, payload_b=64, rate_bit_s=20_000_000, pacing_us=100
    )
    end = json.loads(recorded("iperf3-3.12-udp-server.json"))["end"]
    received = end["sum"]["packets"] - end["sum"]["lost_packets"]
    assert measured.value("packet_rate_pps") == pytest.approx(
        received / end["sum"]["seconds"], rel=0.01
    )
    assert measured.value("loss_ratio") == end["sum"]["lost_packets"] / end["sum"]["packets"]
    throughput = measured.samples[0]
    assert throughput.value == pytest.approx(64 * 8 * received / end["sum"]["seconds"], rel=0.01)
    assert " -u -l 64 -b 20000000 --pacing-timer 100" in " ".join(place.commands[-1][0])


def ends(sent: int, expected: int, lost: int) -> iperf.Ends:
    report = iperf_json.Report("iperf 3.12", "UDP", "", None, ())
    return iperf.Ends(
        report,
        (iperf_json.Interval(0, 1, 64 * sent, None, sent, None),),
        (iperf_json.Interval(0, 1, 64 * (expected - lost), None, expected, lost),),
    )


@pytest.mark.parametrize(
    ("sent", "expected", "lost", "loss"),
    [(100, 100, 25, 0.25), (100, 0, 0, 1.0), (100, 100, -2, 0.0), (100, 100, 100, 1.0)],
)
def test_loss_of_a_window(sent: int, expected: int, lost: int, loss: float) -> None:
    samples = iperf.udp_samples([ends(sent, expected, lost)], {})
    assert samples[2].value == loss


def test_a_sender_that_sent_nothing_is_no_loss() -> None:
    with pytest.raises(MeasureFailed, match="sent no packet"):
        iperf.udp_samples([ends(0, 0, 0)], {})
