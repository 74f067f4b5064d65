"""A file of everything that applying a plan asked of the kernel, to be asked again by replay.c.

The file is a header and records, all numbers in host order and every record a multiple of
four bytes long, so that a C program walks it in place:

    header   4s magic "PWT1", u32 number of namespaces
    record   u32 kind, u32 namespace, u32 relocations, u32 payload bytes
             relocations x (u32 offset in the payload, u32 namespace)
             payload, padded with zeros to four bytes

A namespace is the number of its creation, from 0. The payload is, by kind: the name (netns),
nothing (enter), a buffer of netlink messages in which the descriptor of a namespace has to
be written at each relocation (netlink), 16 bytes of interface name and the request
(ethtool), name and value each with a zero behind (sysctl), the bytes of one nftables
transaction (nft).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from emulator.errors import PodwireError, Problem

MAGIC = b"PWT1"
NETNS, ENTER, NETLINK, ETHTOOL, SYSCTL, NFT = range(1, 7)
KINDS = {NETNS: "netns", ENTER: "enter", NETLINK: "netlink", ETHTOOL: "ethtool",
         SYSCTL: "sysctl", NFT: "nft"}  # fmt: skip

_HEADER = struct.Struct("=4sI")
_RECORD = struct.Struct("=IIII")
_PLACE = struct.Struct("=II")
_DEVICE_BYTES = 16


class Record(NamedTuple):
    """One operation; ``relocations`` are (offset, namespace number)."""

    kind: int
    ns: int
    relocations: tuple[tuple[int, int], ...]
    payload: bytes


class Recorder:
    """Fulfils the kernel's ``Trace``: keeps what it hears, for :meth:`trace`.

    ``transaction`` returns the bytes of the nftables transaction that has just been sent:
    the library below makes them, so they are caught on their way (see capture.c).
    """

    def __init__(self, transaction: Callable[[], bytes]) -> None:
        self.records: list[Record] = []
        self._transaction = transaction
        self._numbers: dict[str, int] = {}

    def netns(self, ns: str) -> None:
        """A namespace was made; the thread is in it."""
        self._numbers[ns] = len(self._numbers)
        self._add(NETNS, ns, ns.encode())

    def enter(self, ns: str) -> None:
        """The thread went into a namespace."""
        self._add(ENTER, ns)

    def netlink(self, ns: str, buffer: bytes, relocations: list[tuple[int, str]]) -> None:
        """A buffer of messages was sent and acknowledged."""
        places = tuple((at, self._numbers[other]) for at, other in relocations)
        self._add(NETLINK, ns, buffer, places)

    def ethtool(self, ns: str, dev: str, request: bytes) -> None:
        """Offloads of an interface were requested."""
        self._add(ETHTOOL, ns, dev.encode().ljust(_DEVICE_BYTES, b"\0") + request)

    def sysctl(self, ns: str, name: str, value: str) -> None:
        """A sysctl was written."""
        self._add(SYSCTL, ns, name.encode() + b"\0" + value.encode() + b"\0")

    def nft(self, ns: str, text: str) -> None:
        """A transaction of nftables was sent. PodwireError when its bytes were not caught."""
        caught = self._transaction()
        if not caught:
            raise PodwireError(
                Problem(f"{ns}: nftables", "a transaction that was not caught", "its bytes",
                        "record through record.py, which loads capture.c before the library")
            )  # fmt: skip
        self._add(NFT, ns, caught)

    def _add(
        self, kind: int, ns: str, payload: bytes = b"", places: tuple[tuple[int, int], ...] = ()
    ) -> None:
        self.records.append(Record(kind, self._numbers[ns], places, payload))

    def trace(self) -> bytes:
        """The whole trace."""
        parts = [_HEADER.pack(MAGIC, len(self._numbers))]
        for kind, ns, places, payload in self.records:
            parts.append(_RECORD.pack(kind, ns, len(places), len(payload)))
            parts += [_PLACE.pack(*place) for place in places]
            parts.append(payload + bytes(-len(payload) % 4))
        return b"".join(parts)


def read(data: bytes) -> Iterator[Record]:
    """The records of a trace. PodwireError when it is none, or cut off."""
    try:
        magic, _ = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise PodwireError(Problem("trace", repr(magic), repr(MAGIC)))
        at = _HEADER.size
        while at < len(data):
            kind, ns, count, size = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            places = tuple(_PLACE.unpack_from(data, at + 8 * i) for i in range(count))
            at += _PLACE.size * count
            payload = data[at : at + size]
            at += size + -size % 4
            if at > len(data):
                raise PodwireError(Problem("trace", "an end within a record", "a whole one"))
            yield Record(kind, ns, places, payload)
    except struct.error as error:
        raise PodwireError(Problem("trace", f"a cut-off record ({error})", "a whole one")) from None


def namespaces(data: bytes) -> list[str]:
    """The names of all namespaces, in the order of their creation."""
    return [record.payload.decode() for record in read(data) if record.kind == NETNS]


def counts(data: bytes) -> dict[str, int]:
    """How many operations of each kind a trace holds; ``messages`` counts netlink messages."""
    found = dict.fromkeys(KINDS.values(), 0)
    messages = 0
    for record in read(data):
        found[KINDS[record.kind]] += 1
        at = 0
        while record.kind == NETLINK and at < len(record.payload):
            (size,) = struct.unpack_from("=I", record.payload, at)
            at += size + 3 & ~3
            messages += 1
    return {**found, "messages": messages}
