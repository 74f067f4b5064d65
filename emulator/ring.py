"""The ring of Weave's address allocator: who owns which part of the range. Pure.

As Weave has it with a seed list of all peers: the range is halved, and halved again, for the
halves of the sorted list, so that shares are aligned blocks and no two differ by more than a
factor of two. A peer hands out its lowest free address; the first and the last one of the range
are never handed out, those of a share are. When its share is used up, another peer donates: its
largest aligned block that is free, or the upper half of it where that is more than half of all
that it has.

Where Weave draws lots, here the likeliest wins: the peer with the most free space is asked first.
Not modelled: addresses that are given back, peers that leave, a ring found by consensus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

Span = tuple[int, int]
"""The addresses from the first number up to, and without, the second."""

_SALT = b"9oBJ0Jmip-"


def peer_name(node: str) -> str:
    """The name of the peer on a node: a MAC address, which its bridge also has.

    Weave makes it of the machine's identity; a lab's machine has one of its name.
    """
    machine_id = hashlib.sha1(f"machine-id {node}".encode(), usedforsecurity=False).hexdigest()
    digest = hashlib.sha256(_SALT + f"{machine_id[:32]}\n".encode()).digest()
    octets = bytes((digest[0] & 0xFE | 0x02, *digest[1:6]))
    return octets.hex(":")


class Full(Exception):
    """No peer has an address left."""


class Ring:
    """A range of addresses, ``first`` to ``end``, divided among peers (in the order of the ring).

    Numbers are addresses. A peer's free space is kept as sorted spans that do not touch.
    """

    def __init__(self, first: int, end: int, peers: Sequence[str]) -> None:
        self._first, self._end = first, end
        self._free: dict[str, list[Span]] = {peer: [] for peer in peers}
        for peer, span in _shares(first, end, peers):
            self._free[peer] = [span]
        self._owned = {peer: list(spans) for peer, spans in self._free.items()}

    def allocate(self, peer: str) -> int:
        """The next address of a peer. Full when there is none, here or anywhere."""
        while True:
            for index, (start, end) in enumerate(self._free[peer]):
                address = max(start, self._first + 1)
                if address < min(end, self._end - 1):
                    left = [(start, address), (address + 1, end)]
                    self._free[peer][index : index + 1] = [(a, b) for a, b in left if a < b]
                    return address
            self._ask_for(peer)

    def owned(self, peer: str) -> list[Span]:
        """All that a peer owns, used or not, as spans that do not touch."""
        return self._owned[peer]

    def blocks(self, peer: str) -> Iterator[tuple[int, int]]:
        """What a peer owns as (address, size) of the fewest aligned blocks."""
        for start, end in self._owned[peer]:
            at = start
            while at < end:
                size = 1 << (end - at).bit_length() - 1
                while at % size:
                    size >>= 1
                yield at, size
                at += size

    def _ask_for(self, peer: str) -> None:
        donors = {
            other: space
            for other, spans in self._free.items()
            if other != peer and (space := sum(end - start for start, end in spans))
        }
        if not donors:
            raise Full
        donor = max(donors, key=lambda other: donors[other])
        start, end = max(
            (_largest_block(*span) for span in self._free[donor]), key=lambda s: (s[1] - s[0], s[0])
        )
        if end - start > donors[donor] // 2:
            start += (end - start) // 2
        for spans in (self._free, self._owned):
            spans[donor] = _without(spans[donor], (start, end))
            spans[peer] = _with(spans[peer], (start, end))


def _shares(first: int, end: int, peers: Sequence[str]) -> Iterator[tuple[str, Span]]:
    size = end - first
    if size == 0:
        return
    if size == 1 or len(peers) == 1:
        yield peers[0], (first, end)
        return
    middle, half = first + size // 2, len(peers) // 2
    yield from _shares(first, middle, peers[:half])
    yield from _shares(middle, end, peers[half:])


def _largest_block(start: int, end: int) -> Span:
    """The largest aligned block of a power of two within a span, the lowest of that size."""
    size = 1 << (end - start).bit_length() - 1
    while True:
        at = -(-start // size) * size
        if at + size <= end:
            return at, at + size
        size >>= 1


def _without(spans: list[Span], taken: Span) -> list[Span]:
    parts = [
        part
        for start, end in spans
        for part in ((start, min(end, taken[0])), (max(start, taken[1]), end))
    ]
    return [(start, end) for start, end in parts if start < end]


def _with(spans: list[Span], given: Span) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted([*spans, given]):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
