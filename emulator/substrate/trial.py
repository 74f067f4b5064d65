"""What the kernel can do, found out by trying in a throw-away namespace."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import NamedTuple

from emulator.plan.resources import Qdisc
from emulator.substrate import encode, ethtool, libc, nft, privilege, rtnl
from emulator.substrate.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    Netlink,
    attr,
    attr_str,
    attr_u32,
)


class Tried(NamedTuple):
    """One feature: whether it works, and the kernel's words if not."""

    feature: str
    works: bool
    words: str


def features() -> list[Tried]:
    """Try everything that specs of this version can ask for. Unsupported when namespaces
    themselves are refused."""
    r, w = os.pipe()
    go_r, go_w = os.pipe()
    how = privilege.level()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        os.close(go_w)
        _child(w, go_r, how)
    os.close(w)
    os.close(go_r)
    with os.fdopen(r, "rb") as stream:
        try:
            if how != "root":
                if stream.read(1) != b"u":
                    raise privilege.refusal("a user namespace", OSError(1, "refused"))
                privilege.map_ids(pid, how)
            os.close(go_w)
            answer = pickle.load(stream)
        except (EOFError, OSError) as error:
            raise privilege.refusal("a trial namespace", OSError(1, str(error))) from error
        finally:
            os.waitpid(pid, 0)
    if isinstance(answer, OSError):
        raise privilege.refusal("network namespaces", answer)
    found: list[Tried] = answer
    return found


def _child(report: int, go: int, how: privilege.Level) -> None:
    answer: object
    try:
        libc.die_with_parent()
        if how != "root":
            libc.unshare(libc.CLONE_NEWUSER)
            os.write(report, b"u")
        os.read(go, 1)
        libc.unshare(libc.CLONE_NEWNET)
        answer = _try_all()
    except OSError as error:
        answer = error
    with os.fdopen(report, "wb") as stream:
        pickle.dump(answer, stream)
    os._exit(0)


def _try_all() -> list[Tried]:
    socket = Netlink()
    index = {"lo": 1, "t0": 10, "t1": 11, "b0": 12, "x0": 13}

    def at(ns: str, name: str) -> int:
        return index[name]

    def link(name: str, kind: str, data: bytes) -> Callable[[], None]:
        info = attr_str(rtnl.IFLA_INFO_KIND, kind)
        info += attr(rtnl.IFLA_INFO_DATA, data) if data else b""
        body = encode.ifinfo(index[name]) + attr_str(rtnl.IFLA_IFNAME, name)
        body += attr(rtnl.IFLA_LINKINFO, info)
        return lambda: send(Message(rtnl.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body))

    def send(*messages: Message) -> None:
        for _, number, words in socket.send(messages):
            raise OSError(number, words or os.strerror(number))

    peer = encode.ifinfo(index["t1"]) + attr_str(rtnl.IFLA_IFNAME, "t1")

    def shape(discipline: str) -> None:
        kind = "tbf" if discipline == "tbf" else "htb"
        qdisc = Qdisc("", "t0", kind, 10_000_000, 70_000, 100_000, 100)  # type: ignore[arg-type]
        send(*encode.qdisc(qdisc, at, True))
        send(*encode.qdisc(qdisc, at, False))

    def offloads() -> None:
        bits = ethtool.feature_bits(socket.socket)
        ethtool.change(socket.socket, "t0", bits, bits.gro, bits.tso | bits.gso)
        if ethtool.requested(socket.socket, "t0", bits) != (False, False, True):
            raise OSError(95, "the request has no effect")

    def masquerade() -> None:
        nft.run(
            "table ip trial { chain c { type nat hook postrouting priority srcnat; "
            "ip saddr 192.0.2.0/24 masquerade fully-random; }; }"
        )

    attempts: list[tuple[str, Callable[[], None]]] = [
        ("veth", link("t0", "veth", attr(rtnl.VETH_INFO_PEER, peer))),
        ("bridge", link("b0", "bridge", b"")),
        ("vxlan", link("x0", "vxlan", attr_u32(rtnl.IFLA_VXLAN_ID, 1))),
        ("offloads by ethtool", offloads),
        ("nftables with masquerade", masquerade),
        ("tbf", lambda: shape("tbf")),
        ("htb", lambda: shape("htb")),
    ]
    found = []
    for name, attempt in attempts:
        try:
            attempt()
            found.append(Tried(name, True, ""))
        except OSError as error:
            found.append(Tried(name, False, error.strerror or str(error)))
    return found
