"""Numbered datagrams from one node of a lab to another, with the kernel's time of their arrival.

One program holds the sockets of both ends, so that one clock is enough; the time of arrival is
taken by the kernel, before the program is woken.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from emulator.cluster import Cluster
from emulator.substrate import inside

PORT = 8475
HEADERS_B = 42
"""Ethernet, IPv4 and UDP, as a qdisc counts them."""
_TIMESTAMPNS, _NO_CHECK = 35, 11
_NUMBER = struct.Struct("!II")
_DRAIN_EVERY = 8
_QUIET_S = 1.5
"""Without an arrival for so long nothing more will come: where delays are further apart
than that, packets are many."""


class Arrival(NamedTuple):
    """A datagram that came: its number, when it was sent, and when it came, nanoseconds."""

    number: int
    sent_ns: int
    came_ns: int

    @property
    def took_us(self) -> float:
        """One way."""
        return (self.came_ns - self.sent_ns) / 1e3


class Flow(NamedTuple):
    """``arrivals`` are those that came undamaged, in their order; ``size_b`` is a frame's."""

    sent: int
    size_b: int
    arrivals: tuple[Arrival, ...]
    damaged: int

    @property
    def came(self) -> set[int]:
        """The numbers of those that came at least once."""
        return {one.number for one in self.arrivals}


class Ends:
    """Two nodes of a lab that is up, each with a socket in it."""

    def __init__(self, cluster: Cluster, near: str, far: str) -> None:
        self._cluster, self._near, self._far = cluster, near, far

    def reversed(self) -> Ends:
        """The other way."""
        return Ends(self._cluster, self._far, self._near)

    def _inside(self, work: Callable[[socket.socket, socket.socket], Flow]) -> Flow:
        near, far = self._near, self._far
        to = self._cluster.address(far)

        def child() -> Flow:
            inside.enter_netns(far)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
                server.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                server.setblocking(False)
                server.bind((to, PORT))
                inside.enter_netns(near)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    # what is damaged is to arrive, and to be seen
                    client.setsockopt(socket.SOL_SOCKET, _NO_CHECK, 1)
                    client.setblocking(False)
                    client.connect((to, PORT))
                    return work(client, server)

        return inside.inside(self._cluster.world, child)

    def send(self, count: int, per_s: float, frame_b: int = 100) -> Flow:
        """``count`` datagrams at a pace, after some that find the neighbour."""
        return self._inside(lambda client, server: _send(client, server, count, per_s, frame_b))


def _send(
    client: socket.socket, server: socket.socket, count: int, per_s: float, frame_b: int
) -> Flow:
    filler = bytes(i & 0xFF for i in range(frame_b - HEADERS_B - _NUMBER.size))
    source = client.getsockname()[1]
    sent_ns: list[int] = []
    found: list[tuple[int, int]] = []
    damaged = 0

    def drain() -> bool:
        nonlocal damaged
        some = False
        while True:
            try:
                data, told, _, address = server.recvmsg(2048, 64)
            except BlockingIOError:
                return some
            some = True
            if len(data) < _NUMBER.size:
                damaged += 1
                continue
            one, again = _NUMBER.unpack_from(data)
            if one == again == 0xFFFFFFFF:
                continue
            if (one ^ again, data[_NUMBER.size :], address[1]) != (0, filler, source):
                damaged += 1
                continue
            seconds, nanoseconds = struct.unpack("ll", told[0][2])
            found.append((one, seconds * 10**9 + nanoseconds))

    def one(number: int) -> None:
        with suppress(BlockingIOError):  # more than the socket may have under way
            client.send(_NUMBER.pack(number, number) + filler)

    for _ in range(20):  # until one comes, the neighbour is not known
        one(0xFFFFFFFF)
        if select.select([server], [], [], 0.5)[0]:
            break
    while select.select([server], [], [], 0.3)[0]:
        drain()
    begin = time.monotonic()
    for number in range(count):
        while (left_s := begin + number / per_s - time.monotonic()) > 0:
            if select.select([server], [], [], left_s)[0]:
                drain()
        sent_ns.append(time.time_ns())
        one(number)
        if number % _DRAIN_EVERY == 0:
            drain()
    while select.select([server], [], [], _QUIET_S)[0]:
        drain()
    arrivals = tuple(Arrival(number, sent_ns[number], came) for number, came in found)
    return Flow(count, frame_b, arrivals, damaged)
