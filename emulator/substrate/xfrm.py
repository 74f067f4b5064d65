"""IPsec's policies and states to and from netlink's family XFRM. Pure but for :func:`registered`.

States that hold no algorithm are left out (``derived``): the kernel makes one for a moment where
a packet waits for a key daemon, and so does a daemon while it negotiates. So are the policies of
a socket, by which a key daemon lets its own packets through.
(Over 300 lines: both directions of two messages that share their structures.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop, inet_pton
from typing import Literal

from emulator.plan.resources import Foreign, Key, Resource
from emulator.plan.xfrm import (
    AEAD,
    Mode,
    Selector,
    Template,
    XfrmPolicy,
    XfrmSa,
    XfrmState,
)
from emulator.substrate.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Message,
    Netlink,
    attr,
    attr_u32,
    attributes,
)

PROTOCOL = 6
"""NETLINK_XFRM."""

_NEWSA, _DELSA, _GETSA, _NEWPOLICY, _DELPOLICY, _GETPOLICY = range(0x10, 0x16)
_UPDPOLICY = 0x19
_CRYPT, _ENCAP, _TMPL, _AEAD, _AUTH_TRUNC, _MARK, _REPLAY_ESN = 2, 4, 5, 18, 20, 21, 23
_SET_MARK, _SET_MARK_MASK = 29, 30
_ESP = 50
_ANOTHER_KEY = "(another key)"
"""Never told, whoever has written it."""
_FLAG_ESN = 128

_SELECTOR = struct.Struct("=16s16s4s4sHBBBxxxiI")
"""destination, source, its ports with masks, family, lengths of prefixes, protocol."""
_NO_LIMIT = b"\xff" * 32 + bytes(32) + bytes(32)
"""No limit of bytes and packets, no expiry; and what was counted."""
_POLICY_END = struct.Struct("=IIBBBBxxxx")
_TEMPLATE = struct.Struct("=16s4sBxxxHxx16sIBBBxIII")
_ID = struct.Struct("=16s4sBxxx")
_STATE_END = struct.Struct("=IIIIIHBBBxxxxxxx")
"""three counters, sequence number, reqid, family, mode, replay window, flags."""
_DIRS: tuple[Literal["in", "out", "fwd"], ...] = ("in", "out", "fwd")
_MODES: tuple[Mode, ...] = ("transport", "tunnel")
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "esp": 50, "ipv6-icmp": 58, "sctp": 132}
_NAMES = {number: name for name, number in _PROTOCOLS.items()} | {0: ""}

Dump = Iterable[tuple[int, bytes]]
Reveal = Callable[[str], str]
"""Puts keys in the place of their words."""


def registered() -> bool:
    """Whether the kernel has XFRM loaded: else nobody can have written any, and to look would
    load it."""
    rows = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
    return any(row.split()[1] == str(PROTOCOL) for row in rows)


def _packed(address: str) -> bytes:
    return inet_pton(_family(address), address).ljust(16, b"\0")


def _family(address: str) -> int:
    return AF_INET6 if ":" in address else AF_INET


def _text(data: bytes, family: int) -> str:
    return inet_ntop(AF_INET6, data) if family == AF_INET6 else inet_ntoa(data[:4])


def _selector(r: Selector | None) -> bytes:
    if r is None:
        return bytes(_SELECTOR.size)
    (src, src_bits), (dst, dst_bits) = (_prefix(p) for p in (r.src, r.dst))
    ports = [struct.pack(">HH", port, 0xFFFF if port else 0) for port in (r.dport, r.sport)]
    proto = _PROTOCOLS[r.proto] if r.proto in _PROTOCOLS else int(r.proto or 0)
    return _SELECTOR.pack(
        _packed(dst), _packed(src), *ports, _family(dst), dst_bits, src_bits, proto, 0, 0
    )


def _prefix(text: str) -> tuple[str, int]:
    address, _, bits = text.partition("/")
    return address, int(bits or (128 if ":" in address else 32))


def _read_selector(data: bytes) -> Selector:
    dst, src, dports, sports, family, dst_bits, src_bits, proto, _, _ = _SELECTOR.unpack(
        data[: _SELECTOR.size]
    )
    ports = [int.from_bytes(pair[:2], "big") for pair in (sports, dports)]
    ends = (f"{_text(src, family)}/{src_bits}", f"{_text(dst, family)}/{dst_bits}")
    return Selector(*ends, _NAMES.get(proto, str(proto)), *ports)


def _marked(mark: int, mask: int) -> bytes:
    return attr(_MARK, struct.pack("=II", mark, mask)) if mark or mask else b""


def policy(r: XfrmPolicy, action: str) -> Message:
    """Add, change (action ``change``) or remove (``delete``) a policy."""
    selector, direction = _selector(r.selector), _DIRS.index(r.dir)
    if action == "delete":
        body = selector + struct.pack("=IBxxx", 0, direction)
        return Message(_DELPOLICY, 0, body + _marked(r.mark, r.mask))
    t = r.template
    template = _TEMPLATE.pack(
        _packed(t.dst), t.spi.to_bytes(4, "big"), _ESP, _family(t.dst), _packed(t.src),
        t.reqid, _MODES.index(t.mode), 0, 0, *[0xFFFFFFFF] * 3,
    )  # fmt: skip
    body = selector + _NO_LIMIT + _POLICY_END.pack(r.priority, 0, direction, 0, 0, 0)
    body += attr(_TMPL, template) + _marked(r.mark, r.mask)
    new = NLM_F_CREATE | NLM_F_EXCL
    return Message(_UPDPOLICY, 0, body) if action == "change" else Message(_NEWPOLICY, new, body)


def state(r: XfrmState, reveal: Reveal) -> Message:
    """Add a state."""
    key = bytes.fromhex(reveal(r.secret))
    body = _selector(r.selector) + _ID.pack(_packed(r.dst), r.spi.to_bytes(4, "big"), _ESP)
    body += _packed(r.src) + _NO_LIMIT
    wide = r.esn or r.replay_window > 32
    body += _STATE_END.pack(
        0, 0, 0, 0, r.reqid, _family(r.dst), _MODES.index(r.mode),
        0 if wide else r.replay_window, _FLAG_ESN if r.esn else 0,
    )  # fmt: skip
    head = AEAD.encode().ljust(64, b"\0") + struct.pack("=II", 8 * len(key), r.icv_bit)
    body += attr(_AEAD, head + key)
    if wide:
        words = (r.replay_window + 31) // 32
        replay = struct.pack("=IIIIII", words, 0, 0, 0, 0, r.replay_window) + bytes(4 * words)
        body += attr(_REPLAY_ESN, replay)
    body += _marked(r.mark, r.mask)
    if r.output_mark or r.output_mask:
        body += attr_u32(_SET_MARK, r.output_mark) + attr_u32(_SET_MARK_MASK, r.output_mask)
    return Message(_NEWSA, NLM_F_CREATE | NLM_F_EXCL, body)


def _remove(src: str, dst: str, spi: int, mark: int, mask: int) -> Message:
    body = _packed(dst) + struct.pack("=4sHBx", spi.to_bytes(4, "big"), _family(dst), _ESP)
    srcaddr = attr(13, _packed(src))
    return Message(_DELSA, 0, body + srcaddr + _marked(mark, mask))


def message(r: Resource, action: str, reveal: Reveal = str) -> Message:
    """What does that to a policy or a state."""
    if type(r) is XfrmPolicy:
        return policy(r, action)
    assert type(r) is XfrmState
    if action == "delete":
        return _remove(r.src, r.dst, r.spi, r.mark, r.mask)
    return state(r, reveal)


def attempt() -> list[Message]:
    """Messages that add a state and remove it: a kernel takes policies that it cannot follow."""
    one = XfrmState("", "192.0.2.1", "192.0.2.2", 0x100, "tunnel", "00" * 20)
    return [state(one, str), message(one, "delete")]


def observe(
    ns: str, netlink: Netlink, known: Mapping[Key, Resource], reveal: Reveal
) -> Iterator[Resource]:
    """All of a namespace. States that are ``known`` as ``XfrmState`` are looked at by themselves,
    with their key; all others are told as those of key daemons are."""
    yield from read_policies(ns, netlink.dump(_GETPOLICY, b""))
    yield from read_states(ns, netlink.dump(_GETSA, b""), known, reveal)


def removals(r: XfrmSa, netlink: Netlink) -> list[Message]:
    """The messages that remove all states of a key daemon's association."""
    found = []
    for _, body in netlink.dump(_GETSA, b""):
        one = _State(r.ns, body)
        if one.sa().key == r.key:
            found.append(_remove(one.src, one.dst, one.spi, *one.mark))
    return found


