"""What a measurement returns: named values with units, and the raw output behind them.

The metric's name says what was measured and in which unit; ``METRICS`` is the whole
vocabulary. A measurement that failed is a sample without a value and with a reason, so
that a table of results has a row for it and not a hole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Sample(NamedTuple):
    """One value of one metric.

    ``value`` is None exactly when ``failure`` is not empty. ``detail`` holds what is needed
    to judge the value (settings really used, counts, intervals); it is plain JSON.
    """

    metric: str
    value: float | None
    unit: str
    detail: Mapping[str, object]
    failure: str = ""


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
    """The unit and the meaning of a metric."""

    unit: str
    meaning: str


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

METRICS: Mapping[str, Metric] = {
    "throughput_bit_s": Metric("bit/s", "TCP payload that the receiver read"),
    "retransmits": Metric("1", "segments that the sender's TCP sent again"),
    "udp_throughput_bit_s": Metric("bit/s", "UDP payload that the receiver read"),
    "packet_rate_pps": Metric("1/s", "UDP packets that the receiver read"),
    "loss_ratio": Metric("1", "UDP packets that did not arrive over those that were sent"),
    "low_load_loss_ratio": Metric("1", "the same at the rate that the search starts from"),
    "icmp_loss_ratio": Metric("1", "echo requests without a reply over all"),
    "connect_rate_per_s": Metric("1/s", "complete connect-request-response transactions"),
    "cpu_s_per_gb": Metric("s/GB", "CPU time of the whole machine for 10^9 bytes received"),
    "steal_ratio": Metric("1", "CPU time taken by the hypervisor over all"),
    "idle_ratio": Metric("1", "idle CPU time over all"),
    "cell_steal_ratio": Metric("1", "CPU time taken by the hypervisor over all, whole cell"),
    "frame_b": Metric("B", "mean size of the frames that the sending node's uplink transmitted"),
    "header_b": Metric("B", "a captured frame less the payload of the UDP datagram in it"),
    "path_mtu_b": Metric("B", "largest IP packet that arrives without fragmentation"),
    "outage_ms": Metric("ms", "longest gap of a steady stream: datagrams in a row that are lost"),
    "recovery_ms": Metric("ms", "from the end of a repair until a datagram passes"),
    "lost_packets": Metric("1", "datagrams of a steady stream that did not arrive within 100 ms"),
    "uplink_tx_b": Metric("B", "bytes that the sending node's uplink transmitted"),
    "tunnel_tx_b": Metric("B", "bytes that the sending node's VXLAN device transmitted"),
    "tcp_retransmitted_segments": Metric("1", "Tcp.RetransSegs of the places watched"),
    "udp_receive_errors": Metric("1", "Udp.InErrors of the places watched"),
    "interface_drops": Metric("1", "packets dropped by the interfaces watched"),
    "softnet_drops": Metric("1", "packets dropped by full backlog queues, whole machine"),
    "softnet_squeezes": Metric("1", "receive rounds that ran out of budget, whole machine"),
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


def all_failed(
    metrics: Iterable[str], reason: str, raw: Mapping[str, bytes], **detail: object
) -> Measured:
    """One failed sample for each metric: what an instrument returns when its tool failed."""
    return Measured(tuple(failed(metric, reason, **detail) for metric in metrics), raw)
