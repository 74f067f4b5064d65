"""Generic netlink: families of messages with a name, and a number once their module is there."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from emulator.substrate.netlink import Message, Netlink, attr_str, attributes

_PROTOCOL = 16
_CTRL, _GETFAMILY = 16, 3
_FAMILY_ID, _FAMILY_NAME, _MCAST_GROUPS = 1, 2, 7
_GROUP_NAME, _GROUP_ID = 1, 2
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_HEAD = struct.Struct("=BBxx")


class Family(NamedTuple):
    """``groups``: the numbers of its multicast groups by name."""

    number: int
    groups: dict[str, int]


class Generic:
    """A generic netlink socket of the network namespace that the calling thread is in."""

    def __init__(self) -> None:
        self._netlink = Netlink(_PROTOCOL)
        self._families: dict[str, Family] = {}
        self.socket = self._netlink.socket

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def family(self, name: str) -> Family:
        """A family by its name; to ask loads its module. OSError (ENOENT) where there is none."""
        found = self._families.get(name)
        if found is None:
            body = _HEAD.pack(_GETFAMILY, 2) + attr_str(_FAMILY_NAME, name)
            (answer,) = self._netlink.ask([Message(_CTRL, 4, body)])
            if answer is None:
                raise FileNotFoundError(2, f"no family {name} of generic netlink in this kernel")
            values = attributes(answer, 4)
            number = int.from_bytes(values[_FAMILY_ID], "little")
            groups = {}
            for one in attributes(values.get(_MCAST_GROUPS, b"")).values():
                of = attributes(one)
                label = of[_GROUP_NAME].rstrip(b"\0").decode()
                groups[label] = int.from_bytes(of[_GROUP_ID], "little")
            found = self._families[name] = Family(number, groups)
        return found

    def send(self, family: str, command: int, body: bytes, flags: int = 0) -> None:
        """A request without an answer. OSError with the kernel's words."""
        message = Message(self.family(family).number, flags, _HEAD.pack(command, 1) + body)
        for _, number, words in self._netlink.send([message]):
            raise OSError(number, words or os.strerror(number))

    def dump(self, family: str, command: int, body: bytes) -> Iterator[bytes]:
        """All objects that a command names, without heads of netlink and of the family."""
        found = self._netlink.dump(self.family(family).number, _HEAD.pack(command, 1) + body)
        return (data[_HEAD.size :] for _, data in found)

    def listen(self, family: str, group: str) -> None:
        """Take part in a multicast group."""
        number = self.family(family).groups[group]
        self.socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, number)

    @property
    def port(self) -> int:
        """The address of the socket, which others send to."""
        number: int = self.socket.getsockname()[0]
        return number
