"""Resources as netlink messages. Pure: indices come in, bytes go out.

(Over 300 lines: one function per kind of resource, and nothing else; they share no state
that would make a seam to cut at.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from socket import AF_INET, AF_INET6, inet_aton, inet_pton

from emulator.family import LEAST_MTU_B
from emulator.plan.resources import (
    FLOOD,
    Addr,
    Bridge,
    Fdb,
    Hop,
    Interface,
    Neigh,
    Route,
    Rule,
    Vxlan,
    Wireguard,
)
from emulator.substrate import rtnl
from emulator.substrate.netlink import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    attr,
    attr_str,
    attr_u32,
)

Index = Callable[[str, str], int]
"""(namespace, interface) to interface index."""

_IFINFO = struct.Struct("=BxHiII")
_NDMSG = {
    4: struct.Struct("=BxHiHBBHH4sHH6sxx"),
    16: struct.Struct("=BxHiHBBHH16sHH6sxx"),
}
_RTMSG = struct.Struct("=BBBBBBBBI")
_IN_ADDRESS = struct.Struct("=HH4s")
_IFA_F_NODAD = 2
_METRIC_IPV6 = 1024
_NEXT_HOP = struct.Struct("=HBBI")
NEW = NLM_F_CREATE | NLM_F_EXCL
"""Flags: only if there is none."""
_NEVER_BY_ITSELF = ("lo", "tunl0")
"""No link-local address comes to these; the second has no IPv6 at all before it was up."""
_NO_LINK_LOCAL = attr(
    AF_INET6, struct.pack("=HHB", 5, rtnl.IFLA_INET6_ADDR_GEN_MODE, 1) + b"\0\0\0"
)


def ifinfo(index: int, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    """The head of a link message."""
    return _IFINFO.pack(family, 0, index, flags, change)


def packed(address: str) -> bytes:
    """An address as 4 bytes or 16."""
    return inet_pton(AF_INET6, address) if ":" in address else inet_aton(address)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def linkinfo(kind: str, data: bytes) -> bytes:
    """What device a link is."""
    body = attr_str(rtnl.IFLA_INFO_KIND, kind)
    if data:
        body += attr(rtnl.IFLA_INFO_DATA, data)
    return attr(rtnl.IFLA_LINKINFO, body)


def birth(name: str, config: Interface | None, master: int = 0) -> bytes:
    """What creation can already set of an interface's configuration."""
    body = attr_str(rtnl.IFLA_IFNAME, name)
    if config is not None:
        body += attr_u32(rtnl.IFLA_MTU, config.mtu)
        if config.mac:
            body += attr(rtnl.IFLA_ADDRESS, _mac(config.mac))
    if master:
        body += attr_u32(rtnl.IFLA_MASTER, master)
    return body


def bridge(r: Bridge, index: Index, config: Interface | None) -> Message:
    """Create a bridge."""
    body = ifinfo(index(r.ns, r.name)) + birth(r.name, config) + linkinfo("bridge", b"")
    return Message(rtnl.RTM_NEWLINK, NEW, body)


def veth(
    near: tuple[str, str],
    far: tuple[str, str],
    index: Index,
    configs: Mapping[tuple[str, str], Interface],
) -> Message:
    """Create a pair from the namespace of ``near``; the far end is put into that of the
    descriptor that stands at ``fd_at`` once somebody has written it there."""
    near_config = configs.get(near)
    master = index(near[0], near_config.master) if near_config and near_config.master else 0
    body = ifinfo(index(*near)) + birth(near[1], near_config, master)
    peer = ifinfo(index(*far)) + birth(far[1], configs.get(far))
    fd = attr_u32(rtnl.IFLA_NET_NS_FD, 0)
    body += linkinfo("veth", attr(rtnl.VETH_INFO_PEER, peer + fd))
    return Message(rtnl.RTM_NEWLINK, NEW, body, fd_at=len(body) - 4)


