"""A netlink codec of the size that Podwire needs: pack attributes, send batches, read dumps.

Why not a library: docs/decisions/0001-netlink-codec.md has the measured figures. A batch
is a buffer of many messages of which only the last asks for an acknowledgement; a message
that fails reports itself by its sequence number.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NLM_F_REQUEST = 0x01
NLM_F_ACK = 0x04
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NETLINK_CAP_ACK = 10

BATCH_BYTES = 32 * 1024
"""Size up to which messages go out in one buffer."""

BATCH_MESSAGES = 128
"""As many refusals, and the acknowledgement, fit into what a socket can hold for its reader."""

_HEADER = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
_PAD = (b"", b"\0\0\0", b"\0\0", b"\0")


def attr(kind: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    size = len(payload)
    return _ATTR.pack(size + 4, kind) + payload + _PAD[size & 3]


def attr_u32(kind: int, value: int) -> bytes:
    """An attribute that holds an unsigned 32-bit number in host order."""
    return struct.pack("=HHI", 8, kind, value)


def attr_str(kind: int, value: str) -> bytes:
    """An attribute that holds a zero-terminated string."""
    return attr(kind, value.encode() + b"\0")


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """All attributes from ``start``; nested ones keep their packed payload."""
    out: dict[int, bytes] = {}
    at, end = start, len(data)
    while at + 4 <= end:
        size, kind = _ATTR.unpack_from(data, at)
        if size < 4:
            break
        out[kind & 0x3FFF] = data[at + 4 : at + size]
        at += (size + 3) & ~3
    return out


class Message(NamedTuple):
    """A request without its header. ``fd_at``: where a namespace's descriptor stands, or 0."""

    kind: int
    flags: int
    body: bytes
    fd_at: int = 0


class Refusal(NamedTuple):
    """A message of a batch that failed: its place in the batch, errno, the kernel's own words."""

    number: int
    errno: int
    text: str


class Batch(NamedTuple):
    """Packed messages. ``first``: the place of the first one among all that were packed."""

    buffer: bytes
    first: int
    length: int


def pack(messages: Sequence[Message]) -> Iterator[Batch]:
    """Messages in buffers of a good size; the last of each asks for an acknowledgement.

    A message's sequence number is its place, from 1: a batch is answered to its end before
    the next one goes out on the same socket.
    """
    parts: list[bytes] = []
    room = BATCH_BYTES
    first = seq = 0
    for kind, flags, body, _ in messages:
        size = len(body) + 16
        if parts and (size > room or seq - first == BATCH_MESSAGES):
            yield _finish(parts, first, seq)
            parts.clear()
            room, first = BATCH_BYTES, seq
        seq += 1
        parts.append(_HEADER.pack(size, kind, flags | NLM_F_REQUEST, seq, 0))
        parts.append(body)
        room -= size
    if parts:
        yield _finish(parts, first, seq)


def _finish(parts: list[bytes], first: int, last: int) -> Batch:
    size, kind, flags, seq, port = _HEADER.unpack(parts[-2])
    parts[-2] = _HEADER.pack(size, kind, flags | NLM_F_ACK, seq, port)
    return Batch(b"".join(parts), first, last - first)


class Netlink:
    """A route socket of the network namespace that the calling thread is in."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self.socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self.socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._seq = 0

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Send a batch and wait for its acknowledgement. OSError when the socket itself fails."""
        refusals: list[Refusal] = []
        for batch in pack(messages):
            refusals += self.transact(batch)
        return refusals

    def transact(self, batch: Batch) -> list[Refusal]:
        """Send one packed buffer and collect what was refused."""
        self.socket.send(batch.buffer)
        last = batch.first + batch.length
        refusals: list[Refusal] = []
        while True:
            data = self.socket.recv(65536)
            at = 0
            while at + 16 <= len(data):
                size, kind, flags, seq, _ = _HEADER.unpack_from(data, at)
                if kind == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", data, at + 16)
                    if code:
                        text = self._words(data[at : at + size], flags)
                        refusals.append(Refusal(seq - 1, -code, text))
                    if seq == last:
                        return refusals
                at += (size + 3) & ~3

    def ask(self, questions: Sequence[Message]) -> list[bytes | None]:
        """The answer to each question without its netlink header; None where it is refused."""
        answers: list[bytes | None] = [None] * len(questions)
        # few at a time: answers that nobody has read yet fill the socket's buffer
        for start in range(0, len(questions), 64):
            for batch in pack(questions[start : start + 64]):
                self.socket.send(batch.buffer)
                self._collect(answers, start - 1, batch.first + batch.length)
        return answers

    def _collect(self, answers: list[bytes | None], before: int, last: int) -> None:
        while True:
            data = self.socket.recv(65536)
            at = 0
            while at + 16 <= len(data):
                size, kind, _, seq, _ = _HEADER.unpack_from(data, at)
                if kind != _NLMSG_ERROR:
                    answers[before + seq] = data[at + 16 : at + size]
                elif seq == last:
                    return
                at += (size + 3) & ~3

    @staticmethod
    def _words(message: bytes, flags: int) -> str:
        if not flags & _NLM_F_ACK_TLVS:
            return ""
        start = 20 + 16
        if not flags & _NLM_F_CAPPED:
            (inner,) = struct.unpack_from("=I", message, 20)
            start = 20 + ((inner + 3) & ~3)
        found = attributes(message, start).get(_NLMSGERR_ATTR_MSG, b"")
        return found.rstrip(b"\0").decode(errors="replace")

    def dump(self, kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """All objects of a kind: (message type, payload without the netlink header)."""
        self._seq += 1
        seq = self._seq
        self.socket.send(
            _HEADER.pack(len(body) + 16, kind, NLM_F_REQUEST | NLM_F_DUMP, seq, 0) + body
        )
        while True:
            data = self.socket.recv(1 << 17)
            at = 0
            while at + 16 <= len(data):
                size, got, _, number, _ = _HEADER.unpack_from(data, at)
                if number == seq:
                    if got == _NLMSG_DONE:
                        return
                    if got == _NLMSG_ERROR:
                        (code,) = struct.unpack_from("=i", data, at + 16)
                        if -code == errno.EOPNOTSUPP:
                            return
                        raise OSError(-code, os.strerror(-code), f"netlink dump {kind}")
                    yield got, data[at + 16 : at + size]
                at += (size + 3) & ~3
