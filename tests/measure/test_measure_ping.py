"""ping of iputils: recorded output, trouble, garbage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import ping
from emulator.measure.failure import MeasureFailed

Recorded = Callable[[str], bytes]


def test_reads_each_reply(recorded: Recorded) -> None:
    pings = ping.parse(recorded("ping-20221126-replies.txt"))
    assert (pings.transmitted, pings.received, len(pings.replies)) == (20, 20, 20)
    assert [reply.sequence for reply in pings.replies] == list(range(1, 21))
    assert {(reply.source_ip, reply.ttl) for reply in pings.replies} == {("127.0.0.1", 64)}
    assert all(0 < (reply.rtt_us or 0) < 10_000 for reply in pings.replies)


def test_samples_have_percentiles_that_twenty_values_carry(
    recorded: Recorded, scripted: Any
) -> None:
    place = scripted(lambda argv: (recorded("ping-20221126-replies.txt"), b""))
    measured = ping.rtt(place, "10.244.1.2", count=20, interval_s=0.01, do_not_fragment=True)
    assert measured.value("icmp_loss_ratio") == 0
    assert measured.samples[0].detail["ttl"] == [64]
    p50, p90 = measured.value("icmp_rtt_p50_us"), measured.value("icmp_rtt_p90_us")
    assert p50 is not None and p90 is not None and 0 < p50 <= p90
    assert measured.value("icmp_rtt_p99_us") is None
    assert measured.samples[-2].failure == "20 values cannot carry it, it needs 100"
    assert " ".join(place.commands[0][0]) == "ping -n -c 20 -i 0.01 -s 56 -W 1 -M do 10.244.1.2"


def test_too_long_for_the_path_is_loss_with_the_reason(recorded: Recorded, scripted: Any) -> None:
    said = (
        recorded("ping-20221126-too-long.txt"),
        recorded("ping-20221126-too-long.stderr.txt"),
    )
    measured = ping.rtt(scripted(lambda argv: said), "127.0.0.1", count=2, interval_s=0.05)
    assert measured.value("icmp_loss_ratio") == 1
    assert measured.samples[0].detail["errors"] == ["ping: local error: message too long, mtu=1400"]
    assert measured.value("icmp_rtt_p50_us") is None
    assert set(measured.raw) == {"ping.txt", "ping.stderr.txt"}


def test_silence_is_loss(recorded: Recorded) -> None:
    loss, *times = ping.samples(ping.parse(recorded("ping-20221126-silent.txt")), {})
    assert loss.value == 1
    assert {sample.value for sample in times} == {None}


def test_no_route_is_a_failure_in_the_words_of_ping(recorded: Recorded, scripted: Any) -> None:
    place = scripted(lambda argv: (b"", recorded("ping-20221126-unreachable.stderr.txt")))
    measured = ping.rtt(place, "192.0.2.1", count=2, interval_s=0.05)
    assert all("Network is unreachable" in sample.failure for sample in measured.samples)


def test_icmp_errors_duplicates_and_replies_without_time() -> None:
    text = b"""PING 10.0.0.9 (10.0.0.9) 1472(1500) bytes of data.
From 10.0.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1450)
1480 bytes from 10.0.0.9: icmp_seq=2 ttl=62 time=1.25 ms
1480 bytes from 10.0.0.9: icmp_seq=2 ttl=62 time=1.50 ms (DUP!)
From 10.0.0.1 icmp_seq=3 Destination Host Unreachable
16 bytes from 10.0.0.9: icmp_seq=4 ttl=61

--- 10.0.0.9 ping statistics ---
4 packets transmitted, 2 received, +1 duplicates, +2 errors, 50% packet loss, time 3004ms
"""
    pings = ping.parse(text)
    assert pings.duplicates == 1
    assert [(reply.ttl, reply.rtt_us) for reply in pings.replies] == [(62, 1250.0), (61, None)]
    assert pings.trouble == (
        "From 10.0.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1450)",
        "From 10.0.0.1 icmp_seq=3 Destination Host Unreachable",
    )


def test_a_payload_without_room_for_a_time_is_refused_before_it_starts(scripted: Any) -> None:
    place = scripted(lambda argv: None)
    measured = ping.rtt(place, "10.0.0.1", count=1, interval_s=1, size_b=8)
    assert "8 B carries no time stamp" in measured.samples[0].failure
    assert place.commands == []


def test_a_hanging_ping_is_a_failure(scripted: Any) -> None:
    measured = ping.rtt(scripted(lambda argv: None), "10.0.0.1", count=10, interval_s=0.1)
    assert "ping still ran after 7 s" in measured.samples[0].failure


LINES = st.sampled_from(
    [
        b"64 bytes from 1.2.3.4: icmp_seq=1 ttl=64 time=0.1 ms",
        b"64 bytes from 1.2.3.4: icmp_seq=1 ttl=64 time=0.1.1 ms",
        b"64 bytes from h (1.2.3.4): icmp_seq=9 ttl=999999999 time<1 ms",
        b"1 packets transmitted, 1 received, 0% packet loss",
        b"0 packets transmitted, 0 received",
        b"From 1.2.3.4 icmp_seq=1 Time to live exceeded",
    ]
)


@given(st.lists(LINES | st.binary(max_size=60), max_size=8), st.binary(max_size=40))
def test_garbage_raises_nothing_else(lines: list[bytes], stderr: bytes) -> None:
    try:
        ping.samples(ping.parse(b"\n".join(lines), stderr), {})
    except MeasureFailed as failure:
        assert str(failure)


@given(st.integers(min_value=0, max_value=1349))
def test_a_truncated_output_never_shows_more_than_it_holds(length: int) -> None:
    text = (Path(__file__).parent / "data" / "ping-20221126-replies.txt").read_bytes()[:length]
    try:
        pings = ping.parse(text)
    except MeasureFailed:
        return
    assert b"20 packets transmitted, 2" in text
    assert len(pings.replies) == 20


def test_contradictions_fail() -> None:
    with pytest.raises(MeasureFailed, match="contradicts itself"):
        ping.parse(b"1 packets transmitted, 2 received")
