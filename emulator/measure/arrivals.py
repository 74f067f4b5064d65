"""What a steady stream of datagrams lost, and for how long, while things broke.

Both ends are the small program ``stream.py``, run with this interpreter: iperf3 and sockperf tell
nothing of single datagrams that were lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emulator.measure import stream, tool, wait
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, Sample, all_failed, good
from emulator.place import Place

METRICS = ("outage_ms", "recovery_ms", "lost_packets")
MARGIN_S = 5.0
BIN_S = 0.05
LATE_S = 0.1
"""A datagram that comes later is as good as lost. A neighbour that does not answer has the kernel
keep some hundred of them, and send them when it does: seconds late, with nothing missing."""
PROGRAM = tool.python(Path(stream.__file__).read_text())


class Stream(NamedTuple):
    """Seconds of the monotonic clock by number; None for a datagram that never came."""

    sent_s: tuple[float, ...]
    arrived_s: tuple[float | None, ...]

    def in_time(self, late_s: float = LATE_S) -> Stream:
        """The same without what came later than ``late_s`` after it was sent."""
        arrived = (
            at_s if at_s is not None and at_s - sent_s <= late_s else None
            for sent_s, at_s in zip(self.sent_s, self.arrived_s, strict=True)
        )  # fmt: skip
        return self._replace(arrived_s=tuple(arrived))


class Step(NamedTuple):
    """Something to be done so many seconds after the stream has begun."""

    name: str
    after_s: float
    action: Callable[[], object]


class Event(NamedTuple):
    """Something that was done, from its begin to its end, seconds of the same clock."""

    name: str
    began_s: float
    ended_s: float


class Gap(NamedTuple):
    """Datagrams in a row that did not come: from the sending of the first one to that of the next
    that came, or, where it is ``open``, to the end of the stream."""

    began_s: float
    ended_s: float
    open: bool

    @property
    def length_s(self) -> float:
        """How long it was; 0 where nothing was lost."""
        return self.ended_s - self.began_s


def parse(sender: bytes, receiver: bytes) -> Stream:
    """Read what both ends print; MeasureFailed when it is anything else."""
    try:
        sent, arrived = json.loads(sender), json.loads(receiver)
        if (sent["format"], arrived["format"]) != (1, 1):
            raise ValueError("another format")
        times: list[float | None] = [None] * len(sent["sent_ns"])
        for number, at_ns in arrived["arrived_ns"]:
            before = times[number]
            times[number] = at_ns / 1e9 if before is None else min(before, at_ns / 1e9)
        return Stream(tuple(float(at_ns) / 1e9 for at_ns in sent["sent_ns"]), tuple(times))
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise MeasureFailed(
            f"stream wrote no complete report ({type(error).__name__}: {error}): "
            f"{sender[:60]!r}, {receiver[:60]!r}"
        ) from error


def longest_gap(one: Stream) -> Gap:
    """The longest of all gaps. By what was lost and not by when it came: a program that waits for
    its CPU is no outage. MeasureFailed for a stream of which nothing ever arrived."""
    if all(at_s is None for at_s in one.arrived_s):
        raise MeasureFailed(f"none of {len(one.sent_s)} datagrams arrived")
    longest = Gap(one.sent_s[0], one.sent_s[0], False)
    began_s: float | None = None
    for sent_s, arrived_s in zip(one.sent_s, one.arrived_s, strict=True):
        if arrived_s is None:
            began_s = sent_s if began_s is None else began_s
        elif began_s is not None:
            longest = max(longest, Gap(began_s, sent_s, False), key=lambda gap: gap.length_s)
            began_s = None
    if began_s is not None:
        last = Gap(began_s, one.sent_s[-1], True)
        longest = max(last, longest, key=lambda gap: gap.length_s)
    return longest


def until_next(one: Stream, moment_s: float) -> tuple[float, bool]:
    """Seconds from a moment until a datagram was sent that came, and False; or to the end of the
    stream, and True."""
    for sent_s, arrived_s in zip(one.sent_s, one.arrived_s, strict=True):
        if sent_s >= moment_s and arrived_s is not None:
            return sent_s - moment_s, False
    return max(0.0, one.sent_s[-1] - moment_s), True


def bins(one: Stream, zero_s: float, width_s: float = BIN_S) -> list[tuple[float, int, int]]:
    """(begin, sent, lost) by the time of sending; ``begin`` in seconds from ``zero_s``."""
    found: dict[int, list[int]] = {}
    for sent_s, arrived_s in zip(one.sent_s, one.arrived_s, strict=True):
        counts = found.setdefault(int((sent_s - zero_s) // width_s), [0, 0])
        counts[0] += 1
        counts[1] += arrived_s is None
    return [(round(at * width_s, 6), *found[at]) for at in sorted(found)]  # type: ignore[misc]


def watch(
    server: Place,
    client: Place,
    *,
    seconds: float,
    rate_per_s: float,
    steps: Sequence[Step],
    port: int,
    cpus: CpuMap | None = None,
) -> Measured:
    """``outage_ms`` (the longest gap), ``recovery_ms`` (from the end of the last step until a
    datagram passes) and ``lost_packets``, while ``steps`` are done in their order. What comes
    later than 100 ms counts as lost.

    The detail of ``outage_ms`` has the steps as ``events`` and the counts as ``bins``, both in
    seconds from the end of the first step: a step changes the kernel last. What a step raises ends
    the measurement.
    """
    asked: dict[str, object] = {
        "seconds": seconds, "rate_per_s": rate_per_s,
        "cpus": None if cpus is None else cpus.as_detail(),
    }  # fmt: skip
    raw: dict[str, bytes] = {}
    receiving = server.start(
        [*PROGRAM, "receive", "--bind", server.ip, "--port", str(port),
         "--limit-s", str(seconds + MARGIN_S)],
        cpus=None if cpus is None else cpus.for_server(0), env=tool.SURROUNDINGS,
    )  # fmt: skip
    try:
        wait.listening(server, "udp", port, server=receiving)
        sending = client.start(
            [*PROGRAM, "send", "--to", server.ip, "--port", str(port),
             "--rate", f"{rate_per_s:g}", "--seconds", f"{seconds:g}"],
            cpus=None if cpus is None else cpus.for_client(0), env=tool.SURROUNDINGS,
        )  # fmt: skip
        try:
            events = _steps(steps)
            sent = tool.finish(sending, "stream sender", client, seconds + MARGIN_S)
        finally:
            sending.kill()
        came = tool.finish(receiving, "stream receiver", server, 2 * MARGIN_S)
        tool.keep(raw, "stream-sent", sent, "json")
        tool.keep(raw, "stream-arrived", came, "json")
        return Measured(samples(parse(sent.stdout, came.stdout), events, asked), raw)
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), raw, **asked)
    finally:
        receiving.kill()


def _steps(steps: Sequence[Step]) -> list[Event]:
    begin, done = time.monotonic(), list[Event]()
    for step in steps:
        wait.elapse(max(0.0, begin + step.after_s - time.monotonic()))
        before = time.monotonic()
        step.action()
        done.append(Event(step.name, before, time.monotonic()))
    return done


def samples(one: Stream, events: Sequence[Event], asked: Mapping[str, Any]) -> tuple[Sample, ...]:
    """The samples of ``watch``. MeasureFailed when nothing arrived."""
    never_came = one.arrived_s.count(None)
    one = one.in_time()
    gap = longest_gap(one)
    zero_s = events[0].ended_s if events else one.sent_s[0]
    detail: dict[str, object] = {
        **asked,
        "open": gap.open,
        "from_s": gap.began_s - zero_s,
        "events": [
            [event.name, event.began_s - zero_s, event.ended_s - zero_s] for event in events
        ],
        "bins": [list(row) for row in bins(one, zero_s)],
    }
    healed_s = events[-1].ended_s if events else one.sent_s[0]
    lost = one.arrived_s.count(None)
    recovery_s, never = until_next(one, healed_s)
    return (
        good("outage_ms", 1000 * gap.length_s, **detail),
        good("recovery_ms", 1000 * recovery_s, open=never),
        good("lost_packets", lost, sent=len(one.sent_s), late=lost - never_came),
    )
