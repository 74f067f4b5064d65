"""An encrypted mesh: one WireGuard device on a node, and every other node a peer of it.

What a device is handed goes to the peer whose prefixes hold its destination. Where none does, the
sender hears that the host is unreachable, a process of the node itself that a key is not
available; and what a peer sends from an address outside of its prefixes is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from emulator.datapath.offload import features
from emulator.plan.resources import Interface, Resource, Wireguard, WireguardPeer
from emulator.secrets import public_key
from emulator.spec.resolved import Offload

OVERHEAD_IPV4 = 60
"""Bytes that WireGuard adds to an inner packet over IPv4: IP 20, UDP 8, type 4, index 4, counter 8
and tag 16. Padding to 16 bytes does not count: it ends at the MTU of the device."""
OVERHEAD_IPV6 = 80
"""Over IPv6, whose own header is 20 bytes longer."""


def device(
    node: str, dev: str, key: str, port: int, mtu: int, offload: Offload, fwmark: int = 0
) -> Iterator[Resource]:
    """A device with the key of that name, and no address."""
    yield Wireguard(node, dev, public_key(key), port, fwmark)
    yield Interface(node, dev, True, mtu, "", "", False, *features(offload, "tunnel"))


def peer(
    node: str,
    dev: str,
    key: str,
    underlay: str,
    port: int,
    allowed: Iterable[str],
    shared: str = "",
    keepalive_s: int = 0,
) -> WireguardPeer:
    """Another node, reached at ``port`` of its ``underlay`` address; ``shared`` is a word."""
    host = f"[{underlay}]" if ":" in underlay else underlay
    prefixes = tuple(sorted(allowed))
    return WireguardPeer(
        node, dev, public_key(key), f"{host}:{port}", prefixes, shared, keepalive_s
    )