def read_policies(ns: str, dump: Dump) -> Iterator[Resource]:
    """Policies; what no ``XfrmPolicy`` can be is ``Foreign``."""
    end = _SELECTOR.size + len(_NO_LIMIT)
    for _, body in dump:
        priority, _, direction, action, _, _ = _POLICY_END.unpack_from(body, end)
        if direction >= len(_DIRS):
            continue
        found = attributes(body, end + _POLICY_END.size)
        selector = _read_selector(body)
        templates = found.get(_TMPL, b"")
        mark, mask = struct.unpack("=II", found.get(_MARK, bytes(8)))
        template = _read_template(templates)
        where = _DIRS[direction]
        if action or template is None:
            words = "block" if action else f"{len(templates) // _TEMPLATE.size} templates"
            yield Foreign(ns, "xfrm policy", f"{where} {selector} priority {priority}", words)
        else:
            yield XfrmPolicy(ns, where, selector, template, priority, mark, mask)


def _read_template(data: bytes) -> Template | None:
    if len(data) != _TEMPLATE.size:
        return None
    dst, spi, proto, family, src, reqid, mode, _, optional, *_ = _TEMPLATE.unpack(data)
    if proto != _ESP or mode >= len(_MODES) or optional:
        return None
    number = int.from_bytes(spi, "big")
    return Template(_text(src, family), _text(dst, family), _MODES[mode], reqid, number)


