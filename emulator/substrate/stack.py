"""Counters and sockets of a network namespace from its ``/proc/net``. Pure but for ``read``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from emulator.errors import PodwireError, Problem

Read = Callable[[str], str]
"""The text of ``/proc/net/<name>`` in the namespace in question."""

IPV6 = os.path.exists("/proc/net/if_inet6")
"""Whether the kernel has IPv6; not so when it was booted with ``ipv6.disable=1``."""

WITHOUT_IPV6 = "boot it without ipv6.disable=1, or use networks of IPv4 only"
"""The remedy where an address of IPv6 is asked for and the kernel has none."""

_TCP_LISTEN = "0A"


def listening(read: Read, protocol: str, port: int) -> bool:
    """Whether a TCP socket listens on, or a UDP socket is bound to, the port."""
    wanted = f"{port:04X}"
    for family in ("", "6") if IPV6 else ("",):
        for row in read(f"{protocol}{family}").splitlines()[1:]:
            fields = row.split()
            if fields[1].rpartition(":")[2] == wanted and (
                protocol != "tcp" or fields[3] == _TCP_LISTEN
            ):
                return True
    return False


def counters(read: Read, interface: str) -> Mapping[str, int]:
    """rx/tx_bytes, _packets, _errors, _dropped of an interface. PodwireError if it is not there."""
    names = []
    for row in read("dev").splitlines()[2:]:
        name, _, rest = row.partition(":")
        names.append(name.strip())
        if names[-1] == interface:
            v = [int(field) for field in rest.split()]
            kinds = ("bytes", "packets", "errors", "dropped")
            return {f"rx_{k}": v[i] for i, k in enumerate(kinds)} | {
                f"tx_{k}": v[i + 8] for i, k in enumerate(kinds)
            }
    raise PodwireError(
        Problem("interface counters", f"no interface {interface!r}", f"one of {', '.join(names)}")
    )


def snmp(read: Read) -> Mapping[str, int]:
    """``Ip.InReceives``, ``Tcp.RetransSegs``, …"""
    out: dict[str, int] = {}
    for name in ("snmp", "netstat"):
        rows = read(name).splitlines()
        for head, values in zip(rows[::2], rows[1::2], strict=False):
            group, _, keys = head.partition(":")
            for key, value in zip(keys.split(), values.partition(":")[2].split(), strict=True):
                out[f"{group}.{key}"] = int(value)
    return out
