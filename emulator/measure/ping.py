"""ICMP echo round trips with ``ping`` of iputils.

Good for a first look, TTL, path MTU and loss. ping's own wake-ups are part of its times, so
microseconds between two pod networks are compared with the instrument of ``sockperf``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from emulator.measure import distribution, tool
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, Sample, all_failed, good
from emulator.place import Place

METRICS = ("icmp_loss_ratio", *distribution.names("icmp_rtt"))
SMALLEST_WITH_TIME_B = 16
"""A smaller payload has no room for the time stamp, and ping prints no times."""
REPLY_WITHIN_S = 1

_REPLY = re.compile(r"\d+ bytes from (\S+?):? .*?icmp_seq=(\d+) ttl=(\d+)(?: time[=<]([\d.]+) ms)?")
_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) received")
_TROUBLE = re.compile(r"^(?:From \S+ .*|.*(?:[Mm]essage too long|rror:).*)$")


class Reply(NamedTuple):
    """One reply; ``rtt_us`` is None for a payload without room for a time stamp."""

    source_ip: str
    sequence: int
    ttl: int
    rtt_us: float | None


class Pings(NamedTuple):
    """What one run of ping saw. ``trouble`` holds the lines of ICMP and local errors.

    The times of its replies in microseconds are None when there was no reply with one.
    """

    transmitted: int
    received: int
    replies: tuple[Reply, ...]
    duplicates: int
    trouble: tuple[str, ...]

    @property
    def loss_ratio(self) -> float:
        """The part of the requests without a reply, 0 to 1."""
        return 1 - self.received / self.transmitted if self.transmitted else 1.0

    @property
    def rtt_min_us(self) -> float | None:
        """The shortest round trip."""
        return self._quantile(0.0)

    @property
    def rtt_p50_us(self) -> float | None:
        """The median round trip."""
        return self._quantile(0.5)

    @property
    def rtt_max_us(self) -> float | None:
        """The longest round trip."""
        return self._quantile(1.0)

    def _quantile(self, level: float) -> float | None:
        times = sorted(reply.rtt_us for reply in self.replies if reply.rtt_us is not None)
        return distribution.quantile(times, level) if times else None


def argv(
    target_ip: str, count: int, interval_s: float, size_b: int, do_not_fragment: bool
) -> list[str]:
    """The command; ``size_b`` is the ICMP payload (the IPv4 packet is 28 bytes longer)."""
    command = ["ping", "-n", "-c", str(count), "-i", f"{interval_s:g}", "-s", str(size_b)]
    command += ["-W", str(REPLY_WITHIN_S)]
    return [*command, *(["-M", "do"] if do_not_fragment else []), target_ip]


def parse(stdout: bytes, stderr: bytes = b"") -> Pings:
    """Read ping's output; MeasureFailed without its line of totals."""
    text = stdout.decode(errors="replace")
    replies, duplicates, trouble = [], 0, []
    for line in (text + "\n" + stderr.decode(errors="replace")).splitlines():
        reply = _REPLY.match(line)
        if reply is None:
            if _TROUBLE.match(line):
                trouble.append(line[:200])
        elif "(DUP!)" in line:
            duplicates += 1
        else:
            source_ip, sequence, ttl, time_ms = reply.groups()
            rtt_us = None if time_ms is None else _number(time_ms) * 1000
            replies.append(Reply(source_ip, int(sequence), int(ttl), rtt_us))
    totals = _COUNTS.search(text)
    if totals is None:
        raise MeasureFailed(
            f"ping wrote no totals; it wrote {(stderr.strip() or stdout.strip())[:200]!r}"
        )
    transmitted, received = int(totals[1]), int(totals[2])
    if received > transmitted or len(replies) > received:
        raise MeasureFailed(
            f"ping contradicts itself: {transmitted} sent, {received} received, "
            f"{len(replies)} replies listed"
        )
    return Pings(transmitted, received, tuple(replies), duplicates, tuple(trouble))


def rtt(
    client: Place,
    target_ip: str,
    *,
    count: int,
    interval_s: float,
    size_b: int = 56,
    do_not_fragment: bool = False,
    cpus: CpuMap | None = None,
) -> Measured:
    """``icmp_rtt_p50_us`` … and ``icmp_loss_ratio`` of ``count`` requests.

    The detail holds the TTLs seen and the errors that came back (such as "Frag needed").
    Without any reply the loss is 1 and the times are failed samples.
    """
    asked: dict[str, object] = {
        "count": count, "interval_s": interval_s, "size_b": size_b,
        "do_not_fragment": do_not_fragment, "target_ip": target_ip,
    }  # fmt: skip
    raw: dict[str, bytes] = {}
    if size_b < SMALLEST_WITH_TIME_B:
        reason = f"a payload of {size_b} B carries no time stamp, {SMALLEST_WITH_TIME_B} B do"
        return all_failed(METRICS, reason, raw, **asked)
    running = client.start(
        argv(target_ip, count, interval_s, size_b, do_not_fragment),
        cpus=None if cpus is None else cpus.for_client(0),
        env=tool.SURROUNDINGS,
    )
    try:
        deadline_s = count * interval_s + REPLY_WITHIN_S + 5.0
        completed = tool.finish(running, "ping", client, deadline_s)
        tool.keep(raw, "ping", completed)
        return Measured(samples(parse(completed.stdout, completed.stderr), asked), raw)
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), raw, **asked)
    finally:
        running.kill()


def samples(pings: Pings, asked: dict[str, object]) -> tuple[Sample, ...]:
    """The samples of ``rtt`` from what ping saw; MeasureFailed when it sent nothing."""
    if pings.transmitted == 0:
        raise MeasureFailed("ping sent nothing: " + " / ".join(pings.trouble))
    detail = {
        **asked, "ttl": sorted({reply.ttl for reply in pings.replies}),
        "duplicates": pings.duplicates, "errors": list(dict.fromkeys(pings.trouble))[:10],
    }  # fmt: skip
    times_us = [reply.rtt_us for reply in pings.replies if reply.rtt_us is not None]
    loss = 1 - pings.received / pings.transmitted
    return (
        good("icmp_loss_ratio", loss, **detail),
        *distribution.percentiles("icmp_rtt", times_us, **detail),
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise MeasureFailed(f"ping wrote a time of {text!r} ms") from error
