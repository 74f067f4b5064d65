"""An htb with classes and u32 filters, to and from netlink. Pure.

The numbers are those that ``tc`` itself sends when nothing but a rate is said: ceiling and
rate are one, the kernel computes the quantum and gives each class a queue.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from socket import inet_aton, inet_ntoa
from typing import Literal

from emulator.plan.resources import Foreign, Htb, Resource, TcClass, TcFilter
from emulator.substrate import rtnl
from emulator.substrate.encode import Index, ratespec
from emulator.substrate.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    attr,
    attr_str,
    attr_u32,
    attributes,
)

Dump = Iterable[tuple[int, bytes]]

_TCMSG = struct.Struct("=BxxxiIII")
_ROOT = 0x00010000
_TABLE = 0x80000000
"""The hash table ``800:`` that the first u32 filter of a qdisc makes."""
_FILTER = 1 << 16 | int.from_bytes(b"\x08\x00", "little")
"""Priority 1, and the protocol IPv4 in network byte order."""
_SELECTOR = struct.Struct("=BBBxHHhhI4s4sii")
"""Flags and number of keys first; of the one key mask, value, offset into the header."""
_FIELDS: Mapping[int, Literal["src", "dst"]] = {12: "src", 16: "dst"}


def root(r: Htb, index: Index, add: bool) -> Message:
    """Add or remove the root."""
    body = _TCMSG.pack(0, index(r.ns, r.dev), _ROOT, rtnl.TC_H_ROOT, 0)
    body += attr_str(rtnl.TCA_KIND, "htb")
    if not add:
        return Message(rtnl.RTM_DELQDISC, 0, body)
    init = attr(rtnl.TCA_HTB_INIT, struct.pack("=IIIII", 3, 10, r.default, 0, 0))
    return Message(
        rtnl.RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body + attr(rtnl.TCA_OPTIONS, init)
    )


def class_(r: TcClass, index: Index, add: bool) -> Message:
    """Add, change or remove a class."""
    body = _TCMSG.pack(0, index(r.ns, r.dev), _ROOT | r.minor, _ROOT if add else 0, 0)
    if not add:
        return Message(rtnl.RTM_DELTCLASS, 0, body)
    rate = r.rate_bit // 8
    buffer = _ticks(r.burst_b, rate)
    parms = ratespec(rate) * 2 + struct.pack("=IIIII", buffer, buffer, 0, 0, 0)
    options = attr(rtnl.TCA_HTB_PARMS, parms)
    if rate > 0xFFFFFFFF:
        options += attr(rtnl.TCA_HTB_RATE64, struct.pack("=Q", rate))
        options += attr(rtnl.TCA_HTB_CEIL64, struct.pack("=Q", rate))
    kind = attr_str(rtnl.TCA_KIND, "htb")
    flags = NLM_F_CREATE | NLM_F_REPLACE
    return Message(rtnl.RTM_NEWTCLASS, flags, body + kind + attr(rtnl.TCA_OPTIONS, options))


def filter_(r: TcFilter, index: Index, add: bool) -> Message:
    """Add or remove a filter."""
    body = _TCMSG.pack(0, index(r.ns, r.dev), _TABLE | r.node, _ROOT, _FILTER)
    body += attr_str(rtnl.TCA_KIND, "u32")
    if not add:
        return Message(rtnl.RTM_DELTFILTER, 0, body)
    address, _, length = r.address.partition("/")
    mask = (0xFFFFFFFF << 32 - int(length) & 0xFFFFFFFF).to_bytes(4, "big")
    at = next(offset for offset, field in _FIELDS.items() if field == r.field)
    selector = _SELECTOR.pack(1, 0, 1, 0, 0, 0, 0, 0, mask, inet_aton(address), at, 0)
    options = attr_u32(rtnl.TCA_U32_CLASSID, _ROOT | r.minor) + attr(rtnl.TCA_U32_SEL, selector)
    flags = NLM_F_CREATE | NLM_F_EXCL
    return Message(rtnl.RTM_NEWTFILTER, flags, body + attr(rtnl.TCA_OPTIONS, options))


def filters_of(index: int) -> bytes:
    """The body that asks for the filters of an interface's root."""
    return _TCMSG.pack(0, index, 0, _ROOT, 0)


