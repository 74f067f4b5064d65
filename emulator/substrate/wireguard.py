"""WireGuard devices and their peers by generic netlink (linux/wireguard.h).

The device itself is a link like others; keys, port, mark and peers are set and read through a
socket of another protocol. Keys are put in the place of their words here and nowhere else, and on
the way back words in the place of keys: a shared key that no plan knows is not shown.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby

from emulator.plan.resources import Resource, Wireguard, WireguardPeer
from emulator.secrets import Secrets, private_half, words
from emulator.substrate.decode import Dump, address
from emulator.substrate.netlink import Message, Netlink, attr, attr_str, attr_u32, attributes
from emulator.substrate.refusal import refused

_NETLINK_GENERIC = 16
_CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 0x10, 3, 1, 2
_GENERIC = struct.Struct("=BBxx")
_GET, _SET, _VERSION = 0, 1, 1
_IFNAME, _PRIVATE_KEY, _PUBLIC_KEY, _PORT, _FWMARK, _PEERS = 2, 3, 4, 6, 7, 8
_P_PUBLIC_KEY, _P_SHARED_KEY, _P_FLAGS, _P_ENDPOINT, _P_KEEPALIVE, _P_ALLOWED = 1, 2, 3, 4, 5, 9
_A_FAMILY, _A_ADDRESS, _A_LENGTH = 1, 2, 3
_REMOVE, _REPLACE_ALLOWED = 1, 2
_NESTED = 0x8000
_NO_KEY = bytes(32)
UNKNOWN = "{unknown key}"
"""Stands for a shared key that is of no plan."""


class Controls:
    """Sets and reads WireGuard devices in the network namespace that the thread is in."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def configure(self, wanted: Iterable[Wireguard | WireguardPeer]) -> None:
        """Devices that are there, and peers of theirs. KernelRefused with the first that fails."""
        self._send([(self._body(r), r) for r in wanted])

    def remove(self, peers: Iterable[WireguardPeer]) -> None:
        """Let peers go; KernelRefused where their device is not there."""
        self._send([(no_peer(r, self._secrets), r) for r in peers])

    def read(
        self, ns: str, devices: Iterable[str], known: Iterable[Resource]
    ) -> Iterator[Resource]:
        """Devices and peers as resources, with the words of ``known`` for their keys."""
        spoken = {word for r in known for word in _words(r)}
        names = {self._secrets.reveal(word): word for word in spoken}
        with closing(Netlink(_NETLINK_GENERIC)) as link:
            number = _family(link)
            for dev in devices:
                body = _GENERIC.pack(_GET, _VERSION) + attr_str(_IFNAME, dev)
                yield from decode(ns, dev, link.dump(number, body), names)

    def _body(self, r: Wireguard | WireguardPeer) -> bytes:
        if type(r) is Wireguard:
            return device(r, self._secrets)
        assert type(r) is WireguardPeer
        return peer(r, self._secrets)

    @staticmethod
    def _send(wanted: list[tuple[bytes, Resource]]) -> None:
        head = _GENERIC.pack(_SET, _VERSION)
        with closing(Netlink(_NETLINK_GENERIC)) as link:
            number = _family(link)
            messages = [Message(number, 0, head + body) for body, _ in wanted]
            for place, code, text in link.send(messages)[:1]:
                raise refused(wanted[place][1], code, text)


def device(r: Wireguard, secrets: Secrets) -> bytes:
    """What sets a device's key, port and mark."""
    private = secrets.reveal(private_half(r.public_key))
    return (
        attr_str(_IFNAME, r.name)
        + attr(_PRIVATE_KEY, _key(private))
        + attr(_PORT, struct.pack("=H", r.port))
        + attr_u32(_FWMARK, r.fwmark)
    )


def peer(r: WireguardPeer, secrets: Secrets) -> bytes:
    """What makes a peer what it should be, whatever it was."""
    shared = _key(secrets.reveal(r.shared_key)) if r.shared_key else _NO_KEY
    allowed = b"".join(attr(_NESTED, _allowed(prefix)) for prefix in r.allowed_ips)
    body = (
        attr(_P_PUBLIC_KEY, _key(secrets.reveal(r.public_key)))
        + attr_u32(_P_FLAGS, _REPLACE_ALLOWED)
        + attr(_P_SHARED_KEY, shared)
        + attr(_P_ENDPOINT, _endpoint(r.endpoint))
        + attr(_P_KEEPALIVE, struct.pack("=H", r.keepalive_s))
        + attr(_P_ALLOWED | _NESTED, allowed)
    )
    return _on(r.dev, _peers(body))


