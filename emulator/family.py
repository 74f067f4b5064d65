"""The two address families: what differs between them beside the length of an address.

Addresses and prefixes are canonical text everywhere, and that text tells the family.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Family(NamedTuple):
    """IPv4 or IPv6. ``bits`` of an address; ``nft`` as nftables calls tables of the family;
    ``ttl`` is what the family calls the field that counts hops."""

    name: Literal["IPv4", "IPv6"]
    bits: int
    default: str
    """The destination of a default route in a plan."""
    nft: Literal["ip", "ip6"]
    multicast: str
    ttl: str


IPV4 = Family("IPv4", 32, "default", "ip", "224.0.0.0/4", "TTL")
IPV6 = Family("IPv6", 128, "::/0", "ip6", "ff00::/8", "hop limit")

LEAST_MTU_B = 1280
"""What IPv6 asks of every link: below, the kernel takes IPv6 off an interface."""


def family(text: str) -> Family:
    """The family of an address or a prefix."""
    return IPV6 if ":" in text else IPV4
