"""Addresses of an interface, in one family or both."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from emulator.datapath.naming import mac
from emulator.family import IPV6, Family
from emulator.plan.resources import Addr, Resource, Sysctl


def addresses(ns: str, dev: str, *prefixes: str) -> list[Resource]:
    """Addresses with their prefix lengths, and a link-local one where there is one of IPv6, of
    an interface whose MAC address is :func:`emulator.datapath.naming.mac` of its name.

    Without a link-local address the kernel cannot ask for the neighbours of what it forwards.
    """
    made: list[Resource] = []
    for prefix in prefixes:
        made.append(Addr(ns, dev, prefix))
        if ":" in prefix:
            made.append(Addr(ns, dev, f"{link_local(mac(ns, dev))}/64", "link"))
    return made


def link_local(lladdr: str) -> str:
    """The address that the kernel makes of a MAC address by itself (EUI-64)."""
    octets = bytes.fromhex(lladdr.replace(":", ""))
    middle = bytes((octets[0] ^ 2, *octets[1:3])) + b"\xff\xfe" + octets[3:]
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + middle))


def forwarding(ns: str, which: Family, forwards: bool) -> Sysctl:
    """Whether a namespace hands on what is not for it."""
    name = "net/ipv6/conf/all/forwarding" if which is IPV6 else "net/ipv4/ip_forward"
    return Sysctl(ns, name, "1" if forwards else "0")


def pod_settings(ns: str, dev: str) -> Iterator[Resource]:
    """What CNI's bridge plugin sets in a pod that gets an address of IPv6."""
    yield forwarding(ns, IPV6, False)
    yield Sysctl(ns, f"net/ipv6/conf/{dev}/disable_ipv6", "0")
    yield Sysctl(ns, f"net/ipv6/conf/{dev}/keep_addr_on_down", "1")
