"""The probe's datagrams: their bytes, their sockets, and what the kernel tells beside them.

A request carries the run, the number of its probe and its own size; the answer adds what
the server saw. Sizes are of the whole IPv4 packet in bytes.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

HEADERS = 28
"""IPv4 and UDP header, bytes."""
SMALLEST = 64
LARGEST = 65_535

# Of <linux/in.h>; Python 3.11 does not export them.
_IP_PKTINFO, _IP_MTU_DISCOVER, _IP_RECVERR, _IP_RECVTTL = 8, 10, 11, 12
_PMTUDISC_PROBE = 3
_FROM_LOCAL, _FROM_ICMP = 1, 2
_DEST_UNREACHABLE, _PORT_UNREACHABLE, _FRAGMENTATION_NEEDED = 3, 3, 4

_REQUEST = struct.Struct("!4sBII")
_ANSWER = struct.Struct("!4sBIIIB4s")
_PKTINFO = struct.Struct("i4s4s")
_ERROR = struct.Struct("IBBBxII")
_CONTROL = socket.CMSG_SPACE(_PKTINFO.size) + socket.CMSG_SPACE(4)
_ERROR_CONTROL = socket.CMSG_SPACE(_ERROR.size + 16) + _CONTROL
_PADDING = bytes(LARGEST)


class Request(NamedTuple):
    """A request as the server got it; ``source`` and ``at`` are (address, port) and address."""

    number: int
    size: int
    source: tuple[str, int]
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


def open_server(port: int) -> socket.socket:
    """A socket in the thread's namespace that answers on all its addresses. OSError."""
    return _open(port)


def open_client() -> socket.socket:
    """A socket on a free port that sends with DF and gets ICMP errors. OSError.

    Its port must differ from the server's: with one port at both ends, a and b asking
    each other are one connection to conntrack, and the second inherits the first's NAT.
    """
    client = _open(0)
    client.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    # DF as with IP_PMTUDISC_DO, but blind to what an earlier probe made the route remember.
    client.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    return client


def _open(port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    opened.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
    try:
        opened.bind(("0.0.0.0", port))
    except OSError:
        opened.close()
        raise
    return opened


def request(run: bytes, number: int, size: int) -> bytes:
    """The payload that makes an IPv4 packet of ``size`` bytes."""
    head = _REQUEST.pack(run, 1, number, size)
    return head + _PADDING[: size - HEADERS - len(head)]


def receive_request(server: socket.socket, run: bytes) -> Request | None:
    """The next request of this run; None for anything else. OSError when nothing waits."""
    data, control, _, source = server.recvmsg(_REQUEST.size, _CONTROL)
    if len(data) < _REQUEST.size:
        return None
    found, kind, number, size = _REQUEST.unpack(data)
    if found != run or kind != 1:
        return None
    ttl, at = _control(control)
    return Request(number, size, source, at, ttl)


def send_answer(server: socket.socket, run: bytes, got: Request, by: int) -> None:
    """Tell the sender what was seen, from the very address that it asked. OSError."""
    source = socket.inet_aton(got.source[0])
    data = _ANSWER.pack(run, 2, got.number, got.size, by, got.ttl, source)
    info = _PKTINFO.pack(0, got.at, bytes(4))
    server.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, info)], 0, got.source)


def receive_answer(client: socket.socket, run: bytes) -> Answer | None:
    """The next answer of this run; None for anything else. OSError when nothing waits."""
    data, control, _, _ = client.recvmsg(_ANSWER.size, _CONTROL)
    if len(data) < _ANSWER.size:
        return None
    found, kind, number, size, by, ttl, source = _ANSWER.unpack(data)
    if found != run or kind != 2:
        return None
    _, own = _control(control)
    return Answer(number, size, by, ttl, socket.inet_ntoa(source), socket.inet_ntoa(own))


def _control(control: list[tuple[int, int, bytes]]) -> tuple[int, bytes]:
    ttl, at = 0, bytes(4)
    for _, kind, data in control:
        if kind == _IP_PKTINFO:
            at = data[8:12]
        elif kind == socket.IP_TTL:
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
            if kind == _IP_RECVERR:
                yield _trouble(extended, number, size, where[0])
    client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _trouble(extended: bytes, number: int, size: int, where: str) -> Trouble:
    code, origin, kind, subtype, info, _ = _ERROR.unpack_from(extended)
    name = errno.errorcode.get(code, str(code))
    if code == errno.EMSGSIZE:
        to = where if origin == _FROM_ICMP else ""
        return Trouble("too big", number, size, info, name, to)
    if origin == _FROM_ICMP:
        # struct sock_extended_err is followed by the sockaddr_in of who complained.
        by = socket.inet_ntoa(extended[_ERROR.size + 4 : _ERROR.size + 8])
        if (kind, subtype) == (_DEST_UNREACHABLE, _PORT_UNREACHABLE):
            return Trouble("refused", number, size, 0, f"{by} says: port unreachable")
        return Trouble("unreachable", number, size, 0, f"{by} says: {name}")
    return Trouble("unreachable", number, size, 0, f"the client's own kernel says: {name}")
