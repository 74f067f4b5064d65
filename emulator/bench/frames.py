"""What passes between the two ends of a command in the guest: frames over a byte stream.

A frame is a kind, a length and a payload.  The guest's first words are a mark that the host has
chosen, so that what an earlier command has left in the stream is not taken for an answer.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

_HEAD = struct.Struct("=BI")
MOST_B = 1 << 16
"""The longest payload; longer data travels in several frames."""
ROOM_B = 1 << 20
"""So much of each stream may be on its way: more waits where it comes from."""


class Kind(IntEnum):
    """What a frame says; the first group is the host's, the second the guest's.

    ``TAKEN`` has the number of bytes of input that the command has taken, or never will.
    """

    START = 1
    STDIN = 2
    STDIN_ENDS = 3
    SIGNAL = 4
    WINDOW = 5
    PING = 6

    STDOUT = 16
    STDERR = 17
    EXIT = 18
    PONG = 19
    TAKEN = 20


class Order(NamedTuple):
    """A command for the guest.

    ``call`` is ``module:function`` with ``argv`` as its arguments, or empty when ``argv`` is a
    program.  ``see``: what of the host has to be visible, ``write``: folders among it that may be
    written to; ``window`` is (rows, columns) of the terminal, or None without one.
    """

    mark: str
    argv: list[str]
    call: str
    cwd: str
    env: dict[str, str]
    see: list[str]
    write: list[str]
    window: tuple[int, int] | None


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """One frame on the wire."""
    return _HEAD.pack(kind, len(payload)) + payload


def data(kind: Kind, payload: bytes) -> bytes:
    """Any number of bytes, in as many frames as they need."""
    return b"".join(frame(kind, payload[at : at + MOST_B]) for at in range(0, len(payload), MOST_B))


def order(one: Order) -> bytes:
    """The frame that starts a command."""
    return frame(Kind.START, json.dumps(one._asdict()).encode())


def read_order(payload: bytes) -> Order:
    """The command of a START frame."""
    fields: dict[str, Any] = json.loads(payload)
    window = fields.pop("window")
    return Order(**fields, window=window and (window[0], window[1]))


def mark(words: str) -> bytes:
    """The line with which the guest begins its answer to the command of that mark."""
    return f"\npodwire {words}\n".encode()


class Reader:
    """Cuts a stream into frames."""

    def __init__(self, after: bytes = b"") -> None:
        self._buffer = bytearray()
        self._after = after

    def feed(self, more: bytes) -> None:
        """Take in what has been received."""
        self._buffer += more

    @property
    def begun(self) -> bool:
        """Whether the mark has been seen."""
        if self._after:
            at = self._buffer.find(self._after)
            if at < 0:
                return False
            del self._buffer[: at + len(self._after)]
            self._after = b""
        return True

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """The frames that are complete, (kind, payload) each."""
        while self.begun and len(self._buffer) >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._buffer)
            end = _HEAD.size + size
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield kind, payload
