"""The probe's datagrams: their bytes, their sockets, and what the kernel tells beside them.

A request carries the run, the number of its probe and its own size; the answer adds what
the server saw. Sizes are of the whole IP packet in bytes. A socket is of one family, and
tells by it what a function does; what IPv4 calls TTL is the hop limit of IPv6.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

SMALLEST = 64
LARGEST = 65_535


class _Stack(NamedTuple):
    """One family as its sockets have it: <linux/in.h> and <linux/in6.h>, which Python 3.11 knows
    in part."""

    level: int
    headers: int
    """IP and UDP header, bytes."""
    pktinfo_on: int
    pktinfo: int
    ttl_on: int
    ttl: int
    mtu_discover: int
    recverr: int
    info: struct.Struct
    at: slice
    """Where the address that a packet was sent to stands in ``info``."""
    offender: slice
    """Where the address of who complained stands behind an error."""
    icmp: int
    port_unreachable: tuple[int, int]


_STACKS: dict[int, _Stack] = {
    socket.AF_INET: _Stack(
        socket.IPPROTO_IP, 28, 8, 8, 12, socket.IP_TTL, 10, 11,
        struct.Struct("i4s4s"), slice(8, 12), slice(4, 8), 2, (3, 3),
    ),
    socket.AF_INET6: _Stack(
        socket.IPPROTO_IPV6, 48, socket.IPV6_RECVPKTINFO, socket.IPV6_PKTINFO,
        socket.IPV6_RECVHOPLIMIT, socket.IPV6_HOPLIMIT, 23, 25,
        struct.Struct("16si"), slice(0, 16), slice(8, 24), 3, (1, 4),
    ),
}  # fmt: skip
_PMTUDISC_PROBE = 3

_REQUEST = struct.Struct("!4sBII")
_ANSWER = struct.Struct("!4sBIIIB16s")
_ERROR = struct.Struct("IBBBxII")
_CONTROL = socket.CMSG_SPACE(20) + socket.CMSG_SPACE(4)
_ERROR_CONTROL = socket.CMSG_SPACE(_ERROR.size + 28) + _CONTROL
_PADDING = bytes(LARGEST)


class Request(NamedTuple):
    """A request as the server got it; ``source`` begins with address and port."""

    number: int
    size: int
    source: tuple[Any, ...]
    at: bytes
    ttl: int


class Answer(NamedTuple):
    """An answer as the client got it; ``own`` is the address that it was sent to."""

    number: int
    size: int
    by: int
    ttl: int
    source: str
    own: str


class Trouble(NamedTuple):
    """An error that came back for a request. ``number`` is -1 where the request is not quoted.

    ``what`` is ``refused``, ``too big`` (``mtu`` is what would pass) or ``unreachable``; ``to`` is
    the address that the request was for, empty when the client's own kernel complains.
    """

    what: str
    number: int
    size: int
    mtu: int
    words: str
    to: str = ""


def family(address: str) -> socket.AddressFamily:
    """The family of sockets for an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def open_server(which: socket.AddressFamily, port: int) -> socket.socket:
    """A socket in the thread's namespace that answers on all its addresses. OSError."""
    return _open(which, port)


def open_client(which: socket.AddressFamily) -> socket.socket:
    """A socket on a free port that sends with DF and gets ICMP errors. OSError.

    Its port must differ from the server's: with one port at both ends, a and b asking
    each other are one connection to conntrack, and the second inherits the first's NAT.
    """
    client = _open(which, 0)
    of = _STACKS[which]
    client.setsockopt(of.level, of.recverr, 1)
    # No fragments, as with PMTUDISC_DO, but blind to what an earlier probe made the route remember.
    client.setsockopt(of.level, of.mtu_discover, _PMTUDISC_PROBE)
    return client


