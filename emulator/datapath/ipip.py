"""A mesh of IPv4 in IPv4: one device for all peers, and a route to each with its underlay address
for a gateway. There is no address below IP, so no neighbour and no forwarding entry."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.datapath.offload import features
from emulator.plan.resources import Interface, Resource, Route, Tunnel
from emulator.spec.resolved import Offload

OVERHEAD = 20
"""Bytes of the outer header."""
TUNL0 = "tunl0"
"""The device that the kernel has of itself, from any address to any."""


def device(node: str, dev: str, local: str, mtu: int, offload: Offload) -> Iterator[Resource]:
    """The device; ``local`` is empty for :data:`TUNL0`.

    Outer packets have the mark "don't fragment" only if the inner one has it, and what is inside
    may be anything: that is what a program gets that says nothing of it, and what ``tunl0`` has.
    """
    yield Tunnel(node, dev, "ipip", local, pmtudisc=False, any_mode=True)
    yield Interface(node, dev, True, mtu, "", "", False, *features(offload, "tunnel"))


def peer(node: str, dev: str, subnet: str, underlay: str, proto: str = "boot") -> Route:
    """The way to a peer's pods. The outer header takes the gateway for its destination, which no
    network of the device holds: hence onlink."""
    return Route(node, subnet, underlay, dev, onlink=True, proto=proto)
