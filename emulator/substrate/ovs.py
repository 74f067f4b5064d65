"""The kernel's datapath of Open vSwitch by generic netlink: datapaths, ports, flows, packets.

Nothing of Open vSwitch's programs is needed. The kernel chooses the numbers of interfaces here.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator, Sequence
from socket import if_nametoindex
from typing import NamedTuple

from emulator.plan.ovs import Ovs, OvsDatapath, OvsVxlan
from emulator.substrate.generic import Generic
from emulator.substrate.netlink import attr, attr_str, attr_u32, attributes

BORN_MTU = {"ovs-datapath": 1500, "ovs-vxlan": 65535}
"""Of interfaces that are made here."""

VPORT, FLOW, PACKET = "ovs_vport", "ovs_flow", "ovs_packet"
_DATAPATH = "ovs_datapath"
NEW, DEL, _GET, _SET = 1, 2, 3, 4
MISS, _EXECUTE = 1, 3
NETDEV, INTERNAL, VXLAN = 1, 2, 4

_DP_NAME, _DP_UPCALL, _DP_FEATURES, _DP_READERS = 1, 2, 5, 8
_BY_CPU = 1 << 3
_PORT_NO, _PORT_TYPE, _PORT_NAME, _PORT_OPTIONS, _PORT_UPCALL = 1, 2, 3, 4, 5
_DST_PORT = 1
_FLOW_KEY, _FLOW_ACTIONS, _FLOW_USED, _FLOW_CLEAR, _FLOW_MASK = 1, 2, 5, 6, 7
_PACKET, _PACKET_KEY, _PACKET_ACTIONS = 1, 2, 3
_KEY_IN_PORT, _KEY_ETHERNET, _KEY_TUNNEL = 3, 4, 16
_TUNNEL_ID, _TUNNEL_SRC, _TUNNEL_DST, _TUNNEL_TOS, _TUNNEL_TTL, _TUNNEL_DF = range(6)
_OUTPUT, _SET_FIELD = 1, 3
_TTL = 64

_DP = struct.Struct("=i")


class Port(NamedTuple):
    """A port of a datapath: ``type`` is NETDEV, INTERNAL or VXLAN."""

    number: int
    type: int
    name: str


class Tunnel(NamedTuple):
    """The outside of a packet in VXLAN: VNI and IPv4 addresses (4 bytes each)."""

    id: int
    src: bytes
    dst: bytes


class Key(NamedTuple):
    """What a flow is known by: where a frame comes in, its MAC addresses (6 bytes each), and where
    it came by a tunnel how."""

    in_port: int
    eth_src: bytes
    eth_dst: bytes
    tunnel: Tunnel | None = None


class Output(NamedTuple):
    """Send it out at a port; through a tunnel where that is one."""

    port: int
    tunnel: Tunnel | None = None


class Flow(NamedTuple):
    """A flow as the kernel holds it; ``used``: since its counters were cleared."""

    key: Key
    actions: tuple[Output, ...]
    used: bool


def create(r: Ovs) -> None:
    """Make one in the calling thread's network namespace. OSError."""
    link = Generic()
    try:
        if type(r) is OvsDatapath:
            body = _DP.pack(0) + attr_str(_DP_NAME, r.name) + attr_u32(_DP_UPCALL, 0)
            link.send(_DATAPATH, NEW, body)
            return
        assert not isinstance(r, OvsDatapath)
        vxlan = type(r) is OvsVxlan
        name = r.name if isinstance(r, OvsVxlan) else r.dev
        body = _DP.pack(_index(r.datapath)) + attr_str(_PORT_NAME, name)
        body += attr_u32(_PORT_TYPE, VXLAN if vxlan else NETDEV) + attr_u32(_PORT_UPCALL, 0)
        if isinstance(r, OvsVxlan):
            body += attr(_PORT_OPTIONS, attr(_DST_PORT, struct.pack("=H", r.port)))
        link.send(VPORT, NEW, body)
    finally:
        link.close()


def delete(r: Ovs) -> None:
    """Remove one from the calling thread's network namespace. OSError."""
    link = Generic()
    try:
        if isinstance(r, OvsDatapath):
            link.send(_DATAPATH, DEL, _DP.pack(0) + attr_str(_DP_NAME, r.name))
        else:
            name = r.name if isinstance(r, OvsVxlan) else r.dev
            link.send(VPORT, DEL, _DP.pack(0) + attr_str(_PORT_NAME, name))
    finally:
        link.close()


def _index(name: str) -> int:
    """The index of an interface. OSError (ENODEV), which Python's own leaves out."""
    try:
        return if_nametoindex(name)
    except OSError as error:
        raise OSError(errno.ENODEV, f"no interface {name}") from error


