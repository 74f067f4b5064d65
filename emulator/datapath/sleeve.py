"""One bridge on every node, joined by a process that carries its frames in UDP: Weave's sleeve.

The layout that Weave calls *bridge*: a Linux bridge, and as one of its ports the end
``vethwe-bridge`` of a cable whose other end, ``vethwe-pcap``, frames are captured from and put
into. The process is ``sleeve``, ours, with the wire of Weave's; where there is a password it is
``sleeve-nacl``, with the encrypted one. Weave's routers draw keys for each connection; these have
one each for as long as the lab lasts. All devices have the
MTU of 65535: what the underlay's path takes is the process's to say, by ICMP.

Frames go through user space as they are. So whoever sends them completes their checksums (no
offload of them on the bridge and on pods' ends), and nobody merges them before they are captured
(no aggregation on the nodes' ends of pods' cables): a merged frame is too long for any path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from emulator.datapath import offload
from emulator.datapath.naming import mac
from emulator.plan.resources import File, Interface, Resource, Sysctl, daemon, veth
from emulator.spec.resolved import Offload

MTU = 65535
OVERHEAD_IPV4 = 62
"""Bytes between an inner IP packet and an outer one: Ethernet 14, the frame's head 14, the
sender's name 6, UDP 8, IP 20."""
OVERHEAD_ENCRYPTED_IPV4 = 86
"""With the number of the datagram (8) and the code that authenticates it (16)."""
PORT = 6783
PORT_OF_BRIDGE = "vethwe-bridge"
CAPTURED = "vethwe-pcap"


class Peer(NamedTuple):
    """Another node: its name among routers, a MAC address, its underlay address, its public key
    where frames are encrypted."""

    name: str
    underlay: str
    public_key: str = ""


class Keys(NamedTuple):
    """Of one node: its own private key (X25519, base64), and the password of all."""

    private: str
    password: str


class SleeveSettings(NamedTuple):
    """Of one node. ``name`` is its own among routers (the MAC address of its bridge), ``process``
    the process, ``path`` its settings; ``underlay_mtu`` that of the node's interface."""

    node: str
    bridge: str
    name: str
    offload: Offload
    process: str
    path: str
    underlay_mtu: int
    peers: Sequence[Peer]
    keys: Keys | None = None


class Features(NamedTuple):
    """The last four values of an :class:`~emulator.plan.resources.Interface`."""

    tso: bool
    gso: bool
    gro: bool
    tx: bool


def features(profile: Offload, end: Literal["bridge", "pod", "node"]) -> Features:
    """The offloads of the bridge, of a pod's own end of its cable, and of the node's end of it."""
    tso, gso, gro = offload.features(profile, "bridge" if end == "bridge" else "pod")
    return Features(tso, gso, gro and end != "node", end == "node")


def path_mtu(underlay_mtu: int, encrypted: bool = False) -> int:
    """The largest IP packet from node to node that must not be fragmented."""
    return underlay_mtu - (OVERHEAD_ENCRYPTED_IPV4 if encrypted else OVERHEAD_IPV4)


def node(s: SleeveSettings) -> Iterator[Resource]:
    """The cable from the bridge to the process, and the process; the bridge is the plugin's."""
    ends = features(s.offload, "node")
    yield veth(s.node, PORT_OF_BRIDGE, s.node, CAPTURED)
    for end, master in ((PORT_OF_BRIDGE, s.bridge), (CAPTURED, "")):
        yield Interface(s.node, end, True, MTU, mac(s.node, end), master, False, *ends)
        yield Sysctl(s.node, f"net/ipv6/conf/{end}/accept_ra", "0", True)
    yield File(s.node, s.path, _settings(s))
    program = "sleeve-nacl" if s.keys else "sleeve"
    yield daemon(s.node, s.process, (program, s.path), s.path)


def active(s: SleeveSettings) -> File:
    """What the process writes when its settings are in force: for the plugin's ``learnt``."""
    return File(s.node, f"{s.path}.active", _settings(s))


def _settings(s: SleeveSettings) -> str:
    # the MTU makes it another file, which is read again: then every path is measured anew
    rows = [
        f"# to an underlay with an MTU of {s.underlay_mtu}",
        f"capture {CAPTURED}",
        f"port {PORT}",
        f"name {s.name}",
        *((f"private {s.keys.private}", f"password {s.keys.password}") if s.keys else ()),
        *(f"peer {p.name} {p.underlay} {p.public_key}".rstrip() for p in s.peers),
    ]
    return "\n".join(rows) + "\n"
