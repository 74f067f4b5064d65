"""What every namespace of a lab starts from, whatever host it is made on.

A fresh network namespace has ``lo`` down, and copies IPv4 settings (forwarding, reverse
path filter) from the host: on a machine that forwards, pods would forward too. So both
are in the plan.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.plan.resources import Interface, Netns, Resource, Sysctl

LOOPBACK_MTU = 65536


def namespace(ns: str, *, forwards: bool, congestion_control: str | None) -> Iterator[Resource]:
    """A namespace with ``lo`` up, forwarding as said, and the congestion control if pinned."""
    yield Netns(ns)
    yield Interface(ns, "lo", True, LOOPBACK_MTU)
    yield Sysctl(ns, "net/ipv4/ip_forward", "1" if forwards else "0")
    if congestion_control:
        yield Sysctl(ns, "net/ipv4/tcp_congestion_control", congestion_control)


def no_reverse_path_filter(ns: str, *devices: str) -> Iterator[Resource]:
    """No reverse path filter, which distributions switch on and plugins do not ask for.

    What holds is the greater of an interface's own value and that of all; and an interface that
    is there before ``default`` is written was born with the host's.
    """
    for scope in devices or ("all", "default"):
        yield Sysctl(ns, f"net/ipv4/conf/{scope}/rp_filter", "0")
