"""Throughput with the real ``iperf3`` binary: TCP streams and UDP at a rate.

Each stream is a process of its own at both ends (before 3.16 one iperf3 process is one
thread), each server takes one test and ends. What counts is what the receiver read, in a
window cut from its 0.1 s reports: so the omitted beginning may be a fraction of a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from emulator.measure import iperf_json, tool, wait
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.iperf_json import Interval, Report
from emulator.measure.sample import Measured, Sample, all_failed, failed, good
from emulator.place import Place, Running

FIRST_PORT = 5201
MARGIN_S = 5.0
"""What a test may take beyond its duration: connecting and exchanging the results."""

TCP_METRICS = ("throughput_bit_s", "retransmits")
UDP_METRICS = ("udp_throughput_bit_s", "packet_rate_pps", "loss_ratio")


class Ends(NamedTuple):
    """The reports of one stream's two ends, cut to the window."""

    sender: Report
    sent: tuple[Interval, ...]
    received: tuple[Interval, ...]


class Flows(NamedTuple):
    """Streams that are running, from ``start``; ``finish`` or ``kill`` must follow."""

    server: Place
    client: Place
    servers: tuple[Running, ...]
    clients: tuple[Running, ...]
    omit_s: float
    seconds: float
    total_s: int

    def kill(self) -> None:
        """End everything that still runs."""
        for running in (*self.clients, *self.servers):
            running.kill()

    def finish(self, raw: dict[str, bytes], name: str) -> tuple[Ends, ...]:
        """Wait for the end, put the outputs into ``raw`` as ``<name>-client-0.json`` …, read them.

        MeasureFailed when a process failed, hung or wrote no complete report; all that could be
        had is in ``raw`` by then.
        """
        ends = []
        for number, (client, server) in enumerate(zip(self.clients, self.servers, strict=True)):
            ours = tool.finish(client, "iperf3 -c", self.client, self.total_s + MARGIN_S)
            tool.keep(raw, f"{name}-client-{number}", ours, "json")
            # A client that failed may never have reached its server, which then waits for ever.
            sender = iperf_json.read(ours.stdout or ours.stderr)
            theirs = tool.finish(server, "iperf3 -s", self.server, MARGIN_S)
            tool.keep(raw, f"{name}-server-{number}", theirs, "json")
            receiver = iperf_json.read(theirs.stdout or theirs.stderr)
            span = (self.omit_s, self.omit_s + self.seconds)
            ends.append(
                Ends(
                    sender,
                    iperf_json.window(sender.intervals, *span),
                    iperf_json.window(receiver.intervals, *span),
                )
            )
        return tuple(ends)


def client_argv(
    target_ip: str,
    port: int,
    total_s: int,
    *,
    congestion: str = "",
    rate_bit_s: int | None = None,
    udp_payload_b: int | None = None,
    pacing_us: int | None = None,
) -> list[str]:
    """The command of one sending process; TCP without ``udp_payload_b``. Without a rate, UDP and
    TCP alike send as fast as they can."""
    argv = ["iperf3", "-c", target_ip, "-p", str(port), "-t", str(total_s), "-i", "0.1", "-J"]
    argv += ["--connect-timeout", "2000"]
    if udp_payload_b is not None:
        argv += ["-u", "-l", str(udp_payload_b), "-b", str(rate_bit_s or 0)]
    elif rate_bit_s is not None:
        argv += ["-b", str(rate_bit_s)]
    if pacing_us is not None:
        argv += ["--pacing-timer", str(pacing_us)]
    if congestion:
        argv += ["-C", congestion]
    return argv


def server_argv(bind_ip: str, port: int) -> list[str]:
    """The command of one receiving process, for one test."""
    return ["iperf3", "-s", "-1", "-B", bind_ip, "-p", str(port), "-i", "0.1", "-J"]


