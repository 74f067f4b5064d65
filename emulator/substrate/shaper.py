"""Qdiscs that shape an interface, to and from netlink. Pure.

They stand in a row: a cutter at the root, below it a netem, below that the shaper of a rate; each
may be missing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from emulator.plan.resources import (
    BELOW_CUTTER,
    CUTTER_BIT,
    CUTTER_LIMIT_B,
    Cutter,
    Foreign,
    Qdisc,
    Resource,
    cutter_burst_b,
)
from emulator.substrate import htb, netem, rtnl
from emulator.substrate.decode import Dump, Names
from emulator.substrate.encode import Index, place, ratespec, ticks
from emulator.substrate.netlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Message,
    attr,
    attr_str,
    attr_u32,
    attributes,
)

_TCMSG = struct.Struct("=BxxxiIII")
_BORN = {"noqueue", "pfifo_fast", "fq_codel", "fq", "mq"}
_CUTTER = 0x00090000
_CLASS = 0x00010001
_TICK_NS = 64


def cutter(r: Cutter, index: Index, add: bool) -> Message:
    """A tbf at the root that is faster than all that comes."""
    head = struct.pack("=BxxxiIII", 0, index(r.ns, r.dev), _CUTTER, rtnl.TC_H_ROOT, 0)
    head += attr_str(rtnl.TCA_KIND, "tbf")
    if not add:
        return Message(rtnl.RTM_DELQDISC, 0, head)
    rate, burst = CUTTER_BIT // 8, cutter_burst_b(r)
    limits = struct.pack("=III", CUTTER_LIMIT_B, ticks(burst, rate), 0)
    options = attr(rtnl.TCA_TBF_PARMS, ratespec(rate) + ratespec(0) + limits)
    options += attr_u32(rtnl.TCA_TBF_BURST, burst)
    options += attr(rtnl.TCA_TBF_RATE64, struct.pack("=Q", rate))
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Message(rtnl.RTM_NEWQDISC, flags, head + attr(rtnl.TCA_OPTIONS, options))


def qdisc(r: Qdisc, index: Index, add: bool) -> Iterator[Message]:
    """Shape an interface, at its root or below another: tbf, or htb with one class and a bfifo."""
    dev = index(r.ns, r.dev)
    head = struct.pack("=BxxxiIII", 0, dev, 0x00010000, place(r.parent), 0)
    kind = attr_str(rtnl.TCA_KIND, r.discipline)
    if not add:
        yield Message(rtnl.RTM_DELQDISC, 0, head + kind)
        return
    rate = r.rate_bit // 8
    buffer = ticks(r.burst_b, rate)
    flags = NLM_F_CREATE | NLM_F_REPLACE
    if r.discipline == "tbf":
        parms = ratespec(rate) + ratespec(0) + struct.pack("=III", r.limit_b, buffer, 0)
        options = attr(rtnl.TCA_TBF_PARMS, parms) + attr_u32(rtnl.TCA_TBF_BURST, r.burst_b)
        if rate > 0xFFFFFFFF:
            options += attr(rtnl.TCA_TBF_RATE64, struct.pack("=Q", rate))
        yield Message(rtnl.RTM_NEWQDISC, flags, head + kind + attr(rtnl.TCA_OPTIONS, options))
        return
    init = struct.pack("=IIIII", 3, 10, 1, 0, 0)
    options = attr(rtnl.TCA_OPTIONS, attr(rtnl.TCA_HTB_INIT, init))
    yield Message(rtnl.RTM_NEWQDISC, flags, head + kind + options)
    parms = ratespec(rate) * 2 + struct.pack("=IIIII", buffer, buffer, 60000, 0, 0)
    options = attr(rtnl.TCA_HTB_PARMS, parms)
    if rate > 0xFFFFFFFF:
        options += attr(rtnl.TCA_HTB_RATE64, struct.pack("=Q", rate))
        options += attr(rtnl.TCA_HTB_CEIL64, struct.pack("=Q", rate))
    leaf = struct.pack("=BxxxiIII", 0, dev, 0x00010001, 0x00010000, 0)
    yield Message(rtnl.RTM_NEWTCLASS, flags, leaf + kind + attr(rtnl.TCA_OPTIONS, options))
    fifo = struct.pack("=BxxxiIII", 0, dev, 0x00020000, 0x00010001, 0)
    yield Message(
        rtnl.RTM_NEWQDISC,
        flags,
        fifo
        + attr_str(rtnl.TCA_KIND, "bfifo")
        + attr(rtnl.TCA_OPTIONS, struct.pack("=I", r.limit_b)),
    )


class _Found(NamedTuple):
    handle: int
    kind: str
    options: bytes


def read(ns: str, dump: Dump, classes: Dump, names: Names) -> Iterator[Resource]:
    """What shapes the interfaces; an htb with the one class that holds the rate, or with classes
    that stand for themselves. ``Foreign`` where somebody else has set what no plan has."""
    found: dict[int, dict[int, _Found]] = {}
    """By interface, and by the class (or the root) that it stands below."""
    for _, body in dump:
        _, index, handle, parent, _ = _TCMSG.unpack_from(body)
        told = attributes(body, 20)
        kind = told[rtnl.TCA_KIND].rstrip(b"\0").decode()
        if kind not in _BORN or handle:
            one = _Found(handle, kind, told.get(rtnl.TCA_OPTIONS, b""))
            found.setdefault(index, {})[parent] = one
    own: dict[int, list[tuple[int, bytes]]] = {}
    if any(one.kind == "htb" for row in found.values() for one in row.values()):
        for number, body in classes:
            own.setdefault(_TCMSG.unpack_from(body)[1], []).append((number, body))
    for index, row in found.items():
        yield from _row(ns, names.get(index, "?"), row, own.get(index, []))


def _row(
    ns: str, dev: str, row: dict[int, _Found], classes: list[tuple[int, bytes]]
) -> Iterator[Resource]:
    """From the root down; what is taken leaves ``row``."""
    parent = ""
    if (top := row.get(rtnl.TC_H_ROOT)) and (cut := _cutter(ns, dev, top)):
        del row[rtnl.TC_H_ROOT]
        parent = BELOW_CUTTER
        yield cut
    if (late := row.get(place(parent))) and late.kind == "netem":
        del row[place(parent)]
        yield netem.read(ns, dev, late.handle, late.options, parent)
        parent = f"{late.handle >> 16:x}:1"
    if shaper := row.get(place(parent)):
        fifo = row.get(_CLASS)
        queue_b = _u32(fifo.options) if fifo and fifo.kind == "bfifo" else 0
        if shaper.kind == "tbf":
            del row[place(parent)]
            rate, buffer, limit = _tbf_limits(shaper.options)
            yield Qdisc(ns, dev, "tbf", rate * 8, _burst(buffer, rate), limit, parent)
        elif shaper.kind == "htb" and not queue_b:
            del row[place(parent)]
            yield htb.read_root(ns, dev, shaper.options)
            yield from htb.read_classes(ns, dev, classes)
        elif shaper.kind == "htb" and (limits := _limits(classes)):
            del row[place(parent)], row[_CLASS]
            yield Qdisc(ns, dev, "htb", limits[0] * 8, limits[1], queue_b, parent)
    for below, one in row.items():
        # beside a root qdisc an interface can have one for what comes in
        hook = f"{dev} {one.kind}" if below == rtnl.TC_H_INGRESS else dev
        yield Foreign(ns, "qdisc", hook, one.kind)


def _cutter(ns: str, dev: str, one: _Found) -> Cutter | None:
    if one.kind != "tbf" or one.handle != _CUTTER:
        return None
    rate, buffer, _ = _tbf_limits(one.options)
    return Cutter(ns, dev, buffer * 400) if rate == CUTTER_BIT // 8 else None


def _tbf_limits(options: bytes) -> tuple[int, int, int]:
    """Rate in bytes per second, buffer in ticks, limit in bytes."""
    found = attributes(options)
    parms = found[rtnl.TCA_TBF_PARMS]
    limit, buffer = struct.unpack_from("=II", parms, 24)
    return _rate(parms, found.get(rtnl.TCA_TBF_RATE64)), buffer, limit


def _limits(classes: list[tuple[int, bytes]]) -> tuple[int, int] | None:
    """Rate in bytes per second and burst in bytes of class ``1:1``."""
    for _, body in classes:
        if _TCMSG.unpack_from(body)[2] == _CLASS:
            found = attributes(attributes(body, 20).get(rtnl.TCA_OPTIONS, b""))
            parms = found[rtnl.TCA_HTB_PARMS]
            rate = _rate(parms, found.get(rtnl.TCA_HTB_RATE64))
            return rate, _burst(struct.unpack_from("=I", parms, 24)[0], rate)
    return None


def _rate(parms: bytes, rate64: bytes | None) -> int:
    return int.from_bytes(rate64, "little") if rate64 else _u32(parms[8:])


def _burst(buffer: int, rate: int) -> int:
    """Bytes from ticks, to the whole thousand that the plan has."""
    return round(buffer * _TICK_NS * rate / 1e9 / 1000) * 1000


def _u32(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")
