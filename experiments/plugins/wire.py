"""One datagram on the wire: what the sending node's uplink carried of it, captured by tcpdump."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from emulator.cluster import Place
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.frames import frames
from emulator.measure.sample import Measured, Sample, all_failed, good

METRIC = "header_b"
PAYLOAD_B = 500
MARK = b"podwire-on-the-wire"
WITHIN_S = 5.0
_SENDER = """
import socket, sys, time
data = sys.argv[3].encode().ljust(int(sys.argv[4]), b".")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    while True:
        out.sendto(data, (sys.argv[1], int(sys.argv[2])))
        time.sleep(0.05)
"""
"""Alone each time: what bundles frames must have nothing to bundle."""


def header(
    client: Place, server: Place, node: Place, uplink: str, cpus: CpuMap, port: int
) -> Measured:
    """``header_b``: a frame's bytes less those of the datagram's payload.

    The datagram is sent until it was captured; nothing need listen for it.
    """
    python = str(Path(sys.executable).resolve())
    sender = client.start(
        [python, "-I", "-c", _SENDER, server.ip, str(port), MARK.decode(), str(PAYLOAD_B)],
        cpus=cpus.for_client(0),
    )
    pcap = io.BytesIO()
    try:
        words = ("udp", "and", "greater", str(PAYLOAD_B))
        node.capture(uplink, pcap, count=1, seconds=WITHIN_S, words=words)
    finally:
        sender.kill()
    raw = {"header.pcap": pcap.getvalue()}
    try:
        return Measured((sample(pcap.getvalue()),), raw)
    except MeasureFailed as error:
        return all_failed((METRIC,), str(error), raw)


def sample(pcap: bytes) -> Sample:
    """From the capture; MeasureFailed where the datagram is not in it."""
    for frame in frames(pcap):
        if MARK in frame.data:
            return good(METRIC, frame.length_b - PAYLOAD_B, payload_b=PAYLOAD_B)
    raise MeasureFailed(f"no frame with the datagram within {WITHIN_S:g} s")
