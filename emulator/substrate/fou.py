"""Ports of foo-over-UDP and GUE, by generic netlink.

The kernel wants the privilege over the machine for them, and not over a namespace. It does not
load its module for them, nor for a tunnel in UDP, as it does for devices.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing

from emulator.plan.resources import Fou
from emulator.substrate.netlink import Message, Netlink, attr, attributes

_NETLINK_GENERIC = 16
_GENL_ID_CTRL = 16
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2
_FOU_CMD_ADD, _FOU_CMD_DEL, _FOU_CMD_GET = 1, 2, 3
_FOU_ATTR_PORT, _FOU_ATTR_AF, _FOU_ATTR_IPPROTO, _FOU_ATTR_TYPE = 1, 2, 3, 4
_DIRECT, _GUE = 1, 2
_AF = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}


def present() -> int:
    """The number of the family, or zero where it is not loaded. Loads nothing."""
    with _open() as link:
        for _, body in link.dump(_GENL_ID_CTRL, _head(_CTRL_CMD_GETFAMILY)):
            found = attributes(body, 4)
            if found.get(_CTRL_ATTR_FAMILY_NAME, b"").rstrip(b"\0") == b"fou":
                return _u16(found[_CTRL_ATTR_FAMILY_ID])
    return 0


def ports(ns: str, family: int) -> Iterator[Fou]:
    """Those of the calling thread's namespace; ``family`` is the number of above."""
    with _open() as link:
        for _, body in link.dump(family, _head(_FOU_CMD_GET)):
            found = attributes(body, 4)
            direct = found[_FOU_ATTR_TYPE][0] == _DIRECT
            yield Fou(
                ns,
                int.from_bytes(found[_FOU_ATTR_PORT][:2], "big"),
                "fou" if direct else "gue",
                "ip6" if found[_FOU_ATTR_AF][0] == socket.AF_INET6 else "ip",
                found[_FOU_ATTR_IPPROTO][0] if direct else 0,
            )


def load(six: bool) -> None:
    """Have the modules, as far as this machine has them and this user may load them; with
    ``six`` also what a tunnel over IPv6 takes."""
    modprobe = shutil.which("modprobe") or shutil.which("modprobe", path="/usr/sbin:/sbin")
    if modprobe and os.geteuid() == 0:
        command = [modprobe, "-qa", "fou", *(["fou6"] if six else [])]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)


def add(r: Fou) -> None:
    """Open a port in the calling thread's namespace. OSError: EADDRINUSE, EPERM, ENOENT."""
    load(r.family == "ip6")
    body = attr(_FOU_ATTR_PORT, struct.pack(">H", r.port))
    body += attr(_FOU_ATTR_AF, bytes([_AF[r.family]]))
    if r.type == "fou":
        body += attr(_FOU_ATTR_IPPROTO, bytes([r.protocol]))
    body += attr(_FOU_ATTR_TYPE, bytes([_DIRECT if r.type == "fou" else _GUE]))
    _do(_FOU_CMD_ADD, body)


def delete(r: Fou) -> None:
    """Close it. OSError: EINVAL where there is none."""
    body = attr(_FOU_ATTR_PORT, struct.pack(">H", r.port))
    _do(_FOU_CMD_DEL, body + attr(_FOU_ATTR_AF, bytes([_AF[r.family]])))


def _do(command: int, body: bytes) -> None:
    with _open() as link:
        family = present()
        if not family:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        for _, number, words in link.send([Message(family, 0, _head(command) + body)]):
            raise OSError(number, words or os.strerror(number))


def _open() -> closing[Netlink]:
    """A socket of generic netlink, of the calling thread's namespace."""
    return closing(Netlink(_NETLINK_GENERIC))


def _head(command: int) -> bytes:
    return struct.pack("=BBxx", command, 1)


def _u16(data: bytes) -> int:
    return int.from_bytes(data[:2], "little")
