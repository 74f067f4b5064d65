"""Reading what ``iperf3 -J`` writes, of either end, from version 3.9 on.

The result type of the PyPI package ``iperf3`` reads the frame (it is pure Python; the
package's libiperf binding is not used); the intervals, which it leaves as they are, are read
here. Any text that is not a complete report raises MeasureFailed and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import iperf3

from emulator.measure.failure import MeasureFailed


class Interval(NamedTuple):
    """One reporting interval, all streams of the process together, times since the start.

    ``retransmits`` is known to a TCP sender only. ``packets`` are UDP's: sent at the sender,
    *expected* (by sequence number) at the receiver, of which ``lost`` did not come.
    """

    start_s: float
    end_s: float
    bytes: int
    retransmits: int | None
    packets: int | None
    lost: int | None


class Report(NamedTuple):
    """One end of one test. ``congestion`` is what TCP really used at this end, or empty."""

    version: str
    protocol: str
    congestion: str
    mss: int | None
    intervals: tuple[Interval, ...]


def read(text: bytes) -> Report:
    """The report of a client or of a server; MeasureFailed with iperf3's own words if it has an
    error, or saying what is missing."""
    try:
        result = iperf3.TestResult(text.decode())
        if result.error is not None:
            raise MeasureFailed(f"iperf3: {result.error}")
        end = result.json["end"]
        protocol = _text(result.protocol)
        return Report(
            version=_text(result.version),
            protocol=protocol,
            congestion=_text(
                end.get("sender_tcp_congestion") or end.get("receiver_tcp_congestion") or ""
            ),
            mss=_optional(result.json["start"], "tcp_mss_default"),
            intervals=tuple(
                _interval(entry["sum"])
                for entry in result.json["intervals"]
                if not entry["sum"].get("omitted")
            ),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        # ValueError covers text that is not UTF-8, not JSON, and numbers out of range.
        raise MeasureFailed(
            f"iperf3 wrote no complete report ({type(error).__name__}: {error}); it begins with "
            f"{text[:80]!r}"
        ) from error


def window(intervals: Sequence[Interval], begin_s: float, end_s: float) -> tuple[Interval, ...]:
    """The intervals inside a window; MeasureFailed when they cover less than 80 % of it.

    iperf3 itself can leave out only whole seconds at the beginning, and takes only whole
    seconds as duration; its intervals are 0.1 s long.
    """
    slack_s = 0.05
    inside = tuple(
        one
        for one in intervals
        if one.start_s >= begin_s - slack_s and one.end_s <= end_s + slack_s
    )
    covered_s = sum(one.end_s - one.start_s for one in inside)
    if covered_s < 0.8 * (end_s - begin_s):
        raise MeasureFailed(
            f"iperf3 reported {covered_s:.2f} s of the {end_s - begin_s:.2f} s to be measured"
        )
    return inside


def duration_s(intervals: Sequence[Interval]) -> float:
    """The time that the intervals cover."""
    return math.fsum(one.end_s - one.start_s for one in intervals)


def _interval(entry: Mapping[str, Any]) -> Interval:
    start_s, end_s = float(entry["start"]), float(entry["end"])
    if not (math.isfinite(start_s) and math.isfinite(end_s) and end_s > start_s):
        raise ValueError(f"an interval from {start_s} to {end_s}")
    return Interval(
        start_s,
        end_s,
        _count(entry["bytes"]),
        _optional(entry, "retransmits"),
        _optional(entry, "packets"),
        _optional(entry, "lost_packets"),
    )


def _count(number: object) -> int:
    if isinstance(number, float) and number.is_integer():
        return int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"{number!r} is not a count")
    return number


def _optional(entry: Mapping[str, Any], key: str) -> int | None:
    return _count(entry[key]) if key in entry else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
