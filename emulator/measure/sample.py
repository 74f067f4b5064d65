"""What a measurement returns: named values with units, and the raw output behind them.

The metric's name says what was measured and in which unit; ``METRICS`` is the whole
vocabulary. A measurement that failed is a sample without a value and with a reason, so
that a table of results has a row for it and not a hole; so is one that this bench cannot make.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple


class Sample(NamedTuple):
    """One value of one metric.

    ``value`` is None exactly when ``failure`` is not empty. ``detail`` holds what is needed
    to judge the value (settings really used, counts, intervals); it is plain JSON.
    Not ``supported``: nothing was tried, and ``failure`` is what it needs.
    """

    metric: str
    value: float | None
    unit: str
    detail: Mapping[str, object]
    failure: str = ""
    supported: bool = True

    @property
    def status(self) -> Literal["measured", "failed", "unsupported"]:
        """The three kinds of rows."""
        if not self.supported:
            return "unsupported"
        return "measured" if self.value is not None else "failed"


class Measured(NamedTuple):
    """The samples of one run of an instrument, and the outputs of its tools by file name."""

    samples: tuple[Sample, ...]
    raw: Mapping[str, bytes]

    def value(self, metric: str) -> float | None:
        """The value of a metric; None when it failed. KeyError when it was not measured."""
        for sample in self.samples:
            if sample.metric == metric:
                return sample.value
        raise KeyError(metric)


class Metric(NamedTuple):
    """The unit and the meaning of a metric.

    ``counted``: it says what is right, and how many, the same on a slow CPU. All others are of
    speed: rates, durations, CPU time, and what is lost because somebody was too slow.
    """

    unit: str
    meaning: str
    counted: bool = False


_ROUND_TRIPS = {
    "icmp_rtt": "ICMP echo round trip",
    "tcp_rtt": "TCP request and response on an open connection, closed loop",
    "udp_rtt": "UDP request and response, closed loop",
    "tcp_load_rtt": "TCP request and response at a fixed rate, open loop",
    "udp_load_rtt": "UDP request and response at a fixed rate, open loop",
    "connect": "TCP handshake as the client sees it",
    "crr": "TCP handshake, request and response, as the client sees them",
}
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}

WIRE_SIZES_B = (64, 65, 66, 79, 80, 576, 1300)
"""IP packets of pods: what pads to 4 or to 16 differs among the first."""

INSTRUCTIONS = (
    "instructions_per_round_trip", "instructions_per_packet", "instructions_per_byte",
)  # fmt: skip

METRICS: Mapping[str, Metric] = {
    "throughput_bit_s": Metric("bit/s", "TCP payload that the receiver read"),
    "retransmits": Metric("1", "segments that the sender's TCP sent again"),
    "udp_throughput_bit_s": Metric("bit/s", "UDP payload that the receiver read"),
    "packet_rate_pps": Metric("1/s", "UDP packets that the receiver read"),
    "loss_ratio": Metric("1", "UDP packets that did not arrive over those that were sent"),
    "low_load_loss_ratio": Metric("1", "the same at the rate that the search starts from"),
    "icmp_loss_ratio": Metric("1", "echo requests without a reply over all", counted=True),
    "connect_rate_per_s": Metric("1/s", "complete connect-request-response transactions"),
    "cpu_s_per_gb": Metric("s/GB", "CPU time of the whole machine for 10^9 bytes received"),
    "steal_ratio": Metric("1", "CPU time taken by the hypervisor over all"),
    "idle_ratio": Metric("1", "idle CPU time over all"),
    "cell_steal_ratio": Metric("1", "CPU time taken by the hypervisor over all, whole cell"),
    "frame_b": Metric(
        "B", "mean size of the frames that the sending node's uplink transmitted", counted=True
    ),
    "header_b": Metric(
        "B", "a captured frame less the payload of the UDP datagram in it", counted=True
    ),
    "path_mtu_b": Metric("B", "largest IP packet that arrives without fragmentation", counted=True),
    "outage_ms": Metric("ms", "longest gap of a steady stream: datagrams in a row that are lost"),
    "recovery_ms": Metric("ms", "from the end of a repair until a datagram passes"),
    "lost_packets": Metric("1", "datagrams of a steady stream that did not arrive within 100 ms"),
    "uplink_tx_b": Metric("B", "bytes that the sending node's uplink transmitted", counted=True),
    "tunnel_tx_b": Metric(
        "B", "bytes that the sending node's VXLAN device transmitted", counted=True
    ),
    "tcp_retransmitted_segments": Metric("1", "Tcp.RetransSegs of the places watched"),
    "udp_receive_errors": Metric("1", "Udp.InErrors of the places watched"),
    "interface_drops": Metric("1", "packets dropped by the interfaces watched"),
    "softnet_drops": Metric("1", "packets dropped by full backlog queues, whole machine"),
    "softnet_squeezes": Metric("1", "receive rounds that ran out of budget, whole machine"),
    "cable_packets": Metric(
        "1", "packets that both nodes' uplinks send for one echo and its reply", counted=True
    ),
    "device_packets": Metric(
        "1",
        "packets that devices of nodes and pods receive for one echo and its reply",
        counted=True,
    ),
    "rules": Metric(
        "1",
        "rules of both nodes that match, for one echo and its reply of a known flow",
        counted=True,
    ),
    "readable_payloads": Metric(
        "1",
        "of 1,000 payloads of a pod, those that stand in the clear on its node's cable",
        counted=True,
    ),
    "rules_new_flow": Metric("1", "the same for those of a new flow", counted=True),
    "goodput_bit_s": Metric(
        "bit/s", "TCP payload through a link that is its limit: CPUs have time left", counted=True
    ),
    "transfers_completed": Metric("1", "transfers of which everything arrived", counted=True),
    "resent_segments": Metric("1", "segments that the sending pod's TCP sent again", counted=True),
    "short_ms": Metric("ms", "connecting, sending a few kilobytes, and hearing that they came"),
    **{
        f"outcome_{probe}": Metric(
            "1", f"what became of {words}: 0 lost, 1 refused, 2 in pieces, 3 whole", counted=True
        )
        for probe, words in {
            "df": "a datagram with Don't Fragment",
            "fragments": "a datagram without it",
            "tcp": "a TCP stream",
            "clamped": "a TCP stream whose segments a rule keeps small",
        }.items()
    },
    "wire_largest_b": Metric(
        "B", "frame on the cable around the largest IP packet of the path", counted=True
    ),
    **{
        f"wire_{size}_b": Metric(
            "B", f"frame on the cable around an IP packet of {size} B", counted=True
        )
        for size in WIRE_SIZES_B
    },
    **{
        name: Metric("1", f"instructions of the kernel for {words}", counted=True)
        for name, words in zip(
            INSTRUCTIONS,
            (
                "a datagram and its echo, each read by a process",
                "a datagram of a burst, read by a process",
                "a byte of a long TCP stream, read by a process",
            ),
            strict=True,
        )
    },
    **{
        f"{verb}_{percentile}_ms": Metric("ms", f"{percentile} of: {verb.upper()} of CNI, a pod")
        for verb in ("add", "check", "del")
        for percentile in ("p50", "p90", "p99")
    },
    **{
        f"{prefix}_{percentile}_us": Metric("us", f"{percentile} of: {meaning}")
        for prefix, meaning in _ROUND_TRIPS.items()
        for percentile in PERCENTILES
    },
}


def good(metric: str, value: float, **detail: object) -> Sample:
    """A sample with a value; one that is not finite becomes a failure.

    KeyError when the metric is not in ``METRICS``.
    """
    if not math.isfinite(value):
        return failed(metric, f"the value is {value}", **detail)
    return Sample(metric, float(value), METRICS[metric].unit, detail)


def failed(metric: str, reason: str, **detail: object) -> Sample:
    """A sample without a value, and why. KeyError when the metric is not in ``METRICS``."""
    if not reason:
        raise ValueError(f"{metric} failed without a reason")
    return Sample(metric, None, METRICS[metric].unit, detail, reason)


def is_speed(metric: str) -> bool:
    """Whether a slower CPU gives another value. True for what an experiment names by itself."""
    return metric not in METRICS or not METRICS[metric].counted


def unsupported(metric: str, reason: str) -> Sample:
    """A sample that cannot be taken here, and what it needs. KeyError as ``good``."""
    return failed(metric, reason)._replace(supported=False)


def all_unsupported(metrics: Iterable[str], reason: str) -> Measured:
    """One such sample for each metric."""
    return Measured(tuple(unsupported(metric, reason) for metric in metrics), {})


def all_failed(
    metrics: Iterable[str], reason: str, raw: Mapping[str, bytes], **detail: object
) -> Measured:
    """One failed sample for each metric: what an instrument returns when its tool failed."""
    return Measured(tuple(failed(metric, reason, **detail) for metric in metrics), raw)
