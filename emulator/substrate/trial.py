"""What the kernel can do, found out by trying in a throw-away namespace."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple, NoReturn

from emulator.errors import PodwireError, Problem, Unsupported
from emulator.plan.ovs import OvsDatapath, OvsVxlan
from emulator.plan.resources import (
    Addr,
    Dummy,
    Fou,
    Geneve,
    Hop,
    Htb,
    Netem,
    Qdisc,
    Route,
    TcClass,
    TcFilter,
    Tunnel,
    multipath,
)
from emulator.plan.xfrm import Selector, Template, XfrmPolicy, XfrmState
from emulator.substrate import (
    control,
    encode,
    ethtool,
    fou,
    htb,
    libc,
    netem,
    nft,
    ovs,
    privilege,
    rtnl,
    shaper,
    tun,
    tunnel,
    xfrm,
)
from emulator.substrate.namespaces import FIRST_INDEX
from emulator.substrate.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    Netlink,
    attr,
    attr_str,
    attr_u32,
)
from emulator.substrate.sandbox import private_mounts


class Tried(NamedTuple):
    """One feature: whether it works, and the kernel's words if not."""

    feature: str
    works: bool
    words: str


def features() -> tuple[privilege.Level, list[Tried]]:
    """Try everything that specs of this version can ask for; also the level of privilege that
    it came to. Unsupported when namespaces themselves are refused."""
    how = privilege.level()
    ours, theirs = socket.socketpair()
    me = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid == 0:
        ours.close()
        _child(theirs, how, me)
    try:
        theirs.close()
        while True:
            kind, value = control.receive(ours)
            if kind == "map":
                how = privilege.map_ids(pid, how)
                control.send(ours, "mapped")
            elif kind == "refused":
                raise privilege.refusal(*value)
            else:
                found: list[Tried] = value
                return how, found
    except (EOFError, ConnectionError):
        raise PodwireError(
            Problem("trying features", "the trial process died", "its answer", "was it killed?")
        ) from None
    finally:
        os.close(me)
        ours.close()  # ends a child that still waits
        with suppress(ChildProcessError):  # where SIGCHLD is ignored the kernel has reaped it
            os.waitpid(pid, 0)


def _child(link: socket.socket, how: privilege.Level, starter: int) -> NoReturn:
    step = "a user namespace"
    try:
        libc.die_with_parent(starter)
        if how != "root":
            libc.unshare(libc.CLONE_NEWUSER)
            control.send(link, ("map", None))
            control.receive(link)
        step = "network, mount and PID namespaces"
        libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWNS | libc.CLONE_NEWPID)
        first = os.fork()  # /proc can only be mounted from inside the PID namespace
        if first:
            os.waitpid(first, 0)
            os._exit(0)
        libc.die_with_parent()
        step = "mounting"
        private_mounts()
        step = "trying features"
        control.send(link, ("tried", _try_all()))
    except OSError as error:
        with suppress(OSError):
            control.send(link, ("refused", (f"{step} {error.filename or ''}".strip(), error)))
    except BaseException:  # the child must not go on as a second copy of the caller
        traceback.print_exc()
    os._exit(0)