def read_root(ns: str, dev: str, options: bytes) -> Htb:
    """The root, from the options of its qdisc."""
    init = attributes(options).get(rtnl.TCA_HTB_INIT, bytes(20))
    return Htb(ns, dev, struct.unpack_from("=III", init)[2])


def read_classes(ns: str, dev: str, dump: Dump) -> Iterator[Resource]:
    """The classes of one interface; what no ``TcClass`` can be is ``Foreign``."""
    for _, body in dump:
        _, _, handle, parent, _ = _TCMSG.unpack_from(body)
        found = attributes(attributes(body, 20).get(rtnl.TCA_OPTIONS, b""))
        parms = found.get(rtnl.TCA_HTB_PARMS, bytes(44))
        rates = [
            int.from_bytes(found[wide] if wide in found else parms[at : at + 4], "little")
            for wide, at in ((rtnl.TCA_HTB_RATE64, 8), (rtnl.TCA_HTB_CEIL64, 20))
        ]
        buffers, priority = struct.unpack_from("=II", parms, 24), _u32(parms[40:])
        minor = handle & 0xFFFF
        simple = (parent, priority) == (rtnl.TC_H_ROOT, 0) and rates[0] == rates[1] != 0
        if simple and buffers[0] == buffers[1]:
            yield TcClass(ns, dev, minor, rates[0] * 8, _burst(buffers[0], rates[0]))
        else:
            yield Foreign(ns, "class", f"{dev} 1:{minor:x}", "htb")


def _ticks(burst_b: int, rate_b: int) -> int:
    """The time of a burst in ticks of 64 ns, from whole microseconds as ``tc`` computes it."""
    return burst_b * 1_000_000 // rate_b * 125 // 8


def _burst(buffer: int, rate_b: int) -> int:
    """Bytes from ticks: those that ``tc`` takes where only a rate is said, if these are as long.

    Some versions of ``tc`` cut the time to whole microseconds, others (Ubuntu 24.04 has one) round
    it up to whole ticks.
    """
    usual = rate_b // 1_000_000_000 + 1600
    longest = -(-usual * 1_000_000_000 // rate_b // 64)
    if _ticks(usual, rate_b) <= buffer <= longest:
        return usual
    return round(buffer * 64 * rate_b / 1e9)


def read_filters(ns: str, dev: str, dump: Dump) -> Iterator[Resource]:
    """The filters of one interface's root; what no ``TcFilter`` can be is ``Foreign``."""
    for _, body in dump:
        _, _, handle, _, info = _TCMSG.unpack_from(body)
        found = attributes(body, 20)
        kind = found[rtnl.TCA_KIND].rstrip(b"\0").decode()
        options = attributes(found.get(rtnl.TCA_OPTIONS, b""))
        node = handle & 0xFFF
        if kind == "u32" and not node:  # the filter's head, and its hash table
            continue
        where = f"{dev} {handle >> 20:x}::{node:x}"
        selector = options.get(rtnl.TCA_U32_SEL, b"")
        if (kind, info, handle >> 12) != ("u32", _FILTER, _TABLE >> 12) or len(selector) != 32:
            yield Foreign(ns, "filter", where, kind)
            continue
        *_, mask, value, at, _ = _SELECTOR.unpack(selector)
        if at not in _FIELDS:
            yield Foreign(ns, "filter", where, kind)
            continue
        length = int.from_bytes(mask, "big").bit_count()
        minor = _u32(options.get(rtnl.TCA_U32_CLASSID, bytes(4))) & 0xFFFF
        yield TcFilter(ns, dev, node, _FIELDS[at], f"{inet_ntoa(value)}/{length}", minor)


def _u32(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")