def start(
    server: Place,
    client: Place,
    *,
    seconds: float,
    omit_s: float,
    streams: int,
    cpus: CpuMap | None,
    first_port: int,
    target_ip: str | None,
    congestion: str = "",
    rate_bit_s: int | None = None,
    udp_payload_b: int | None = None,
    pacing_us: int | None = None,
) -> Flows:
    """Start the servers, wait until all listen, then start the clients.

    Ports ``first_port`` to ``first_port + streams - 1``; ``rate_bit_s`` is shared by the streams.
    MeasureFailed when a server does not listen, Unsupported when iperf3 is not installed.
    """
    total_s = math.ceil(omit_s + seconds - 1e-9)
    each_bit_s = None if rate_bit_s is None else max(1, round(rate_bit_s / streams))
    with ExitStack() as undo:
        servers: list[Running] = []
        clients: list[Running] = []
        for number in range(streams):
            running = server.start(
                server_argv(server.ip, first_port + number),
                cpus=None if cpus is None else cpus.for_server(number),
                env=tool.SURROUNDINGS,
            )
            undo.callback(running.kill)
            servers.append(running)
        for number, running in enumerate(servers):
            wait.listening(server, "tcp", first_port + number, server=running)
        for number in range(streams):
            argv = client_argv(
                target_ip or server.ip, first_port + number, total_s, congestion=congestion,
                rate_bit_s=each_bit_s, udp_payload_b=udp_payload_b, pacing_us=pacing_us,
            )  # fmt: skip
            pinned = None if cpus is None else cpus.for_client(number)
            running = client.start(argv, cpus=pinned, env=tool.SURROUNDINGS)
            undo.callback(running.kill)
            clients.append(running)
        undo.pop_all()
    return Flows(server, client, tuple(servers), tuple(clients), omit_s, seconds, total_s)


def tcp(
    server: Place,
    client: Place,
    *,
    seconds: float,
    omit_s: float,
    streams: int = 1,
    congestion: str = "cubic",
    rate_bit_s: int | None = None,
    cpus: CpuMap | None = None,
    first_port: int = FIRST_PORT,
    target_ip: str | None = None,
) -> Measured:
    """``throughput_bit_s`` (receiver's side, sum of the streams) and ``retransmits`` (sender's
    side) of the window of ``seconds`` after ``omit_s``.

    ``rate_bit_s`` fixes the rate of all streams together. The detail names the congestion
    control that the senders really used; another one than asked for is a failure.
    """
    asked: dict[str, object] = {
        "seconds": seconds, "omit_s": omit_s, "streams": streams, "rate_bit_s": rate_bit_s,
        "cpus": None if cpus is None else cpus.as_detail(),
    }  # fmt: skip
    raw: dict[str, bytes] = {}
    try:
        flows = start(
            server, client, seconds=seconds, omit_s=omit_s, streams=streams, cpus=cpus,
            first_port=first_port, target_ip=target_ip, congestion=congestion,
            rate_bit_s=rate_bit_s,
        )  # fmt: skip
        try:
            ends = flows.finish(raw, "iperf3-tcp")
        finally:
            flows.kill()
        return Measured(tcp_samples(ends, congestion, asked), raw)
    except MeasureFailed as error:
        return all_failed(TCP_METRICS, str(error), raw, **asked)


def tcp_samples(
    ends: Sequence[Ends], congestion: str, asked: dict[str, object]
) -> tuple[Sample, ...]:
    """The samples of ``tcp`` from the reports of its streams; MeasureFailed when they disagree
    with what was asked."""
    used = sorted({one.sender.congestion for one in ends})
    if congestion and used != [congestion]:
        raise MeasureFailed(f"TCP used {' and '.join(used) or 'nothing'}, not {congestion}")
    rates = [_bit_s(one.received) for one in ends]
    counts = [one.retransmits for ends_ in ends for one in ends_.sent]
    detail = {
        **asked, "congestion": used[0], "iperf3": ends[0].sender.version, "mss": ends[0].sender.mss,
        "received_b": sum(each.bytes for one in ends for each in one.received),
        "stream_bit_s": rates, "interval_bit_s": _interval_rates(ends),
    }  # fmt: skip
    known = [count for count in counts if count is not None]
    retransmits = (
        good("retransmits", sum(known), **asked)
        if len(known) == len(counts)
        else failed("retransmits", "iperf3 does not report them on this system", **asked)
    )
    return good("throughput_bit_s", math.fsum(rates), **detail), retransmits


