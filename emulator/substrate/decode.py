"""Netlink dumps as resources in normal form. Pure: bytes come in, values go out.

What the kernel makes by itself (``derived``) is left out here, in one place: local,
multicast and connected routes, the addresses of ``lo``, link-local addresses that it
generated, default rules and qdiscs, learnt neighbours and forwarding entries.
(Over 300 lines: one function for each kind of message.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Set
from socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop
from typing import NamedTuple

from emulator.plan.resources import (
    Addr,
    Fdb,
    Hop,
    Neigh,
    Resource,
    Route,
    Rule,
    multipath,
)
from emulator.substrate import rtnl
from emulator.substrate.netlink import attributes

Dump = Iterable[tuple[int, bytes]]
Names = Mapping[int, str]


class Link(NamedTuple):
    """What a link dump says of one interface. ``peer`` is an index, in the namespace that
    this one knows as number ``peer_ns``; -1 is this one. ``slave``: what sort of port it is."""

    number: int
    name: str
    kind: str
    up: bool
    mtu: int
    mac: str
    master: int
    peer: int
    peer_ns: int
    data: dict[int, bytes]
    hairpin: bool
    promisc: bool = False
    slave: str = ""


_IFINFO = struct.Struct("=BxHiII")


def _u32(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


def _s32(data: bytes) -> int:
    return int.from_bytes(data[:4], "little", signed=True)


def _mac(data: bytes) -> str:
    if len(data) != 6:  # of a tunnel of IP in IP it is an address of that
        return ""
    text = ":".join(f"{byte:02x}" for byte in data)
    return "" if text in ("", "00:00:00:00:00:00") else text


_FAMILIES = (AF_INET, AF_INET6)
"""The others that a dump of everything holds are of multicast routing."""


def address(data: bytes) -> str:
    """4 or 16 bytes as canonical text."""
    return inet_ntoa(data) if len(data) == 4 else inet_ntop(AF_INET6, data)


def links(dump: Dump) -> Iterator[Link]:
    """Every interface of a namespace."""
    for _, body in dump:
        _, _, index, flags, _ = _IFINFO.unpack_from(body)
        found = attributes(body, 16)
        info = attributes(found.get(rtnl.IFLA_LINKINFO, b""))
        slave = attributes(info.get(rtnl.IFLA_INFO_SLAVE_DATA, b""))
        yield Link(
            index,
            found[rtnl.IFLA_IFNAME].rstrip(b"\0").decode(),
            info.get(rtnl.IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
            bool(flags & rtnl.IFF_UP),
            _u32(found[rtnl.IFLA_MTU]),
            _mac(found.get(rtnl.IFLA_ADDRESS, b"")),
            _u32(found.get(rtnl.IFLA_MASTER, b"\0\0\0\0")),
            _u32(found.get(rtnl.IFLA_LINK, b"\0\0\0\0")),
            _s32(found.get(rtnl.IFLA_LINK_NETNSID, b"\xff" * 4)),
            attributes(info.get(rtnl.IFLA_INFO_DATA, b"")),
            slave.get(rtnl.IFLA_BRPORT_MODE, b"\0")[:1] == b"\1",
            bool(flags & rtnl.IFF_PROMISC),
            info.get(rtnl.IFLA_INFO_SLAVE_KIND, b"").rstrip(b"\0").decode(),
        )


def vxlan_port(link: Link) -> int:
    """The UDP port of a VXLAN device."""
    return int.from_bytes(link.data[rtnl.IFLA_VXLAN_PORT][:2], "big")


def namespace_number(answer: bytes | None) -> int:
    """The number in an answer to :func:`encode.namespace_number`; -1 where there is none."""
    if answer is None:
        return -1
    return _s32(attributes(answer, 4).get(rtnl.NETNSA_NSID, b"\xff" * 4))


def addrs(ns: str, dump: Dump, names: Names) -> Iterator[Resource]:
    """Addresses but those that ``lo`` has from birth and those that the kernel generated."""
    for _, body in dump:
        family, length, _, scope, index = struct.unpack_from("=BBBBI", body)
        if family not in _FAMILIES:
            continue
        found = attributes(body, 8)
        text = address(found.get(rtnl.IFA_LOCAL) or found[rtnl.IFA_ADDRESS])
        dev = names.get(index, f"if{index}")
        if dev == "lo" and text in ("127.0.0.1", "::1"):
            continue
        if found.get(rtnl.IFA_PROTO, b"")[:1] == bytes([rtnl.IFAPROT_KERNEL_LL]):
            continue
        yield Addr(ns, dev, f"{text}/{length}", rtnl.SCOPES.get(scope, str(scope)))


def with_address(dump: Dump) -> set[int]:
    """The indices of the interfaces that have an address."""
    return {struct.unpack_from("=BBBBI", body)[4] for _, body in dump}


_ROUTE = struct.Struct("=BBBBBBBBI")


def routes(ns: str, dump: Dump, names: Names, down: Set[int] = frozenset()) -> Iterator[Resource]:
    """Routes that somebody added: neither the local table nor connected routes.

    To IPv6 a metric of 1024 and a device of ``lo`` for a route that leads nowhere are what
    it makes of none. Of several next hops those by an interface that is ``down`` are left out,
    which are dead until it is up: the kernel keeps them, and forgets a route whose last one goes.
    """
    for _, body in dump:
        family, length, _, _, table, proto, scope, kind, flags = _ROUTE.unpack_from(body)
        found = attributes(body, 12)
        if rtnl.RTA_TABLE in found:
            table = _u32(found[rtnl.RTA_TABLE])
        if family not in _FAMILIES or table == 255 or proto == 2 or flags & rtnl.RTM_F_CLONED:
            continue
        dst = "default" if family == AF_INET else "::/0"
        if rtnl.RTA_DST in found:
            dst = f"{address(found[rtnl.RTA_DST])}/{length}"
        dev = names.get(_u32(found[rtnl.RTA_OIF]), "?") if rtnl.RTA_OIF in found else ""
        metric = _u32(found.get(rtnl.RTA_PRIORITY, b"\0\0\0\0"))
        type_ = rtnl.ROUTE_TYPES.get(kind, str(kind))
        if family == AF_INET6:
            metric = 0 if metric == _METRIC_IPV6 else metric
            dev = "" if type_ in _NOWHERE else dev
        made = Route(
            ns,
            dst,
            address(found[rtnl.RTA_GATEWAY]) if rtnl.RTA_GATEWAY in found else "",
            dev,
            bool(flags & rtnl.RTNH_F_ONLINK),
            rtnl.SCOPES.get(scope, str(scope)),
            rtnl.PROTOCOLS.get(proto, str(proto)),
            address(found[rtnl.RTA_PREFSRC]) if rtnl.RTA_PREFSRC in found else "",
            metric,
            table,
            type_,
        )
        hops = _hops(found.get(rtnl.RTA_MULTIPATH, b""), names, down)
        yield multipath(made, hops) if hops else made


_NEXT_HOP = struct.Struct("=HBBI")


def _hops(data: bytes, names: Names, down: Set[int]) -> list[Hop]:
    found = []
    while data:
        length, _, weight, index = _NEXT_HOP.unpack_from(data)
        gateway = attributes(data[8:length]).get(rtnl.RTA_GATEWAY)
        if index not in down:
            via = address(gateway) if gateway else ""
            found.append(Hop(via, names.get(index, "?"), weight + 1))
        data = data[length:]
    return found


_METRIC_IPV6 = 1024
_NOWHERE = ("blackhole", "unreachable", "prohibit", "throw")
_DEFAULT_RULES = {(0, 255), (32766, 254), (32767, 253)}


def rules(ns: str, dump: Dump) -> Iterator[Resource]:
    """Policy routing rules but those that every namespace is born with."""
    for _, body in dump:
        family, to, source, _, table, _, _, _, flags = _ROUTE.unpack_from(body)
        found = attributes(body, 12)
        priority = _u32(found.get(rtnl.FRA_PRIORITY, b"\0\0\0\0"))
        table = _u32(found[rtnl.FRA_TABLE]) if rtnl.FRA_TABLE in found else table
        if family not in _FAMILIES or ((priority, table) in _DEFAULT_RULES and len(found) <= 4):
            continue
        words = ["not"] if flags & rtnl.FIB_RULE_INVERT else []
        words.append(
            f"from {address(found[rtnl.FRA_SRC])}/{source}" if rtnl.FRA_SRC in found else "from all"
        )
        if rtnl.FRA_DST in found:
            words.append(f"to {address(found[rtnl.FRA_DST])}/{to}")
        for number, name in ((rtnl.FRA_IIFNAME, "iif"), (rtnl.FRA_OIFNAME, "oif")):
            if number in found:
                words.append(f"{name} {found[number].rstrip(bytes(1)).decode()}")
        if rtnl.FRA_FWMARK in found:
            mask = _u32(found.get(rtnl.FRA_FWMASK, b"\xff" * 4))
            mark = f"fwmark {_u32(found[rtnl.FRA_FWMARK]):#x}"
            words.append(mark if mask == 0xFFFFFFFF else f"{mark}/{mask:#x}")
        yield Rule(ns, priority, " ".join(words), table, "ip6" if family == AF_INET6 else "ip")


NDMSG = struct.Struct("=BxHiHBB")


def neighbours(ns: str, dump: Dump, names: Names) -> Iterator[Resource]:
    """Permanent neighbour entries."""
    for _, body in dump:
        family, _, index, state, _, _ = NDMSG.unpack_from(body)
        found = attributes(body, 12)
        if family in _FAMILIES and state & rtnl.NUD_PERMANENT and rtnl.NDA_LLADDR in found:
            text = address(found[rtnl.NDA_DST])
            yield Neigh(ns, names.get(index, "?"), text, _mac(found[rtnl.NDA_LLADDR]))


def dynamic_neighbours(dump: Dump) -> Iterator[tuple[int, int, bytes]]:
    """(family, interface index, packed address) of every learnt neighbour."""
    for _, body in dump:
        family, _, index, state, _, _ = NDMSG.unpack_from(body)
        if family in _FAMILIES and not state & (rtnl.NUD_PERMANENT | rtnl.NUD_NOARP):
            yield family, index, attributes(body, 12)[rtnl.NDA_DST]


def forwarding(ns: str, dump: Dump, vxlans: Names) -> Iterator[Resource]:
    """Permanent forwarding entries of VXLAN devices (``vxlans``: index to name)."""
    for _, body in dump:
        _, _, index, state, flags, _ = NDMSG.unpack_from(body)
        found = attributes(body, 12)
        if (
            index in vxlans
            and flags & rtnl.NTF_SELF
            and state & rtnl.NUD_PERMANENT
            and rtnl.NDA_DST in found
        ):
            lladdr = ":".join(f"{byte:02x}" for byte in found[rtnl.NDA_LLADDR])
            yield Fdb(ns, vxlans[index], lladdr, address(found[rtnl.NDA_DST]))
