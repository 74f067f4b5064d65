"""What tcpdump captured: a classic pcap, as bytes, into frames.

pcap is 24 bytes of header and 16 before each frame; libraries for it bring a decoder of every
protocol along.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from emulator.measure.failure import MeasureFailed

_HEAD_B = 24
_MAGIC = (0xA1B2C3D4, 0xA1B23C4D)
"""Times in microseconds, in nanoseconds."""


class Frame(NamedTuple):
    """``length_b`` as it was on the wire, without the check sequence; ``data`` may be less."""

    length_b: int
    data: bytes


def frames(pcap: bytes) -> Iterator[Frame]:
    """Every frame in order; what was cut off at the end is left out. MeasureFailed."""
    if len(pcap) < _HEAD_B:
        raise MeasureFailed(f"the capture has {len(pcap)} bytes, no header of a pcap")
    order = "<" if struct.unpack_from("<I", pcap)[0] in _MAGIC else ">"
    if struct.unpack_from(f"{order}I", pcap)[0] not in _MAGIC:
        raise MeasureFailed(f"the capture begins with {pcap[:4].hex()}: no pcap")
    record = struct.Struct(f"{order}4I")
    at = _HEAD_B
    while at + record.size <= len(pcap):
        _, _, kept, length = record.unpack_from(pcap, at)
        at += record.size
        if at + kept > len(pcap):
            return
        yield Frame(length, pcap[at : at + kept])
        at += kept
