from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import arrivals
from emulator.measure.arrivals import Event, Step, Stream
from emulator.measure.failure import MeasureFailed

PACE_S = 0.01
CAME = st.lists(st.booleans(), min_size=1, max_size=60)


def stream(came: str, late: float = 0.001) -> Stream:
    """``x`` came at once, ``.`` never, ``o`` after half a second."""
    sent = tuple(at * PACE_S for at in range(len(came)))
    delays = {"x": late, "o": 0.5}
    return Stream(
        sent,
        tuple(at + delays[c] if c in delays else None for at, c in zip(sent, came, strict=True)),
    )


def test_a_gap_lasts_until_the_next_that_came() -> None:
    gap = arrivals.longest_gap(stream("xx.x...xx.x"))
    assert (gap.began_s, gap.ended_s, gap.open) == (0.04, 0.07, False)


def test_a_gap_that_nothing_ended_is_open() -> None:
    gap = arrivals.longest_gap(stream("x.x...."))
    assert (gap.began_s, gap.ended_s, gap.open) == (0.03, 0.06, True)


def test_nothing_lost_is_no_gap_and_nothing_at_all_is_no_measurement() -> None:
    assert arrivals.longest_gap(stream("xxx")).length_s == 0
    with pytest.raises(MeasureFailed, match="none of 3"):
        arrivals.longest_gap(stream("..."))


def test_what_comes_late_is_lost() -> None:
    one = stream("xxooox").in_time()
    assert one.arrived_s.count(None) == 3
    assert arrivals.longest_gap(one).length_s == pytest.approx(3 * PACE_S)
    found = {s.metric: s for s in arrivals.samples(stream("xxo.ox"), [], {})}
    assert found["lost_packets"].value == 3
    assert found["lost_packets"].detail["late"] == 2


@given(CAME)
def test_no_gap_is_longer_than_the_longest_and_bins_lose_what_is_lost(came: list[bool]) -> None:
    one = stream("".join("x" if c else "." for c in came))
    rows = arrivals.bins(one, 0.0)
    assert sum(sent for _, sent, _ in rows) == len(came)
    assert sum(lost for _, _, lost in rows) == came.count(False)
    if any(came):
        runs = "".join("x" if c else "." for c in came).split("x")
        longest = max(map(len, runs))
        length_s = arrivals.longest_gap(one).length_s
        assert (longest - 1) * PACE_S - 1e-9 <= length_s <= longest * PACE_S + 1e-9


@given(CAME, st.integers(0, 60))
def test_after_a_moment_comes_the_first_that_was_sent_since(came: list[bool], at: int) -> None:
    one = stream("".join("x" if c else "." for c in came))
    seconds, never = arrivals.until_next(one, at * PACE_S)
    assert never == (not any(came[at:]))
    if not never:
        assert seconds == pytest.approx((came[at:].index(True)) * PACE_S)


def test_events_and_bins_are_told_from_the_failure_on() -> None:
    events = [Event("fails", 0.03, 0.045), Event("mended", 0.06, 0.07)]
    found = {s.metric: s for s in arrivals.samples(stream("xxx....xxx"), events, {})}
    detail: Any = found["outage_ms"].detail
    assert found["outage_ms"].value == pytest.approx(40)
    assert found["recovery_ms"].value == pytest.approx(0, abs=1e-6)
    assert detail["from_s"] == pytest.approx(-0.015)
    assert [name for name, _, _ in detail["events"]] == ["fails", "mended"]
    assert detail["bins"] == [[-0.05, 5, 2], [0.0, 5, 2]]


def reports(sent: object, arrived: object) -> tuple[bytes, bytes]:
    return (
        json.dumps({"format": 1, "sent_ns": sent, "refused": 0}).encode(),
        json.dumps({"format": 1, "arrived_ns": arrived}).encode(),
    )


def test_the_first_of_two_copies_counts() -> None:
    one = arrivals.parse(*reports([0, 10**9], [[1, 3 * 10**9], [1, 2 * 10**9]]))
    assert one == Stream((0.0, 1.0), (None, 2.0))


@pytest.mark.parametrize(
    "written",
    [
        (b"", b""),
        reports([0], [[5, 1]]),
        reports([0], [1]),
        reports(None, []),
        (b'{"format": 2}', b'{"format": 1}'),
        (b"[]", b"[]"),
    ],
)
def test_what_is_no_report_is_a_failure(written: tuple[bytes, bytes]) -> None:
    with pytest.raises(MeasureFailed, match="no complete report"):
        arrivals.parse(*written)


def test_a_stream_over_loopback_loses_nothing_and_its_steps_are_done(loopback: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done: list[str] = []
    measured = arrivals.watch(
        loopback, loopback, seconds=0.3, rate_per_s=100, port=port,
        steps=[Step("one", 0.05, lambda: done.append("one")),
               Step("two", 0.15, lambda: done.append("two"))],
    )  # fmt: skip
    assert done == ["one", "two"]
    assert {s.metric: s.failure for s in measured.samples} == dict.fromkeys(arrivals.METRICS, "")
    lost = next(s for s in measured.samples if s.metric == "lost_packets")
    assert lost.detail["sent"] == 30
    assert (lost.value or 0) - lost.detail["late"] == 0
    assert set(measured.raw) == {"stream-sent.json", "stream-arrived.json"}