def vxlan(r: Vxlan, index: Index, config: Interface | None) -> Message:
    """Create a VXLAN device bound to its parent."""
    local = rtnl.IFLA_VXLAN_LOCAL6 if ":" in r.local else rtnl.IFLA_VXLAN_LOCAL
    data = (
        attr_u32(rtnl.IFLA_VXLAN_ID, r.vni)
        + attr_u32(rtnl.IFLA_VXLAN_LINK, index(r.ns, r.parent))
        + attr(local, packed(r.local))
        + attr(rtnl.IFLA_VXLAN_LEARNING, bytes([r.learning]))
        + attr(rtnl.IFLA_VXLAN_PORT, struct.pack(">H", r.port))
    )
    body = ifinfo(index(r.ns, r.name)) + birth(r.name, config) + linkinfo("vxlan", data)
    return Message(rtnl.RTM_NEWLINK, NEW, body)


def wireguard(r: Wireguard, index: Index, config: Interface | None) -> Message:
    """Create a WireGuard device without keys or peers, which come another way."""
    body = ifinfo(index(r.ns, r.name)) + birth(r.name, config) + linkinfo("wireguard", b"")
    return Message(rtnl.RTM_NEWLINK, NEW, body)


def namespace_number(fd: int) -> Message:
    """Ask by which number the socket's namespace knows the one behind a descriptor."""
    return Message(rtnl.RTM_GETNSID, 0, bytes(4) + attr_u32(rtnl.NETNSA_FD, fd))


def delete_device(ns: str, name: str, index: Index) -> Message:
    """Remove a device."""
    return Message(rtnl.RTM_DELLINK, 0, ifinfo(index(ns, name)))


def configure(
    want: Interface, have: Interface, index: Index, inet: dict[int, int], inet6: bool
) -> Iterator[Message]:
    """Bring an interface from ``have`` to ``want``; ``inet`` are IPv4 settings by number,
    ``inet6`` says whether the kernel has IPv6 at all.

    Settings of address families come in a message of their own, before the interface
    goes up: in one message the kernel would apply them after, when IPv6 has already
    made its link-local address.
    """
    at = index(want.ns, want.name)
    body = b""
    if want.mtu != have.mtu:
        body += attr_u32(rtnl.IFLA_MTU, want.mtu)
    if want.mac and want.mac != have.mac:
        body += attr(rtnl.IFLA_ADDRESS, _mac(want.mac))
    if want.master != have.master:
        body += attr_u32(rtnl.IFLA_MASTER, index(want.ns, want.master) if want.master else 0)
    if body:
        yield Message(rtnl.RTM_SETLINK, 0, ifinfo(at) + body)
    settings = b""
    if inet:
        pairs = b"".join(attr_u32(number, value) for number, value in inet.items())
        settings += attr(AF_INET, attr(rtnl.IFLA_INET_CONF, pairs))
    # an interface with a smaller MTU has no IPv6 that could be set
    if (
        inet6
        and want.up
        and not have.up
        and want.name not in _NEVER_BY_ITSELF
        and want.mtu >= LEAST_MTU_B
    ):
        settings += _NO_LINK_LOCAL
    if settings:
        yield Message(rtnl.RTM_SETLINK, 0, ifinfo(at) + attr(rtnl.IFLA_AF_SPEC, settings))
    flags = change = 0
    body = b""
    # a port that changes its bridge starts with hairpin off
    if want.master and want.hairpin != (have.hairpin and want.master == have.master):
        port = attr(rtnl.IFLA_BRPORT_MODE, bytes([want.hairpin]))
        body = attr(
            rtnl.IFLA_LINKINFO,
            attr_str(rtnl.IFLA_INFO_SLAVE_KIND, "bridge") + attr(rtnl.IFLA_INFO_SLAVE_DATA, port),
        )
    if want.up != have.up:
        flags, change = int(want.up), rtnl.IFF_UP
    if want.promisc != have.promisc:
        flags |= rtnl.IFF_PROMISC * want.promisc
        change |= rtnl.IFF_PROMISC
    if body or change:
        yield Message(rtnl.RTM_NEWLINK, 0, ifinfo(at, flags, change) + body)


