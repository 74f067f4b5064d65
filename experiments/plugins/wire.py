"""One datagram on the wire: what the sending node's uplink carried of it, captured by tcpdump."""

from __future__ import annotations

import io

from emulator.cluster import Place
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.frames import frames
from emulator.measure.sample import Measured, Sample, all_failed, good
from experiments.two_nodes.datagrams import mark, sent
from experiments.two_nodes.modes import PAYLOAD_B

METRIC = "header_b"
WITHIN_S = 30.0


def header(
    client: Place, server: Place, node: Place, uplink: str, cpus: CpuMap, port: int
) -> Measured:
    """``header_b``: a frame's bytes less those of the datagram's payload.

    The datagram is sent until it was captured; nothing need listen for it.
    """
    pcap = io.BytesIO()
    words = ("udp", "and", "greater", str(PAYLOAD_B))
    with sent(client, server, [PAYLOAD_B], cpus, port):
        node.capture(uplink, pcap, count=1, seconds=WITHIN_S, words=words)
    raw = {"header.pcap": pcap.getvalue()}
    try:
        return Measured((sample(pcap.getvalue()),), raw)
    except MeasureFailed as error:
        return all_failed((METRIC,), str(error), raw)


def sample(pcap: bytes) -> Sample:
    """From the capture; MeasureFailed where the datagram is not in it."""
    for frame in frames(pcap):
        if mark(PAYLOAD_B) in frame.data:
            return good(METRIC, frame.length_b - PAYLOAD_B, payload_b=PAYLOAD_B)
    raise MeasureFailed(f"no frame with the datagram within {WITHIN_S:g} s")
