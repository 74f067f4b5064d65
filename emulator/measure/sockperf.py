"""Request and response on open sockets with ``sockperf`` (3.7 and later), TCP and UDP.

Two loads. ``ping_pong`` is a closed loop, the next request leaves when the response is there:
right for the median cost of a transaction, blind for tails, since a stall keeps the requests
back that would have met it. ``under_load`` is an open loop at a fixed rate: for tails.

All times are whole round trips (``--full-rtt``; sockperf's default is half of one). The single
times come from its full log, written to the standard error stream: that is a file which exists
in every place, also where nothing can be written, and sockperf uses it for nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from emulator.measure import distribution, tool, wait
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import PERCENTILES, Measured, Sample, all_failed, failed, good
from emulator.place import Place

Protocol = Literal["tcp", "udp"]
FIRST_PORT = 11111
MARGIN_S = 5.0
SMALLEST_MESSAGE_B = 14

_COLOUR = re.compile(r"\x1b?\[[\d;]*m")
_PERCENTILE = re.compile(r"percentile\s+([\d.]+)\s*=\s*([\d.]+)\s*$", re.MULTILINE)
_OBSERVATIONS = re.compile(r"Total (\d+) observations")
_MESSAGES = re.compile(
    r"\[Valid Duration\] RunTime=([\d.]+) sec; SentMessages=(\d+); ReceivedMessages=(\d+)"
)
_LOSSES = re.compile(
    r"# dropped messages = (\d+); # duplicated messages = (\d+); # out-of-order messages = (\d+)"
)


class Summary(NamedTuple):
    """What sockperf counted after its warm-up of 400 ms; ``percentile_us`` by level in percent."""

    version: str
    run_s: float
    sent: int
    received: int
    dropped: int
    duplicated: int
    out_of_order: int
    observations: int
    percentile_us: dict[float, float]


def server_argv(bind_ip: str, port: int, protocol: Protocol) -> list[str]:
    """The command of the echoing end; it runs until it is killed."""
    return ["sockperf", "server", *_tcp(protocol), "-i", bind_ip, "-p", str(port)]


def client_argv(
    target_ip: str,
    port: int,
    protocol: Protocol,
    *,
    seconds: int,
    size_b: int,
    per_second: int | None,
    full_log: bool,
) -> list[str]:
    """The command of the measuring end: open loop with ``per_second``, closed without."""
    argv = ["sockperf", "ping-pong" if per_second is None else "under-load", *_tcp(protocol)]
    argv += ["-i", target_ip, "-p", str(port), "-t", str(seconds), "-m", str(size_b), "--full-rtt"]
    if per_second is not None:
        argv += ["--mps", str(per_second), "--reply-every", "1"]
    return [*argv, "--full-log", "/dev/stderr"] if full_log else argv


def parse_summary(stdout: bytes) -> Summary:
    """Read what sockperf prints at the end.

    MeasureFailed with its own error line, or when it is no summary of whole round trips.
    """
    text = _COLOUR.sub("", stdout.decode(errors="replace"))
    for line in text.splitlines():
        if any(word in line for word in ("ERROR", "No messages were", "No valid observations")):
            raise MeasureFailed(line.removeprefix("sockperf: ").strip()[:400])
    messages, losses = _MESSAGES.search(text), _LOSSES.search(text)
    total = _OBSERVATIONS.search(text)
    if messages is None or losses is None or total is None:
        raise MeasureFailed(f"sockperf wrote no complete summary; it ended with {stdout[-200:]!r}")
    if "avg-rtt=" not in text:
        raise MeasureFailed("sockperf reports half round trips although --full-rtt was asked for")
    version = re.search(r"== version #(\S+) ==", text)
    return Summary(
        version=version[1] if version else "",
        run_s=_number(messages[1]),
        sent=int(messages[2]),
        received=int(messages[3]),
        dropped=int(losses[1]),
        duplicated=int(losses[2]),
        out_of_order=int(losses[3]),
        observations=int(total[1]),
        percentile_us={_number(a): _number(b) for a, b in _PERCENTILE.findall(text)},
    )


def parse_log(log: bytes) -> tuple[float, ...]:
    """The single round trips (µs) of a full log, in order; () when there is no log at all.

    MeasureFailed when a line of it cannot be read or the log holds half round trips.
    """
    text = log.decode(errors="replace")
    begin = text.find("packet, ")
    if begin < 0:
        return ()
    header, _, body = text[begin:].partition("\n")
    columns = [column.strip() for column in header.split(",")]
    if "rtt(usec)" not in columns:
        raise MeasureFailed(f"sockperf's full log has no column rtt(usec): {header[:200]}")
    column, width = columns.index("rtt(usec)"), len(columns)
    table, closed, _ = body.partition("\n---")
    if not closed:
        raise MeasureFailed("sockperf's full log breaks off")
    values = []
    for line in table.splitlines():
        fields = line.split(",")
        if len(fields) != width:
            raise MeasureFailed(f"a line of sockperf's full log cannot be read: {line[:200]!r}")
        values.append(_number(fields[column]))
    return tuple(values)


def ping_pong(
    server: Place,
    client: Place,
    *,
    protocol: Protocol,
    seconds: int,
    size_b: int = 64,
    full_log: bool = True,
    cpus: CpuMap | None = None,
    port: int = FIRST_PORT,
    target_ip: str | None = None,
) -> Measured:
    """``tcp_rtt_p50_us`` … ``p999`` (or ``udp_rtt_…``), closed loop.

    ``seconds`` are whole, as sockperf takes them; 0.45 s of them are its warm-up and cool-down,
    and it takes 2.2 s beside them, asleep for the most part.
    Without ``full_log`` the percentiles are those of sockperf's summary and no curve is kept.
    """
    return _measure(
        server, client, f"{protocol}_rtt", protocol, seconds, size_b, None, full_log, cpus, port,
        target_ip,
    )  # fmt: skip


def under_load(
    server: Place,
    client: Place,
    *,
    protocol: Protocol,
    seconds: int,
    per_second: int,
    size_b: int = 64,
    full_log: bool = True,
    cpus: CpuMap | None = None,
    port: int = FIRST_PORT,
    target_ip: str | None = None,
) -> Measured:
    """``tcp_load_rtt_p50_us`` … (or ``udp_load_rtt_…``) at ``per_second`` requests, open loop.

    The detail says how many requests really left; fewer than 97 % of those asked for is a failure.
    """
    return _measure(
        server, client, f"{protocol}_load_rtt", protocol, seconds, size_b, per_second, full_log,
        cpus, port, target_ip,
    )  # fmt: skip


def _measure(
    server: Place,
    client: Place,
    prefix: str,
    protocol: Protocol,
    seconds: int,
    size_b: int,
    per_second: int | None,
    full_log: bool,
    cpus: CpuMap | None,
    port: int,
    target_ip: str | None,
) -> Measured:
    asked: dict[str, object] = {
        "protocol": protocol, "seconds": seconds, "size_b": size_b, "per_second": per_second,
        "cpus": None if cpus is None else cpus.as_detail(),
    }  # fmt: skip
    raw: dict[str, bytes] = {}
    metrics = distribution.names(prefix)
    if size_b < SMALLEST_MESSAGE_B:
        reason = f"a message of {size_b} B, sockperf needs {SMALLEST_MESSAGE_B} B"
        return all_failed(metrics, reason, raw, **asked)
    argv = client_argv(
        target_ip or server.ip, port, protocol, seconds=seconds, size_b=size_b,
        per_second=per_second, full_log=full_log,
    )  # fmt: skip
    echo = server.start(
        server_argv(server.ip, port, protocol),
        cpus=None if cpus is None else cpus.for_server(0),
        env=tool.SURROUNDINGS,
    )
    try:
        wait.listening(server, protocol, port, server=echo)
        pinned = None if cpus is None else cpus.for_client(0)
        running = client.start(argv, cpus=pinned, env=tool.SURROUNDINGS)
        try:
            completed = tool.finish(running, "sockperf", client, seconds + MARGIN_S)
        finally:
            running.kill()
        tool.keep(raw, f"sockperf-{prefix}", completed)
        return Measured(samples(prefix, completed.stdout, completed.stderr, asked), raw)
    except MeasureFailed as error:
        reason = str(error)
        if ":" in server.ip and "Invalid address" in reason:
            reason = f"{server.ip}: this sockperf takes no address of IPv6, 3.8 and later ones do"
        return all_failed(metrics, reason, raw, **asked)
    finally:
        echo.kill()


def samples(prefix: str, stdout: bytes, log: bytes, asked: dict[str, object]) -> tuple[Sample, ...]:
    """The samples of one run: from the full log when there is one, else from the summary.

    MeasureFailed when neither can be read, when the log has another number of values than the
    summary counted, or when an open loop fell behind its rate.
    """
    summary = parse_summary(stdout)
    values_us = parse_log(log)
    per_second = asked.get("per_second")
    if isinstance(per_second, int) and summary.sent < 0.97 * per_second * summary.run_s:
        raise MeasureFailed(
            f"only {summary.sent} of {per_second * summary.run_s:.0f} requests left in "
            f"{summary.run_s:g} s: the load is not the one asked for"
        )
    counts = summary._asdict()
    del counts["percentile_us"], counts["version"]
    detail = {**asked, **counts, "sockperf": summary.version}
    if not values_us:
        return _from_summary(prefix, summary, detail)
    if len(values_us) != summary.observations:
        raise MeasureFailed(
            f"sockperf's full log has {len(values_us)} round trips, its summary counts "
            f"{summary.observations}"
        )
    return distribution.percentiles(prefix, values_us, **detail)


def _from_summary(prefix: str, summary: Summary, detail: dict[str, object]) -> tuple[Sample, ...]:
    made = []
    for name, level in PERCENTILES.items():
        metric = f"{prefix}_{name}_us"
        near = [us for p, us in summary.percentile_us.items() if math.isclose(p, 100 * level)]
        if not distribution.carries(summary.observations, level):
            made.append(failed(metric, f"{summary.observations} values cannot carry it", **detail))
        elif not near:
            made.append(failed(metric, "sockperf's summary does not have it", **detail))
        else:
            made.append(good(metric, near[0], **detail))
    return tuple(made)


def _tcp(protocol: Protocol) -> Sequence[str]:
    return ["--tcp"] if protocol == "tcp" else []


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise MeasureFailed(f"sockperf wrote {text.strip()[:80]!r} for a number") from error
