"""A VXLAN mesh programmed from outside: no learning, no flooding, every peer written down."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.plan.resources import Fdb, Neigh, Resource, Route

OVERHEAD_IPV4 = 50
"""Bytes that VXLAN adds to an inner IP packet over IPv4: Ethernet 14, IP 20, UDP 8, VXLAN 8."""
OVERHEAD_IPV6 = 70
"""Over IPv6, whose own header is 20 bytes longer."""


def peer(
    node: str, dev: str, subnet: str, gateway: str, vtep_mac: str, underlay: str
) -> Iterator[Resource]:
    """What ``node`` needs to reach a remote ``subnet``: neighbour, forwarding entry, route.

    ``gateway`` is the peer's address on its VXLAN device; it lies in no connected subnet,
    hence onlink.
    """
    yield Neigh(node, dev, gateway, vtep_mac)
    yield Fdb(node, dev, vtep_mac, underlay)
    yield Route(node, subnet, gateway, dev, onlink=True)
