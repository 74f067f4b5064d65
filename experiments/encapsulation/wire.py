"""Datagrams of several sizes on the wire: the frames that the sending node's uplink carried."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from emulator.cluster import Place
from emulator.measure import tool
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.frames import Frame, frames
from emulator.measure.sample import WIRE_SIZES_B, Measured, Sample, all_failed, good
from experiments.overhead import IPV4_B, UDP_B
from experiments.two_nodes.datagrams import mark, sent

METRICS: Final = (*(f"wire_{size}_b" for size in WIRE_SIZES_B), "wire_largest_b")
ROUNDS: Final = 4
WITHIN_S: Final = 60.0
_RECEIVER = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
    here.bind((sys.argv[1], int(sys.argv[2])))
    while True:
        here.recv(65536)
"""
"""Without it, errors would come back with a part of what was sent."""


def by_size(
    client: Place, server: Place, node: Place, uplink: str, *, largest_b: int, sealed: str,
    cpus: CpuMap, port: int,
) -> Measured:  # fmt: skip
    """``wire_64_b`` …: the frame around an IP packet of so many bytes; the largest of all last.

    ``sealed``: a filter for packets that cannot be read, empty where they can.
    """
    sizes = (*WIRE_SIZES_B, largest_b)
    payloads_b = [size - IPV4_B - UDP_B for size in sizes]
    pcap = io.BytesIO()
    # A word of BPF's own: what this namespace sends. Replies and what is forwarded back are not.
    words = ("outbound", *(("and", f"({sealed})") if sealed else ()))
    receiver = server.start(tool.python(_RECEIVER, server.ip, str(port)))
    try:
        with sent(client, server, payloads_b, cpus, port):
            node.capture(uplink, pcap, count=ROUNDS * len(sizes), seconds=WITHIN_S, words=words)
    finally:
        receiver.kill()
    raw = {"wire.pcap": pcap.getvalue()}
    try:
        captured = list(frames(pcap.getvalue()))
        found = _sealed(captured, len(sizes)) if sealed else _marked(captured, sizes)
        return Measured(tuple(samples(found, sizes)), raw)
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), raw)


def samples(found: Sequence[int], sizes: Sequence[int]) -> list[Sample]:
    """One for each size, in order."""
    return [
        good(metric, frame_b, inner_b=size)
        for metric, frame_b, size in zip(METRICS, found, sizes, strict=True)
    ]


def _marked(captured: Sequence[Frame], sizes: Sequence[int]) -> list[int]:
    """By the words that each datagram begins with. MeasureFailed where one is missing."""
    seen: Mapping[int, list[int]] = {
        size: [one.length_b for one in captured if mark(size - IPV4_B - UDP_B) in one.data]
        for size in sizes
    }
    return [_one_of(seen[size], size) for size in sizes]


def _one_of(lengths: Sequence[int], size: int) -> int:
    if len(set(lengths)) != 1:
        raise MeasureFailed(f"frames of {sorted(set(lengths))} B around an IP packet of {size} B")
    return lengths[0]


def _sealed(captured: Sequence[Frame], count: int) -> list[int]:
    """By their order: after the largest comes the smallest again. MeasureFailed where not."""
    lengths = [one.length_b for one in captured]
    ends = [at for at, length in enumerate(lengths) if length == max(lengths, default=0)]
    every = (lengths[a + 1 : b + 1] for a, b in pairwise(ends))
    rounds = [one for one in every if len(one) == count]  # another has a word of the tunnel's own
    if not rounds or any(one != rounds[0] for one in rounds):
        raise MeasureFailed(f"frames of {lengths} B: no rounds of {count} sizes")
    return rounds[0]
