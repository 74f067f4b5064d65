"""Tunnels of IP in IP, Geneve and dummy devices, to and from netlink. Pure.

A tunnel and its settings say the same in every kind, but not by the same numbers: those of
``ip6tnl`` are in ``struct ip6_tnl_parm`` where the others have bytes of an IPv4 header.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Literal

from emulator.plan.resources import BORN, Dummy, Geneve, Interface, Tunnel
from emulator.substrate import rtnl
from emulator.substrate.decode import Link, address
from emulator.substrate.encode import NEW, Index, birth, ifinfo, linkinfo, packed
from emulator.substrate.netlink import Message, attr, attr_u32

_ENCAPS: Mapping[int, Literal["none", "fou", "gue"]] = {0: "none", 1: "fou", 2: "gue"}
_CSUM, _CSUM6 = 1, 2
_IGN_ENCAP_LIMIT = 1
"""A flag of ``ip6tnl``."""
_Kind = Literal["ipip", "sit", "ip6tnl"]
_DEVICES: Mapping[str, _Kind] = {"ipip": "ipip", "sit": "sit", "ip6tnl": "ip6tnl"}
_PROTOCOLS = {"ipip": 4, "sit": 41, "ip6tnl": 41}

FALLBACK_MTU = 1480
"""What a fallback of IPv4 is born with, whatever its namespace holds."""


def tunnel(r: Tunnel, index: Index, config: Interface | None) -> Message:
    """Create a tunnel."""
    six = r.device == "ip6tnl"
    none = "::" if six else "0.0.0.0"
    data = attr(rtnl.IFLA_IPTUN_LOCAL, packed(r.local or none))
    data += attr(rtnl.IFLA_IPTUN_REMOTE, packed(r.remote or none))
    data += attr(rtnl.IFLA_IPTUN_TTL, bytes([r.ttl]))
    data += attr(rtnl.IFLA_IPTUN_PROTO, bytes([0 if r.any_mode else _PROTOCOLS[r.device]]))
    if r.parent:
        data += attr_u32(rtnl.IFLA_IPTUN_LINK, index(r.ns, r.parent))
    if six:
        limited = r.encaplimit >= 0
        data += attr(rtnl.IFLA_IPTUN_ENCAP_LIMIT, bytes([max(r.encaplimit, 0)]))
        data += attr_u32(rtnl.IFLA_IPTUN_FLAGS, 0 if limited else _IGN_ENCAP_LIMIT)
    else:
        data += attr(rtnl.IFLA_IPTUN_TOS, bytes([r.tos]))
        data += attr(rtnl.IFLA_IPTUN_PMTUDISC, bytes([r.pmtudisc]))
    if r.encap != "none":
        kind = next(number for number, name in _ENCAPS.items() if name == r.encap)
        flags = (_CSUM6 if six else _CSUM) if r.csum else 0
        data += attr(rtnl.IFLA_IPTUN_ENCAP_TYPE, struct.pack("=H", kind))
        data += attr(rtnl.IFLA_IPTUN_ENCAP_FLAGS, struct.pack("=H", flags))
        data += attr(rtnl.IFLA_IPTUN_ENCAP_SPORT, struct.pack(">H", r.sport))
        data += attr(rtnl.IFLA_IPTUN_ENCAP_DPORT, struct.pack(">H", r.dport))
    return _new(r.device, index(r.ns, r.name), r.name, config, data)


def geneve(r: Geneve, index: Index, config: Interface | None) -> Message:
    """Create a Geneve device."""
    remote = rtnl.IFLA_GENEVE_REMOTE6 if ":" in r.remote else rtnl.IFLA_GENEVE_REMOTE
    data = (
        attr_u32(rtnl.IFLA_GENEVE_ID, r.vni)
        + attr(remote, packed(r.remote))
        + attr(rtnl.IFLA_GENEVE_PORT, struct.pack(">H", r.port))
    )
    return _new("geneve", index(r.ns, r.name), r.name, config, data)


def dummy(r: Dummy, index: Index, config: Interface | None) -> Message:
    """Create a dummy device."""
    return _new("dummy", index(r.ns, r.name), r.name, config, b"")


def _new(kind: str, index: int, name: str, config: Interface | None, data: bytes) -> Message:
    body = ifinfo(index) + birth(name, config) + linkinfo(kind, data)
    return Message(rtnl.RTM_NEWLINK, NEW, body)


def read(ns: str, link: Link, names: Mapping[int, str]) -> Tunnel | Geneve | Dummy | None:
    """The device that a link is, if it is one of these."""
    data = link.data
    if link.kind == "dummy":
        return Dummy(ns, link.name)
    if link.kind == "geneve":
        remote = data.get(rtnl.IFLA_GENEVE_REMOTE) or data.get(rtnl.IFLA_GENEVE_REMOTE6)
        if remote is None:  # one for all remote addresses, which each packet has to say
            return None
        vni = _number(data[rtnl.IFLA_GENEVE_ID])
        port = int.from_bytes(data[rtnl.IFLA_GENEVE_PORT][:2], "big")
        return Geneve(ns, link.name, vni, address(remote), port)
    device = _DEVICES.get(link.kind)
    return _tunnel(ns, link, device, names) if device else None


def _tunnel(ns: str, link: Link, device: _Kind, names: Mapping[int, str]) -> Tunnel:
    data, six = link.data, device == "ip6tnl"

    def number(attribute: int) -> int:
        return _number(data.get(attribute, b"")[:4])

    def port(attribute: int) -> int:
        return int.from_bytes(data.get(attribute, b"")[:2], "big")

    def end(attribute: int) -> str:
        found = data.get(attribute, b"")
        return address(found) if any(found) else ""

    encap = _ENCAPS.get(number(rtnl.IFLA_IPTUN_ENCAP_TYPE), "none")
    limited = six and not number(rtnl.IFLA_IPTUN_FLAGS) & _IGN_ENCAP_LIMIT
    checked = number(rtnl.IFLA_IPTUN_ENCAP_FLAGS) & (_CSUM6 if six else _CSUM)
    return Tunnel(
        ns,
        link.name,
        device,
        end(rtnl.IFLA_IPTUN_LOCAL),
        end(rtnl.IFLA_IPTUN_REMOTE),
        number(rtnl.IFLA_IPTUN_TTL),
        names.get(number(rtnl.IFLA_IPTUN_LINK), ""),
        0 if six else number(rtnl.IFLA_IPTUN_TOS),
        six or bool(number(rtnl.IFLA_IPTUN_PMTUDISC)),
        encap,
        port(rtnl.IFLA_IPTUN_ENCAP_SPORT) if encap != "none" else 0,
        port(rtnl.IFLA_IPTUN_ENCAP_DPORT) if encap != "none" else 0,
        encap != "none" and bool(checked),
        number(rtnl.IFLA_IPTUN_ENCAP_LIMIT) if limited else -1,
        not number(rtnl.IFLA_IPTUN_PROTO),
    )


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def born(link: Link) -> bool:
    """Whether a link is one that came with its module, and is down."""
    return BORN.get(link.name) == link.kind and not link.up