def udp(
    server: Place,
    client: Place,
    *,
    seconds: float,
    payload_b: int,
    rate_bit_s: int | None,
    omit_s: float = 0.0,
    streams: int = 1,
    pacing_us: int = 100,
    cpus: CpuMap | None = None,
    first_port: int = FIRST_PORT,
    target_ip: str | None = None,
) -> Measured:
    """``udp_throughput_bit_s``, ``packet_rate_pps`` and ``loss_ratio``, all from the receiver.

    ``rate_bit_s`` is payload per second of all streams together, None for as fast as it goes;
    the detail says what was really sent. iperf3 sends in bursts of one ``pacing_us``: with its
    own default of 1 ms a burst of small packets alone overruns the backlog queue.
    """
    asked: dict[str, object] = {
        "seconds": seconds, "omit_s": omit_s, "streams": streams, "payload_b": payload_b,
        "rate_bit_s": rate_bit_s, "pacing_us": pacing_us,
        "cpus": None if cpus is None else cpus.as_detail(),
    }  # fmt: skip
    raw: dict[str, bytes] = {}
    try:
        flows = start(
            server, client, seconds=seconds, omit_s=omit_s, streams=streams, cpus=cpus,
            first_port=first_port, target_ip=target_ip, rate_bit_s=rate_bit_s,
            udp_payload_b=payload_b, pacing_us=pacing_us,
        )  # fmt: skip
        try:
            ends = flows.finish(raw, "iperf3-udp")
        finally:
            flows.kill()
        return Measured(udp_samples(ends, asked), raw)
    except MeasureFailed as error:
        return all_failed(UDP_METRICS, str(error), raw, **asked)


def udp_samples(ends: Sequence[Ends], asked: dict[str, object]) -> tuple[Sample, ...]:
    """The samples of ``udp`` from the reports of its streams.

    A receiver can only miss packets that a later one outran; when it saw none at all in the
    window although some were sent, the loss is 1.
    """
    sent = sum(one.packets or 0 for end in ends for one in end.sent)
    expected = sum(one.packets or 0 for end in ends for one in end.received)
    lost = sum(one.lost or 0 for end in ends for one in end.received)
    if sent == 0:
        raise MeasureFailed("the sender sent no packet in the window")
    # Packets that come late are first counted as lost, then taken back: below 0 in a window.
    loss = 1.0 if expected == 0 else min(max(lost / expected, 0.0), 1.0)
    arrived_pps = math.fsum(
        sum((one.packets or 0) - (one.lost or 0) for one in end.received)
        / iperf_json.duration_s(end.received)
        for end in ends
    )
    detail = {
        **asked, "iperf3": ends[0].sender.version, "sent_packets": sent,
        "sent_bit_s": math.fsum(_bit_s(end.sent) for end in ends),
        "expected_packets": expected, "lost_packets": lost,
    }  # fmt: skip
    return (
        good("udp_throughput_bit_s", math.fsum(_bit_s(end.received) for end in ends), **detail),
        good("packet_rate_pps", max(arrived_pps, 0.0), **detail),
        good("loss_ratio", loss, **detail),
    )


def _bit_s(intervals: Sequence[Interval]) -> float:
    return 8 * sum(one.bytes for one in intervals) / iperf_json.duration_s(intervals)


def _interval_rates(ends: Sequence[Ends]) -> list[float]:
    return [
        math.fsum(8 * one.bytes / (one.end_s - one.start_s) for one in together)
        for together in zip(*(end.received for end in ends), strict=False)
    ]