def no_peer(r: WireguardPeer, secrets: Secrets) -> bytes:
    """What takes a peer away."""
    body = attr(_P_PUBLIC_KEY, _key(secrets.reveal(r.public_key)))
    return _on(r.dev, _peers(body + attr_u32(_P_FLAGS, _REMOVE)))


def decode(ns: str, dev: str, dump: Dump, names: dict[str, str]) -> Iterator[Resource]:
    """A device and its peers; ``names``: the words for keys, by the keys in base64.

    The kernel goes on with a peer in the next message where one is full: its addresses then stand
    in two places.
    """
    rows: list[tuple[bytes, dict[int, bytes]]] = []
    for index, (_, body) in enumerate(dump):
        found = attributes(body, 4)
        if index == 0:
            key = _text(found[_PUBLIC_KEY]) if _PUBLIC_KEY in found else ""
            port = int.from_bytes(found[_PORT], "little")
            mark = int.from_bytes(found[_FWMARK], "little")
            yield Wireguard(ns, dev, names.get(key, key), port, mark)
        for row in _list(found.get(_PEERS, b"")):
            one = attributes(row)
            rows.append((one[_P_PUBLIC_KEY], one))
    for public, parts in groupby(rows, key=lambda row: row[0]):
        pieces = [part for _, part in parts]
        first, key = pieces[0], _text(public)
        shared = first.get(_P_SHARED_KEY, _NO_KEY)
        prefixes = [_prefix(row) for part in pieces for row in _list(part.get(_P_ALLOWED, b""))]
        yield WireguardPeer(
            ns,
            dev,
            names.get(key, key),
            _said(first[_P_ENDPOINT]) if _P_ENDPOINT in first else "",
            tuple(sorted(prefixes)),
            "" if shared == _NO_KEY else names.get(_text(shared), UNKNOWN),
            int.from_bytes(first.get(_P_KEEPALIVE, b""), "little"),
        )


def _family(link: Netlink) -> int:
    """The number that this kernel has given to WireGuard's messages. OSError where it has none."""
    body = _GENERIC.pack(_GET_FAMILY, 1) + attr_str(_FAMILY_NAME, "wireguard")
    (answer,) = link.ask([Message(_CONTROLLER, 0, body)])
    if answer is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), "wireguard")
    return int.from_bytes(attributes(answer, 4)[_FAMILY_ID], "little")


def _words(r: Resource) -> list[str]:
    if type(r) is Wireguard:
        return words(r.public_key)
    return words(r.public_key + r.shared_key) if type(r) is WireguardPeer else []


def _on(dev: str, body: bytes) -> bytes:
    return attr_str(_IFNAME, dev) + body


def _peers(body: bytes) -> bytes:
    return attr(_PEERS | _NESTED, attr(_NESTED, body))


def _key(text: str) -> bytes:
    return b64decode(text)


def _text(key: bytes) -> str:
    return b64encode(key).decode()


def _packed(text: str) -> tuple[int, bytes]:
    which = socket.AF_INET6 if ":" in text else socket.AF_INET
    return which, socket.inet_pton(which, text)


def _allowed(prefix: str) -> bytes:
    text, _, length = prefix.partition("/")
    which, raw = _packed(text)
    return (
        attr(_A_FAMILY, struct.pack("=H", which))
        + attr(_A_ADDRESS, raw)
        + attr(_A_LENGTH, bytes([int(length)]))
    )


def _prefix(row: bytes) -> str:
    found = attributes(row)
    return f"{address(found[_A_ADDRESS])}/{found[_A_LENGTH][0]}"


def _endpoint(text: str) -> bytes:
    """A socket address of C."""
    host, _, port = text.rpartition(":")
    which, raw = _packed(host.strip("[]"))
    if which == socket.AF_INET6:
        return struct.pack("=H", which) + struct.pack(">HI", int(port), 0) + raw + bytes(4)
    return struct.pack("=H", which) + struct.pack(">H", int(port)) + raw + bytes(8)


def _said(raw: bytes) -> str:
    """The text of a socket address."""
    (port,) = struct.unpack_from(">H", raw, 2)
    if int.from_bytes(raw[:2], "little") == socket.AF_INET6:
        return f"[{address(raw[8:24])}]:{port}"
    return f"{address(raw[4:8])}:{port}"


def _list(data: bytes) -> Iterator[bytes]:
    """The entries of a nested list, whose numbers say nothing."""
    while len(data) >= 4:
        (size,) = struct.unpack_from("=H", data)
        yield data[4:size]
        data = data[(size + 3) & ~3 :]
