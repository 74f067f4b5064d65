"""netem, to and from netlink. Pure.

The kernel keeps delays in nanoseconds and chances as parts of 2^32 - 1. It does not tell which
table a jitter is drawn from: the handle is chosen by it (see ``NETEM_HANDLES``). A change leaves
what it does not name as it was, so every message names everything; only a table cannot be taken
back, and another distribution is another qdisc.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from statistics import NormalDist
from typing import Final

from emulator.plan.resources import NETEM_HANDLES, Foreign, Netem, Resource
from emulator.substrate import rtnl
from emulator.substrate.encode import Index, place
from emulator.substrate.netlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Message,
    attr,
    attr_str,
    attributes,
)

_TCMSG = struct.Struct("=BxxxiIII")
_HEAD = struct.Struct("=IIIIII")
"""Latency in ticks, limit, loss, gap, duplicates, jitter in ticks."""
_CORR, _DIST, _REORDER, _CORRUPT, _LOSS, _RATE = 1, 2, 3, 4, 5, 6
_LATENCY64, _JITTER64, _SLOT = 10, 11, 12
_GILBERT_ELLIOTT = 2
_ALL = 0xFFFFFFFF
_BILLION = 10**9
_ENTRIES, _SCALE = 4096, 8192
"""Of a table of a distribution: so many values, with the jitter at this one."""

_NAMES: Final = {handle: name for name, handle in NETEM_HANDLES.items()}


def message(r: Netem, index: Index, add: bool) -> Message:
    """Add, change or remove it."""
    handle = NETEM_HANDLES[r.distribution] << 16
    body = _TCMSG.pack(0, index(r.ns, r.dev), handle, place(r.parent), 0)
    body += attr_str(rtnl.TCA_KIND, "netem")
    if not add:
        return Message(rtnl.RTM_DELQDISC, 0, body)
    options = attr(rtnl.TCA_OPTIONS, b"".join(_options(r)))
    return Message(rtnl.RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body + options)


def _options(r: Netem) -> Iterator[bytes]:
    yield _HEAD.pack(0, r.limit_p, _part(r.loss_ppb), r.gap, _part(r.duplicate_ppb), 0)
    yield attr(_LATENCY64, struct.pack("=q", r.delay_us * 1000))
    yield attr(_JITTER64, struct.pack("=q", r.jitter_us * 1000))
    yield attr(_CORR, struct.pack("=III", 0, 0, 0))
    yield attr(_REORDER, struct.pack("=II", _part(r.reorder_ppb), 0))
    yield attr(_CORRUPT, struct.pack("=II", _part(r.corrupt_ppb), 0))
    if r.gilbert_ppb != (0, 0):
        # while it lasts all are lost, and between bursts none
        begin, end = map(_part, r.gilbert_ppb)
        yield attr(_LOSS, attr(_GILBERT_ELLIOTT, struct.pack("=IIII", begin, end, 0, 0)))
    if r.distribution != "uniform":
        yield attr(_DIST, _table(r.distribution))


def _part(ppb: int) -> int:
    return round(ppb * _ALL / _BILLION)


def _ppb(part: int) -> int:
    return round(part * _BILLION / _ALL)


@cache
def _table(distribution: str) -> bytes:
    """What a jitter is multiplied by, in equally likely values: as iproute2 has them in files."""
    values: Iterator[float]
    if distribution == "normal":
        inverse = NormalDist().inv_cdf
        values = (inverse((i + 0.5) / _ENTRIES) for i in range(_ENTRIES))
    else:  # of exponent 3, less its mean, and scaled by four thirds
        values = (((i / _ENTRIES) ** (-1 / 3) - 1.5) * 4 / 3 for i in range(_ENTRIES, 0, -1))
    whole = [min(32767, round(value * _SCALE)) for value in values]
    return struct.pack(f"={_ENTRIES}h", *whole)


def read(ns: str, dev: str, handle: int, options: bytes, parent: str) -> Resource:
    """The resource of a netem; ``Foreign`` where no ``Netem`` can be that."""
    latency, limit, loss, gap, duplicate, jitter = _HEAD.unpack_from(options)
    found = attributes(options, _HEAD.size)
    delay_ns = _s64(found[_LATENCY64]) if _LATENCY64 in found else latency * 64
    jitter_ns = _s64(found[_JITTER64]) if _JITTER64 in found else jitter * 64
    correlations = struct.unpack_from("=III", found.get(_CORR, bytes(12)))
    reorder, correlation = struct.unpack_from("=II", found.get(_REORDER, bytes(8)))
    corrupt, other = struct.unpack_from("=II", found.get(_CORRUPT, bytes(8)))
    models = attributes(found.get(_LOSS, b""))
    gilbert = struct.unpack_from("=IIII", models.get(_GILBERT_ELLIOTT, bytes(16)))
    ours = (
        handle >> 16 in _NAMES
        and not any((*correlations, correlation, other, *gilbert[2:]))
        and not any(found.get(_RATE, b""))
        and _SLOT not in found
        and set(models) <= {_GILBERT_ELLIOTT}
        and not (delay_ns % 1000 or jitter_ns % 1000)
    )
    if not ours:
        return Foreign(ns, "netem", dev, "netem")
    return Netem(
        ns,
        dev,
        limit,
        delay_ns // 1000,
        jitter_ns // 1000,
        _NAMES[handle >> 16],
        0 if models else _ppb(loss),
        (_ppb(gilbert[0]), _ppb(gilbert[1])),
        _ppb(duplicate),
        _ppb(reorder),
        gap,
        _ppb(corrupt),
        parent,
    )


def _s64(data: bytes) -> int:
    return int.from_bytes(data[:8], "little", signed=True)