class _State:
    """A state as a dump has it."""

    def __init__(self, ns: str, body: bytes) -> None:
        self.ns, self.body = ns, body
        at = _SELECTOR.size
        dst, spi, self.proto = _ID.unpack_from(body, at)
        at += _ID.size
        src = body[at : at + 16]
        at += 16 + len(_NO_LIMIT)
        *_, self.reqid, family, self.mode, self.window, self.flags = _STATE_END.unpack_from(
            body, at
        )
        self.src, self.dst = _text(src, family), _text(dst, family)
        self.spi = int.from_bytes(spi, "big")
        self.found = attributes(body, at + _STATE_END.size)
        self.mark: tuple[int, int] = struct.unpack("=II", self.found.get(_MARK, bytes(8)))

    def sa(self) -> XfrmSa:
        mode: Mode = _MODES[self.mode] if self.mode < len(_MODES) else "tunnel"
        encap = ""
        if _ENCAP in self.found:
            encap = "{} {}".format(*struct.unpack_from(">HH", self.found[_ENCAP], 2))
        algorithm = self.algorithm()
        return XfrmSa(self.ns, self.src, self.dst, mode, self.reqid, algorithm, encap)

    def algorithm(self) -> str:
        """Empty where there is none."""
        words = [
            f"{name} {bits} icv {icv_bit}" if icv_bit else f"{name} {bits}"
            for kind in (_AEAD, _AUTH_TRUNC, _CRYPT)
            if kind in self.found
            for name, bits, icv_bit in (_algorithm(self.found[kind], kind != _CRYPT),)
        ]
        return " ".join(words)

    def ours(self) -> XfrmState | None:
        """As a state with a key; None where it is of another sort."""
        found = self.found
        if _AEAD not in found or _algorithm(found[_AEAD], True)[0] != AEAD or self.mode > 1:
            return None
        window = self.window
        if _REPLAY_ESN in found:
            window = struct.unpack_from("=6I", found[_REPLAY_ESN])[5]
        # the kernel fills in nothing but the family: where all else is empty, none was asked for
        anything = not any(self.body[:40]) and not any(self.body[42:45])
        selector = None if anything else _read_selector(self.body)
        return XfrmState(
            self.ns, self.src, self.dst, self.spi, _MODES[self.mode],
            found[_AEAD][72:].hex(), self.reqid, _algorithm(found[_AEAD], True)[2],
            bool(self.flags & _FLAG_ESN), window, *self.mark,
            _u32(found.get(_SET_MARK)), _u32(found.get(_SET_MARK_MASK)),
            selector,
        )  # fmt: skip


def read_states(
    ns: str, dump: Dump, known: Mapping[Key, Resource], reveal: Reveal
) -> Iterator[Resource]:
    """States, those of a key daemon one for each pair of addresses and ``reqid``."""
    told = {}
    for _, body in dump:
        one = _State(ns, body)
        if one.proto != _ESP:
            name = f"src {one.src} dst {one.dst} spi {one.spi:#010x}"
            yield Foreign(ns, "xfrm state", name, f"proto {one.proto}")
        elif one.algorithm():
            own = one.ours()
            planned = known.get(own.key) if own else None
            if own is not None and type(planned) is XfrmState:
                same = reveal(planned.secret) == own.secret
                yield own._replace(secret=planned.secret if same else _ANOTHER_KEY)
            else:
                sa = one.sa()
                perhaps = getattr(known.get(sa.key), "if_present", False)
                told[sa.key] = sa._replace(if_present=perhaps)
    yield from told.values()


def _algorithm(data: bytes, checks: bool) -> tuple[str, int, int]:
    """(name, bits of key, bits of check value or zero)."""
    bits, icv_bit = struct.unpack_from("=II", data + bytes(4), 64)
    return data[:64].rstrip(b"\0").decode(), bits, icv_bit if checks else 0


def _u32(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "little")