def addr(r: Addr, index: Index, add: bool) -> Message:
    """Add or remove an address, with the broadcast address that its prefix implies.

    One of IPv6 without detection of duplicates, which would keep it from use for a second.
    """
    text, _, prefix = r.address.partition("/")
    raw = packed(text)
    length = int(prefix)
    six = len(raw) == 16
    family, flags = (AF_INET6, _IFA_F_NODAD) if six else (AF_INET, 0)
    body = struct.pack(
        "=BBBBI", family, length, flags, rtnl.SCOPE_NUMBERS[r.scope], index(r.ns, r.dev)
    )
    body += attr(rtnl.IFA_LOCAL, raw) + attr(rtnl.IFA_ADDRESS, raw)
    if add and not six and length < 31:
        host = int.from_bytes(raw, "big") | (1 << (32 - length)) - 1
        body += attr(rtnl.IFA_BROADCAST, host.to_bytes(4, "big"))
    return Message(rtnl.RTM_NEWADDR if add else rtnl.RTM_DELADDR, NEW if add else 0, body)


def route(r: Route, index: Index, action: str) -> Message:
    """Add, replace or delete a route.

    A deletion names no next hop: the kernel compares only the first one, which may be dead.
    """
    ns, dst, via, dev, onlink, scope, proto, src, metric, table, kind, hops = r
    if action == "delete":
        via, dev, hops = "", "", ()
    length = 0
    body = b""
    family = AF_INET
    if ":" in dst:
        family = AF_INET6
        text, _, prefix = dst.partition("/")
        length = int(prefix)
        body = attr(rtnl.RTA_DST, inet_pton(AF_INET6, text))
        if via:
            body += attr(rtnl.RTA_GATEWAY, inet_pton(AF_INET6, via))
        metric = metric or _METRIC_IPV6
    else:
        if dst != "default":
            text, _, prefix = dst.partition("/")
            length = int(prefix or 32)
            body = _IN_ADDRESS.pack(8, rtnl.RTA_DST, inet_aton(text))
        if via:
            body += _IN_ADDRESS.pack(8, rtnl.RTA_GATEWAY, inet_aton(via))
    if dev:
        body += attr_u32(rtnl.RTA_OIF, index(ns, dev))
    if hops:
        body += attr(rtnl.RTA_MULTIPATH, b"".join(_hop(hop, ns, index) for hop in hops))
    if src:
        body += attr(rtnl.RTA_PREFSRC, packed(src))
    if metric:
        body += attr_u32(rtnl.RTA_PRIORITY, metric)
    if table > 255:
        body += attr_u32(rtnl.RTA_TABLE, table)
    head = _RTMSG.pack(
        family,
        length,
        0,
        0,
        table if table < 256 else 0,
        protocol_number(proto),
        rtnl.SCOPE_NUMBERS[scope],
        rtnl.ROUTE_TYPE_NUMBERS[kind],
        rtnl.RTNH_F_ONLINK if onlink else 0,
    )
    if action == "delete":
        return Message(rtnl.RTM_DELROUTE, 0, head + body)
    flags = NLM_F_CREATE | (NLM_F_EXCL if action == "create" else NLM_F_REPLACE)
    return Message(rtnl.RTM_NEWROUTE, flags, head + body)


def _hop(hop: Hop, ns: str, index: Index) -> bytes:
    gateway = attr(rtnl.RTA_GATEWAY, packed(hop.via))
    head = _NEXT_HOP.pack(8 + len(gateway), 0, hop.weight - 1, index(ns, hop.dev))
    return head + gateway


def protocol_number(name: str) -> int:
    """The number of a route protocol that has a name or is one."""
    return rtnl.PROTOCOL_NUMBERS[name] if name in rtnl.PROTOCOL_NUMBERS else int(name)


