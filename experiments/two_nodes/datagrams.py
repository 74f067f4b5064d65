"""Datagrams of known sizes, sent again and again, each alone: what frames are captured of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from emulator.cluster import Place
from emulator.measure import tool
from emulator.measure.cpus import CpuMap

_MARK: Final = b"podwire:%05d:"
_SENDER: Final = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    while True:
        for size in map(int, sys.argv[3:]):
            out.sendto((b"podwire:%05d:" % size).ljust(size, b"."), (sys.argv[1], int(sys.argv[2])))
            time.sleep(0.02)
"""
"""One after the other: what bundles frames must have nothing to bundle."""


def mark(payload_b: int) -> bytes:
    """What the payload of a datagram of this size begins with."""
    return _MARK % payload_b


@contextmanager
def sent(
    client: Place, server: Place, payloads_b: Sequence[int], cpus: CpuMap, port: int
) -> Iterator[None]:
    """While the block runs the client sends these sizes in turn; nothing need listen for them."""
    sizes = map(str, payloads_b)
    argv = tool.python(_SENDER, server.ip, str(port), *sizes)
    sender = client.start(argv, cpus=cpus.for_client(0))
    try:
        yield
    finally:
        sender.kill()