def _try_all() -> list[Tried]:
    route = Netlink()
    names = ("t0", "t1", "b0", "x0", "u0", "i0", "s0", "i6", "g0", "d0", "w0")
    index = {"lo": 1} | {name: FIRST_INDEX + at for at, name in enumerate(names)}

    def at(ns: str, name: str) -> int:
        return index[name]

    def link(name: str, kind: str, data: bytes) -> Callable[[], None]:
        info = attr_str(rtnl.IFLA_INFO_KIND, kind)
        info += attr(rtnl.IFLA_INFO_DATA, data) if data else b""
        body = encode.ifinfo(index[name]) + attr_str(rtnl.IFLA_IFNAME, name)
        body += attr(rtnl.IFLA_LINKINFO, info)
        return lambda: send(Message(rtnl.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body))

    def send(*messages: Message) -> None:
        for _, number, words in route.send(messages):
            raise OSError(number, words or os.strerror(number))

    peer = encode.ifinfo(index["t1"]) + attr_str(rtnl.IFLA_IFNAME, "t1")

    def shape(discipline: str) -> None:
        kind = "tbf" if discipline == "tbf" else "htb"
        qdisc = Qdisc("", "t0", kind, 10_000_000, 70_000, 100_000)  # type: ignore[arg-type]
        send(*shaper.qdisc(qdisc, at, True))
        send(*shaper.qdisc(qdisc, at, False))

    def impair() -> None:
        late = Netem("", "t0", 1000, delay_us=10_000)
        send(netem.message(late, at, True))
        send(netem.message(late, at, False))

    def classify() -> None:
        root = Htb("", "t0", 0x30)
        limit = TcClass("", "t0", 1, 10_000_000, 1600)
        chosen = TcFilter("", "t0", 0x800, "dst", "192.0.2.1/32", 1)
        send(htb.root(root, at, True), htb.class_(limit, at, True))
        try:
            send(htb.filter_(chosen, at, True))
        finally:
            send(htb.root(root, at, False))

    def bridge_filter() -> None:
        nft.run(
            "table bridge trial { chain c { type filter hook output priority filter; "
            "ether saddr 02:00:00:00:00:01 drop; }; }"
        )

    def offloads() -> None:
        bits = ethtool.feature_bits()
        ethtool.change(route.socket, "t0", bits.gro, bits.tso | bits.gso)
        if ethtool.requested(route.socket, "t0") != (False, False, True, True):
            raise OSError(95, "the request has no effect")

    def masquerade() -> None:
        nft.run(
            "table ip trial { chain c { type nat hook postrouting priority srcnat; "
            "ip saddr 192.0.2.0/24 masquerade fully-random; }; }"
        )

    def next_hops() -> None:
        up = encode.ifinfo(index["t0"], rtnl.IFF_UP, rtnl.IFF_UP)
        send(Message(rtnl.RTM_NEWLINK, 0, up))
        send(encode.addr(Addr("", "t0", "192.0.2.1/24"), at, True))
        hops = (Hop("192.0.2.2", "t0"), Hop("192.0.2.3", "t0"))
        send(encode.route(multipath(Route("", "198.51.100.0/24", "", ""), hops), at, "create"))

    def protect() -> None:
        ends = ("192.0.2.1", "192.0.2.2")
        asked = Template(*ends, "tunnel", 1)
        policy = XfrmPolicy("", "out", Selector("192.0.2.0/24", "198.51.100.0/24"), asked)
        state = XfrmState("", *ends, 0x100, "tunnel", "00" * 20, 1)
        other = Netlink(xfrm.PROTOCOL)
        try:
            for _, number, words in other.send(
                [xfrm.policy(policy, "create"), xfrm.state(state, str)]
            ):
                raise OSError(number, words or os.strerror(number))
        finally:
            other.close()

    def joined(name: str, device: Literal["ipip", "sit", "ip6tnl"], end: str) -> None:
        send(tunnel.tunnel(Tunnel("", name, device, local=end), at, None))

    geneve = Geneve("", "g0", 1, "192.0.2.2", 6081)

    def datapath() -> None:
        ovs.create(OvsDatapath("", "dp0"))
        ovs.create(OvsVxlan("", "vx0", "dp0", 6784))

    attempts: list[tuple[str, Callable[[], None]]] = [
        ("veth", link("t0", "veth", attr(rtnl.VETH_INFO_PEER, peer))),
        ("bridge", link("b0", "bridge", b"")),
        ("vxlan", link("x0", "vxlan", attr_u32(rtnl.IFLA_VXLAN_ID, 1))),
        ("ipip", lambda: joined("i0", "ipip", "192.0.2.1")),
        ("sit", lambda: joined("s0", "sit", "192.0.2.1")),
        ("ip6tnl", lambda: joined("i6", "ip6tnl", "2001:db8::1")),
        ("foo-over-UDP", lambda: fou.add(Fou("", 5555, "gue"))),
        ("geneve", lambda: send(tunnel.geneve(geneve, at, None))),
        ("dummy", lambda: send(tunnel.dummy(Dummy("", "d0"), at, None))),
        ("datapath of Open vSwitch", datapath),
        ("tun", lambda: tun.create("u0", index["u0"])),
        ("wireguard", link("w0", "wireguard", b"")),
        ("offloads by ethtool", offloads),
        ("nftables with masquerade", masquerade),
        ("tbf", lambda: shape("tbf")),
        ("htb", lambda: shape("htb")),
        ("netem", impair),
        ("u32 filters", classify),
        ("nftables on bridges", bridge_filter),
        ("routes with several next hops", next_hops),
        ("IPsec", protect),
    ]
    found = []
    for name, attempt in attempts:
        try:
            attempt()
            found.append(Tried(name, True, ""))
        except OSError as error:
            found.append(Tried(name, False, error.strerror or str(error)))
        except Unsupported as error:
            found.append(Tried(name, False, str(error)))
    return found