def rule(r: Rule, index: Index, add: bool) -> Message:
    """Add or remove a policy routing rule; selectors: ``from``, ``to``, ``iif``, ``fwmark``."""
    words = r.selector.split()
    flags = 0
    if words and words[0] == "not":
        flags, words = rtnl.FIB_RULE_INVERT, words[1:]
    lengths = {"from": 0, "to": 0}
    body = b""
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name in lengths and value != "all":
            text, _, prefix = value.partition("/")
            raw = packed(text)
            lengths[name] = int(prefix or 8 * len(raw))
            body += attr(rtnl.FRA_SRC if name == "from" else rtnl.FRA_DST, raw)
        elif name in ("iif", "oif"):
            body += attr_str(rtnl.FRA_IIFNAME if name == "iif" else rtnl.FRA_OIFNAME, value)
        elif name == "fwmark":
            mark, _, mask = value.partition("/")
            body += attr_u32(rtnl.FRA_FWMARK, int(mark, 0))
            body += attr_u32(rtnl.FRA_FWMASK, int(mask, 0) if mask else 0xFFFFFFFF)
    body += attr_u32(rtnl.FRA_PRIORITY, r.priority) + attr_u32(rtnl.FRA_TABLE, r.table)
    head = _RTMSG.pack(
        AF_INET6 if r.family == "ip6" else AF_INET,
        lengths["to"],
        lengths["from"],
        0,
        r.table if r.table < 256 else 0,
        0,
        0,
        1,
        flags,
    )
    return Message(rtnl.RTM_NEWRULE if add else rtnl.RTM_DELRULE, NEW if add else 0, head + body)


def neigh(r: Neigh, index: Index, add: bool) -> Message:
    """Add or remove a permanent neighbour entry."""
    raw = packed(r.address)
    size = len(raw)
    body = _NDMSG[size].pack(
        AF_INET if size == 4 else AF_INET6, 0, index(r.ns, r.dev), rtnl.NUD_PERMANENT, 0, 0,
        size + 4, rtnl.NDA_DST, raw, 10, rtnl.NDA_LLADDR, _mac(r.lladdr),
    )  # fmt: skip
    return Message(rtnl.RTM_NEWNEIGH if add else rtnl.RTM_DELNEIGH, NEW if add else 0, body)


def fdb(r: Fdb, index: Index, add: bool) -> Message:
    """Add or remove a permanent forwarding entry of a VXLAN device."""
    state = rtnl.NUD_PERMANENT | (rtnl.NUD_NOARP if add else 0)
    raw = packed(r.dst)
    body = _NDMSG[len(raw)].pack(
        rtnl.AF_BRIDGE, 0, index(r.ns, r.dev), state, rtnl.NTF_SELF, 0,
        len(raw) + 4, rtnl.NDA_DST, raw, 10, rtnl.NDA_LLADDR, _mac(r.lladdr),
    )  # fmt: skip
    if not add:
        return Message(rtnl.RTM_DELNEIGH, 0, body)
    # of several destinations for what nobody has learnt yet, each is appended to the one entry
    flood = r.lladdr == FLOOD
    return Message(rtnl.RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND if flood else NEW, body)


_TICK_NS = 64
_RATESPEC = struct.Struct("=BBHhHI")


def ratespec(rate_b: int) -> bytes:
    """A ``struct tc_ratespec`` of bytes per second."""
    # linklayer 1 is Ethernet: the kernel then computes times itself and needs no rate table
    return _RATESPEC.pack(0, 1, 0, 0, 0, min(rate_b, 0xFFFFFFFF))


def ticks(burst_b: int, rate_b: int) -> int:
    """The time that ``burst_b`` bytes take at ``rate_b`` bytes per second, in kernel ticks."""
    return burst_b * 1_000_000_000 // rate_b // _TICK_NS


def place(parent: str) -> int:
    """The number of a class, ``9:1``; the root for no name."""
    major, _, minor = parent.partition(":")
    return int(major, 16) << 16 | int(minor, 16) if parent else rtnl.TC_H_ROOT
