"""What moving a gigabyte costs the whole machine in CPU time, at a fixed rate.

The rate must be well below what the slowest network of the comparison carries: under
saturation, CPU time for a byte only says again what the throughput was. The machine's other
work is measured just before in an idle window of the same length and subtracted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from emulator.measure import cpu, iperf, wait
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, Sample, all_failed, good
from emulator.place import Place

METRICS = ("cpu_s_per_gb", "steal_ratio", "idle_ratio")
RATE_KEPT = 0.97
BACKGROUND_LIMIT = 0.3
"""Share of the busy time that may be other work's: what that uses a second later is not known,
and above this it is no longer small beside what is measured."""


def cpu_per_gb(
    server: Place,
    client: Place,
    *,
    rate_bit_s: int,
    seconds: float,
    omit_s: float,
    idle_s: float | None = None,
    streams: int = 1,
    congestion: str = "cubic",
    cpus: CpuMap | None = None,
    first_port: int = iperf.FIRST_PORT,
    target_ip: str | None = None,
    read: Callable[[], str] = cpu.read_proc_stat,
) -> Measured:
    """``cpu_s_per_gb`` with the background subtracted, ``steal_ratio`` and ``idle_ratio``.

    TCP at ``rate_bit_s`` (all streams together); the CPU window of ``seconds`` lies inside
    the transfer, so that no start of a process is in it. ``idle_s`` is the length of the window
    before (default ``seconds``, 0 for none: then nothing is subtracted). Less than 97 % of the
    rate is a failure. The kernel prints idle time in steps of 10 ms for each CPU, so the busy
    time should be at least a second for a resolution of some percent.
    """
    asked: dict[str, object] = {
        "rate_bit_s": rate_bit_s, "seconds": seconds, "omit_s": omit_s, "streams": streams,
        "cpus": None if cpus is None else cpus.as_detail(),
    }  # fmt: skip
    raw: dict[str, bytes] = {}
    looks: list[tuple[float, str]] = []

    def look() -> None:
        looks.append((time.monotonic(), read()))

    try:
        background, background_s = None, seconds if idle_s is None else idle_s
        if background_s:
            look()
            wait.elapse(background_s)
            look()
            background = cpu.between(cpu.parse(*looks[0]), cpu.parse(*looks[1]))
        flows = iperf.start(
            # One second more, so that the window ends before the transfer does.
            server, client, seconds=seconds + 1.0, omit_s=omit_s, streams=streams, cpus=cpus,
            first_port=first_port, target_ip=target_ip, congestion=congestion,
            rate_bit_s=rate_bit_s,
        )  # fmt: skip
        try:
            try:
                wait.elapse(omit_s, flows.clients[0])
                look()
                wait.elapse(seconds, flows.clients[0])
                look()
            except MeasureFailed:
                # iperf3's own words for its early end, raised here, are the better reason.
                flows.finish(raw, "iperf3-fixed-rate")
                raise
            ends = flows.finish(raw, "iperf3-fixed-rate")
        finally:
            flows.kill()
        throughput = iperf.tcp_samples(ends, congestion, asked)[0].value
        spent = cpu.between(cpu.parse(*looks[-2]), cpu.parse(*looks[-1]))
        return Measured(samples(throughput, spent, background, asked), raw)
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), raw, **asked)
    finally:
        raw.update({f"proc-stat-{n}.txt": text.encode() for n, (_, text) in enumerate(looks)})


def samples(
    throughput_bit_s: float | None,
    spent: cpu.Spent,
    background: cpu.Spent | None,
    asked: dict[str, object],
) -> tuple[Sample, ...]:
    """The samples from the rate that was received and the two windows.

    MeasureFailed when the rate was not kept, or others used too much of the machine.
    """
    rate_bit_s = asked["rate_bit_s"]
    assert isinstance(rate_bit_s, int)
    if throughput_bit_s is None or throughput_bit_s < RATE_KEPT * rate_bit_s:
        raise MeasureFailed(
            f"{throughput_bit_s} bit/s arrived of {rate_bit_s} bit/s: the work is not fixed"
        )
    gigabytes = throughput_bit_s * spent.window_s / 8 / 1e9
    own_s = spent.busy_s
    if background is not None:
        others_s = background.busy_s * spent.window_s / background.window_s
        if others_s > BACKGROUND_LIMIT * spent.busy_s:
            raise MeasureFailed(
                f"other work took {others_s:.2f} s of {spent.busy_s:.2f} s of busy time: at most "
                f"{BACKGROUND_LIMIT:.0%} can be subtracted"
            )
        own_s -= others_s
    detail: dict[str, object] = {
        **asked,
        "received_bit_s": throughput_bit_s,
        **spent.as_detail(),
        "background": None if background is None else background.as_detail(),
    }
    return (
        good("cpu_s_per_gb", own_s / gigabytes, **detail),
        good("steal_ratio", spent.kinds.steal / spent.all_s, window_s=spent.window_s),
        good("idle_ratio", spent.idle_s / spent.all_s, window_s=spent.window_s),
    )
