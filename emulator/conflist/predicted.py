"""What the reference plugins are certain to do with a conflist: addresses that host-local gives."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from emulator.conflist.model import Conflist
from emulator.conflist.reading import Json


class Range(NamedTuple):
    """Where addresses come from: ``first`` on, in order, but the gateway."""

    subnet: IPv4Network
    gateway: IPv4Address
    first: IPv4Address


def per_node(conflist: Conflist) -> bool:
    """Whether addresses come from the node's pod subnet, which the runtime tells."""
    main = conflist.plugins[0]
    own = main.ipam()
    return (
        own.get("type") == "host-local"
        and "ipRanges" in main.capabilities()
        and not own.get("ranges")
        and not own.get("subnet")
    )


def fixed_range(conflist: Conflist) -> Range | None:
    """The one IPv4 range that host-local is given in the conflist; None where it is not so.

    Ranges of IPv6 may stand beside it: each gives an address more.
    """
    main = conflist.plugins[0]
    own = main.ipam()
    ranges = own.get("ranges")
    sets: list[Json] = list(ranges) if isinstance(ranges, list) else []
    if own.get("subnet"):
        sets = [[own], *sets]
    sets = [one for one in sets if not _of_ipv6(one)]
    if own.get("type") != "host-local" or "ipRanges" in main.capabilities() or len(sets) != 1:
        return None
    (only,) = sets
    if not isinstance(only, list) or len(only) != 1 or not isinstance(only[0], dict):
        return None
    given = only[0]
    try:
        subnet = IPv4Network(given.get("subnet"), strict=False)
        gateway = IPv4Address(given.get("gateway") or int(subnet.network_address) + 1)
        first = IPv4Address(given.get("rangeStart") or int(subnet.network_address) + 1)
    except ValueError:
        return None
    return Range(subnet, gateway, first)


def _of_ipv6(ranges: Json) -> bool:
    listed = ranges if isinstance(ranges, list) else []
    return bool(listed) and all(isinstance(r, dict) and ":" in str(r.get("subnet")) for r in listed)


def order(given: Range, count: int) -> list[str]:
    """The first addresses that host-local hands out when nothing is reserved yet."""
    found: list[str] = []
    at = int(given.first)
    while len(found) < count:
        if at != int(given.gateway):
            found.append(str(IPv4Address(at)))
        at += 1
    return found
