"""One bridge on every node, joined by the kernel's datapath of Open vSwitch: Weave's fast datapath.

The layout that Weave calls *bridged_fastdp*: a Linux bridge, and as one of its ports the end
``vethwe-bridge`` of a cable whose other end, ``vethwe-datapath``, is a port of the datapath; its
other port is a VXLAN tunnel whose ends and number each flow sets. The flows are written by a
process, ``weave-router``, ours: neither ovs-vswitchd nor anything else of Open vSwitch's own runs.

The number of a tunnel (VNI) says between whom a frame travels: the sender's short number in the
lower 12 bits, the receiver's in the upper ones. Weave draws short numbers and settles which of two
equal ones is drawn again; here they come from the names, the first in the spec has its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from emulator.datapath.naming import mac
from emulator.datapath.offload import features
from emulator.plan.ovs import OvsDatapath, OvsVport, OvsVxlan
from emulator.plan.resources import (
    File,
    Interface,
    Resource,
    Sysctl,
    daemon,
    veth,
)
from emulator.spec.resolved import Offload

PORT = 6784
TUNNEL = f"vxlan-{PORT}"
DATAPATH = "datapath"
PORT_OF_BRIDGE = "vethwe-bridge"
PORT_OF_DATAPATH = "vethwe-datapath"
TUNNEL_MTU = 65535
"""As the kernel makes it: what a packet in the tunnel may be long is not the tunnel's to say."""
SHORT_NUMBERS = 1 << 12


class Peer(NamedTuple):
    """A node: its name among routers (a MAC address), its short number, its underlay address."""

    name: str
    short: int
    underlay: str


class FastdpSettings(NamedTuple):
    """Of one node, ``own`` among the ``peers``. ``process``: the router; ``path``: its settings."""

    node: str
    bridge: str
    mtu: int
    offload: Offload
    process: str
    path: str
    own: Peer
    peers: Sequence[Peer]


def short_numbers(names: Iterable[str]) -> Mapping[str, int]:
    """Of routers: 12 bits each, no two the same. An added name changes none of those before it.

    ValueError for more names than there are numbers.
    """
    taken: dict[int, str] = {}
    for name in names:
        if len(taken) == SHORT_NUMBERS:
            raise ValueError(f"more than {SHORT_NUMBERS} routers")
        digest = hashlib.sha1(name.encode(), usedforsecurity=False).digest()
        short = int.from_bytes(digest[:2], "big") % SHORT_NUMBERS
        while short in taken:
            short = (short + 1) % SHORT_NUMBERS
        taken[short] = name
    return {name: short for short, name in taken.items()}


def node(s: FastdpSettings) -> Iterator[Resource]:
    """The datapath with its ports, the cable to the bridge, the router; the bridge is the
    plugin's."""
    own = features(s.offload, "bridge")
    yield OvsDatapath(s.node, DATAPATH)
    yield Interface(s.node, DATAPATH, True, s.mtu, mac(s.node, DATAPATH), "", False, *own)
    yield veth(s.node, PORT_OF_BRIDGE, s.node, PORT_OF_DATAPATH)
    for end, master in ((PORT_OF_BRIDGE, s.bridge), (PORT_OF_DATAPATH, "")):
        yield Interface(s.node, end, True, s.mtu, mac(s.node, end), master, False, *own)
        yield Sysctl(s.node, f"net/ipv6/conf/{end}/accept_ra", "0", True)
    yield OvsVport(s.node, PORT_OF_DATAPATH, DATAPATH)
    yield OvsVxlan(s.node, TUNNEL, DATAPATH, PORT)
    tunnel = features(s.offload, "tunnel")
    address = mac(s.node, TUNNEL)
    yield Interface(s.node, TUNNEL, True, TUNNEL_MTU, address, "", False, *tunnel)
    yield File(s.node, s.path, _settings(s))
    yield daemon(s.node, s.process, ("weave-router", s.path), s.path)


def active(s: FastdpSettings) -> File:
    """What the process writes when its settings are in force: for the plugin's ``learnt``."""
    return File(s.node, f"{s.path}.active", _settings(s))


def _settings(s: FastdpSettings) -> str:
    rows = [f"datapath {DATAPATH}", f"name {_words(s.own)}"]
    rows += [f"peer {_words(peer)}" for peer in s.peers if peer != s.own]
    return "\n".join(rows) + "\n"


def _words(peer: Peer) -> str:
    return f"{peer.name} {peer.short} {peer.underlay}"