class Datapath:
    """A datapath of the namespace that the calling thread is in, for who writes its flows."""

    def __init__(self, link: Generic, name: str) -> None:
        """OSError where there is none of the name."""
        self._link = link
        self._head = _DP.pack(_index(name))

    def ports(self) -> list[Port]:
        """All of its ports."""
        found = []
        for data in self._link.dump(VPORT, _GET, self._head):
            if data[: _DP.size] == self._head:
                of = attributes(data, _DP.size)
                name = of[_PORT_NAME].rstrip(b"\0").decode()
                found.append(Port(_u32(of[_PORT_NO]), _u32(of[_PORT_TYPE]), name))
        return found

    def listen(self, ports: Iterable[Port], reader: int) -> None:
        """Send what no flow of these ports takes to a socket of generic netlink.

        Whoever looks with Open vSwitch's own tools (``ovs-dpctl show``) sets the datapath to ask
        the reader of a packet's CPU and no longer that of its port: it is the same one here.
        """
        for port in ports:
            body = attr_u32(_PORT_NO, port.number) + attr_u32(_PORT_UPCALL, reader)
            self._link.send(VPORT, _SET, self._head + body)
        body = attr_u32(_DP_FEATURES, _BY_CPU) + attr(_DP_READERS, struct.pack("=I", reader))
        try:
            self._link.send(_DATAPATH, _SET, self._head + body)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:  # a kernel before 5.14 knows ports alone
                raise

    def flows(self) -> list[Flow]:
        """All of its flows."""
        return list(map(_read_flow, self._link.dump(FLOW, _GET, self._head)))

    def add(self, key: Key, actions: Iterable[Output]) -> None:
        """Write a flow, or write it anew."""
        body = _flow(key) + attr(_FLOW_ACTIONS, _actions(actions))
        self._link.send(FLOW, NEW, self._head + body)  # with a flag it would be for new ones alone

    def clear(self, flow: Flow) -> None:
        """Begin to count anew whether it is used."""
        body = (
            _flow(flow.key) + attr(_FLOW_ACTIONS, _actions(flow.actions)) + attr(_FLOW_CLEAR, b"")
        )
        self._link.send(FLOW, _SET, self._head + body)

    def remove(self, key: Key) -> None:
        """Remove a flow."""
        self._link.send(FLOW, DEL, self._head + _flow(key))

    def flush(self) -> None:
        """Remove all flows."""
        self._link.send(FLOW, DEL, self._head)

    def execute(self, packet: bytes, key: bytes, actions: Sequence[Output]) -> None:
        """Do with a packet what a flow would. ``key``: as it came with it."""
        body = attr(_PACKET, packet) + attr(_PACKET_KEY, key)
        self._link.send(
            PACKET, _EXECUTE, self._head + body + attr(_PACKET_ACTIONS, _actions(actions))
        )


def read_miss(data: bytes) -> tuple[bytes, bytes, Key]:
    """A packet that no flow took, behind the head of its family: frame, key as it came, key."""
    of = attributes(data, _DP.size)
    return of[_PACKET], of[_PACKET_KEY], _read_key(of[_PACKET_KEY])


def _read_flow(data: bytes) -> Flow:
    of = attributes(data, _DP.size)
    actions: list[Output] = []
    tunnel: Tunnel | None = None
    for kind, value in _each(of.get(_FLOW_ACTIONS, b"")):
        if kind == _SET_FIELD:
            tunnel = _read_tunnel(attributes(value)[_KEY_TUNNEL])
        elif kind == _OUTPUT:
            actions.append(Output(_u32(value), tunnel))
            tunnel = None
    return Flow(_read_key(of[_FLOW_KEY]), tuple(actions), _FLOW_USED in of)


def _each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Attributes in their order; several of one kind are several."""
    at = 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        yield kind & 0x3FFF, data[at + 4 : at + size]
        at += (size + 3) & ~3


def _read_key(data: bytes) -> Key:
    of = attributes(data)
    ethernet = of[_KEY_ETHERNET]
    tunnel = _read_tunnel(of[_KEY_TUNNEL]) if _KEY_TUNNEL in of else None
    return Key(_u32(of[_KEY_IN_PORT]), ethernet[:6], ethernet[6:12], tunnel)


def _read_tunnel(data: bytes) -> Tunnel:
    of = attributes(data)
    return Tunnel(int.from_bytes(of.get(_TUNNEL_ID, b""), "big"), of[_TUNNEL_SRC], of[_TUNNEL_DST])


def _flow(key: Key) -> bytes:
    """Key and mask: everything that is in no key is any."""
    words = attr_u32(_KEY_IN_PORT, key.in_port) + attr(_KEY_ETHERNET, key.eth_src + key.eth_dst)
    mask = attr_u32(_KEY_IN_PORT, 0xFFFFFFFF) + attr(_KEY_ETHERNET, b"\xff" * 12)
    if key.tunnel:
        # the kernel wants a TTL in each key, whether or not it is to be looked at
        words += attr(_KEY_TUNNEL, _outside(key.tunnel) + attr(_TUNNEL_TTL, b"\0"))
        exact = Tunnel((1 << 64) - 1, b"\xff" * 4, b"\xff" * 4)
        mask += attr(_KEY_TUNNEL, _outside(exact) + attr(_TUNNEL_TTL, b"\0"))
    return attr(_FLOW_KEY, words) + attr(_FLOW_MASK, mask)


def _outside(tunnel: Tunnel) -> bytes:
    return (
        attr(_TUNNEL_ID, tunnel.id.to_bytes(8, "big"))
        + attr(_TUNNEL_SRC, tunnel.src)
        + attr(_TUNNEL_DST, tunnel.dst)
    )


def _actions(actions: Iterable[Output]) -> bytes:
    body = b""
    for port, tunnel in actions:
        if tunnel:
            outside = _outside(tunnel) + attr(_TUNNEL_TOS, b"\0")
            outside += attr(_TUNNEL_TTL, bytes([_TTL])) + attr(_TUNNEL_DF, b"")
            body += attr(_SET_FIELD, attr(_KEY_TUNNEL, outside))
        body += attr_u32(_OUTPUT, port)
    return body


def _u32(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")
