"""The program behind the instrument ``instructions``: counted traffic, with marks around it.

    python marked.py server --bind IP …the counts…
    python marked.py client --to IP …the counts…

Standard library only, and it imports nothing of the project, so that its text runs in any place.
Both ends know what is sent, so that nothing but the traffic itself is said between them, and
sockets block in the kernel, without a time limit of their own, which would cost calls: an alarm
ends a program that waits in vain.

A mark is an instruction that does nothing: ``nopl`` with a displacement that says ``Pw`` and the
number of the phase that begins. Who counts instructions looks for it (bench ``virtual``).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import mmap
import platform
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

PHASES = ("none", "round trips", "packets", "short stream", "long stream")
"""By number."""
WITHIN_S = 60
CHUNK_B = 1 << 16
CONGESTION = b"reno"
"""No path here loses or delays, so the window is to grow until the sender's buffer is full. CUBIC
leaves slow start at times by HyStart, which takes a busy CPU for a queue, and stays at half the
window: another size of batches, and 4 % more instructions for a byte."""


class Load(NamedTuple):
    """What is sent. ``payload_b``: of a datagram; each burst of packets ends with one that comes
    back, so that no receiver has more to take in than its buffer holds. The first of each kind
    warms up."""

    echoes: int
    bursts: int
    burst_packets: int
    payload_b: int
    short_b: int
    long_b: int


def nop(phase: int) -> bytes:
    """The mark's instruction. ValueError for what is no phase."""
    if not 0 <= phase < 1 << 16:
        raise ValueError(f"phase {phase}: 0 to 65535")
    return b"\x0f\x1f\x84\x00Pw" + phase.to_bytes(2, "little")


class Marker:
    """Marks the beginning of a phase, when it is called with its number; on another kind of CPU
    it does nothing."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        if platform.machine() != "x86_64":
            return
        every = b"".join(nop(phase) + b"\xc3".ljust(8, b"\xcc") for phase in range(len(PHASES)))
        self._code = mmap.mmap(
            -1, len(every), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        )
        self._code.write(every)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._calls += [ctypes.PYFUNCTYPE(None)(start + 16 * at) for at in range(len(PHASES))]

    def __call__(self, phase: int) -> None:
        if self._calls:
            self._calls[phase]()


def serve(ip: str, port: int, load: Load) -> None:
    """Answer what a client sends, in its order."""
    with (
        socket.socket(_family(ip), socket.SOCK_DGRAM) as datagrams,
        socket.create_server((ip, port), family=_family(ip)) as listener,
    ):
        datagrams.bind((ip, port))
        room = bytearray(CHUNK_B)
        for _ in range(2 * load.echoes):
            size, client = datagrams.recvfrom_into(room)
            datagrams.sendto(memoryview(room)[:size], client)
        for _ in range(2 * load.bursts):
            for _ in range(load.burst_packets):
                size, client = datagrams.recvfrom_into(room)
            datagrams.sendto(memoryview(room)[:size], client)
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for total_b in (load.long_b, load.short_b, load.long_b):
                left = total_b
                while left:
                    left -= connection.recv_into(room, min(left, CHUNK_B)) or left
                connection.sendall(b".")
            connection.recv(1)


def send(ip: str, port: int, load: Load) -> dict[str, int]:
    """Send all of it, with a mark before each kind; nanoseconds between marks, by phase."""
    mark = Marker()
    spent: dict[str, int] = {}

    def counted(phase: int, work: Callable[[], None]) -> None:
        mark(phase)
        began = time.perf_counter_ns()
        work()
        ended = time.perf_counter_ns()
        mark(0)
        spent[PHASES[phase]] = ended - began

    room, payload, bulk = bytearray(CHUNK_B), bytes(load.payload_b), bytes(CHUNK_B)
    with socket.socket(_family(ip), socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((ip, port))

        def echoes() -> None:
            for _ in range(load.echoes):
                datagrams.send(payload)
                datagrams.recv_into(room)

        def bursts() -> None:
            for _ in range(load.bursts):
                for _ in range(load.burst_packets):
                    datagrams.send(payload)
                datagrams.recv_into(room)

        for phase, work in ((1, echoes), (2, bursts)):
            work()
            counted(phase, work)
    with socket.create_connection((ip, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)

        def stream(total_b: int) -> None:
            left = total_b
            while left:
                left -= connection.send(memoryview(bulk)[: min(left, CHUNK_B)])
            connection.recv_into(room)

        stream(load.long_b)
        counted(3, lambda: stream(load.short_b))
        counted(4, lambda: stream(load.long_b))
    return spent


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="marked", description="counted traffic")
    parser.add_argument("end", choices=("server", "client"))
    parser.add_argument("ip")
    parser.add_argument("port", type=int)
    for name in Load._fields:
        parser.add_argument(name, type=int)
    given = vars(parser.parse_args(arguments))
    load = Load(**{name: given[name] for name in Load._fields})
    gc.disable()
    signal.alarm(WITHIN_S)
    if given["end"] == "server":
        serve(given["ip"], given["port"], load)
    else:
        print(json.dumps(send(given["ip"], given["port"], load)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