def _open(which: socket.AddressFamily, port: int) -> socket.socket:
    of = _STACKS[which]
    opened = socket.socket(which, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if which == socket.AF_INET6:  # the other family has a socket of its own on this port
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(of.level, of.pktinfo_on, 1)
        opened.setsockopt(of.level, of.ttl_on, 1)
        opened.bind(("", port))
    except OSError:
        opened.close()
        raise
    return opened


def request(client: socket.socket, run: bytes, number: int, size: int) -> bytes:
    """The payload that makes a packet of ``size`` bytes."""
    head = _REQUEST.pack(run, 1, number, size)
    return head + _PADDING[: size - _STACKS[client.family].headers - len(head)]


def receive_request(server: socket.socket, run: bytes) -> Request | None:
    """The next request of this run; None for anything else. OSError when nothing waits."""
    data, control, _, source = server.recvmsg(_REQUEST.size, _CONTROL)
    if len(data) < _REQUEST.size:
        return None
    found, kind, number, size = _REQUEST.unpack(data)
    if found != run or kind != 1:
        return None
    ttl, at = _control(server, control)
    return Request(number, size, source, at, ttl)


def send_answer(server: socket.socket, run: bytes, got: Request, by: int) -> None:
    """Tell the sender what was seen, from the very address that it asked. OSError."""
    of = _STACKS[server.family]
    source = socket.inet_pton(server.family, got.source[0])
    data = _ANSWER.pack(run, 2, got.number, got.size, by, got.ttl, source)
    info = of.info.pack(got.at, 0) if len(got.at) == 16 else of.info.pack(0, got.at, bytes(4))
    server.sendmsg([data], [(of.level, of.pktinfo, info)], 0, got.source)


def receive_answer(client: socket.socket, run: bytes) -> Answer | None:
    """The next answer of this run; None for anything else. OSError when nothing waits."""
    data, control, _, _ = client.recvmsg(_ANSWER.size, _CONTROL)
    if len(data) < _ANSWER.size:
        return None
    found, kind, number, size, by, ttl, source = _ANSWER.unpack(data)
    if found != run or kind != 2:
        return None
    _, own = _control(client, control)
    seen = socket.inet_ntop(client.family, source[: len(own)])
    return Answer(number, size, by, ttl, seen, socket.inet_ntop(client.family, own))


def _control(opened: socket.socket, control: list[tuple[int, int, bytes]]) -> tuple[int, bytes]:
    of = _STACKS[opened.family]
    ttl, at = 0, bytes(of.at.stop - of.at.start)
    for _, kind, data in control:
        if kind == of.pktinfo:
            at = data[of.at]
        elif kind == of.ttl:
            ttl = int.from_bytes(data, sys.byteorder)
    return ttl, at


def troubles(client: socket.socket, run: bytes) -> Iterator[Trouble]:
    """Everything that waits on the socket's error queue, which is empty afterwards."""
    while True:
        try:
            data, control, _, where = client.recvmsg(
                _REQUEST.size, _ERROR_CONTROL, socket.MSG_ERRQUEUE
            )
        except BlockingIOError:
            break
        number, size = -1, 0
        if len(data) == _REQUEST.size:
            found, _, number, size = _REQUEST.unpack(data)
            if found != run:
                continue
        for _, kind, extended in control:
            if kind == _STACKS[client.family].recverr:
                yield _trouble(client.family, extended, number, size, where[0])
    client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _trouble(which: int, extended: bytes, number: int, size: int, where: str) -> Trouble:
    of = _STACKS[which]
    code, origin, kind, subtype, info, _ = _ERROR.unpack_from(extended)
    name = errno.errorcode.get(code, str(code))
    if code == errno.EMSGSIZE:
        to = where if origin == of.icmp else ""
        return Trouble("too big", number, size, info, name, to)
    if origin == of.icmp:
        # struct sock_extended_err is followed by the socket address of who complained
        by = socket.inet_ntop(which, extended[_ERROR.size :][of.offender])
        if (kind, subtype) == of.port_unreachable:
            return Trouble("refused", number, size, 0, f"{by} says: port unreachable")
        return Trouble("unreachable", number, size, 0, f"{by} says: {name}")
    return Trouble("unreachable", number, size, 0, f"the client's own kernel says: {name}")
