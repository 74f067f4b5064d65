"""A TUN device between the kernel's routes and a process that carries packets in UDP.

The process is ``udp-proxy``, ours, with flannel's wire. It is handed a device that is there and
configured already: so a change of the plan is a difference like any other, and a process that is
started again by the lab finds everything as it left it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from emulator.datapath.offload import features
from emulator.plan.resources import Addr, File, Interface, Resource, Route, Tun, daemon
from emulator.spec.resolved import Offload

OVERHEAD_IPV4 = 28
"""Bytes that UDP adds to an inner IP packet over IPv4: IP 20, UDP 8."""


class Peer(NamedTuple):
    """Another node: its pods' subnet (``10.244.2.0/24``) and its underlay address."""

    subnet: str
    underlay: str


class ProxySettings(NamedTuple):
    """Of one node. ``address`` is the device's, ``network`` what is routed into it; ``name`` the
    process, ``path`` its settings; ``port`` is UDP, at ``underlay`` and at every peer."""

    node: str
    dev: str
    address: str
    network: str
    mtu: int
    offload: Offload
    name: str
    path: str
    underlay: str
    port: int
    peers: Sequence[Peer]


def node(s: ProxySettings) -> Iterator[Resource]:
    """The device with its address, the one route, and the process with its table."""
    yield Tun(s.node, s.dev)
    yield Interface(s.node, s.dev, True, s.mtu, "", "", False, *features(s.offload, "tunnel"))
    # /32, or the kernel would add a connected route for the whole subnet
    yield Addr(s.node, s.dev, f"{s.address}/32")
    yield Route(s.node, s.network, "", s.dev)
    yield File(s.node, s.path, _settings(s))
    yield daemon(s.node, s.name, ("udp-proxy", s.path), s.path, holds=(s.dev,))


def active(s: ProxySettings) -> File:
    """What the process writes when its table is in force."""
    return File(s.node, f"{s.path}.active", _settings(s))


def _settings(s: ProxySettings) -> str:
    rows = [
        f"device {s.dev}",
        f"address {s.address}",
        f"listen {s.underlay} {s.port}",
        *(f"peer {peer.subnet} {peer.underlay} {s.port}" for peer in s.peers),
    ]
    return "\n".join(rows) + "\n"
