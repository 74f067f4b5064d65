"""kube-router's tunnels: one to each node that needs one, of IP in IP, or of that in GUE.

Each is bound to the two nodes' addresses and has none itself. In GUE a UDP port of the node takes
the packets in. What an outer header takes is missing in the MTU of the tunnel, and nowhere else:
a sender is told that a packet is too big.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from emulator.datapath.base import no_reverse_path_filter
from emulator.datapath.naming import tunnel_of
from emulator.datapath.offload import features
from emulator.family import IPV6, family
from emulator.plan.resources import Fou, Interface, Resource, Tunnel
from emulator.spec.resolved import Offload

_IPIP, _IP6TNL, _GUE = 20, 48, 12
"""Bytes: IPv4; IPv6 with the option that says how often a packet may be tunnelled again; UDP with
the header of GUE."""


class OverlaySettings(NamedTuple):
    """Of one node in one family. ``gue``: whether tunnels are in UDP, from and to ``port``;
    ``mtu`` of the node's uplink, in bytes."""

    node: str
    address: str
    gue: bool
    port: int
    mtu: int
    offload: Offload


def tunnels(s: OverlaySettings, peers: Iterable[str]) -> Iterator[Resource]:
    """Tunnels to the addresses of other nodes, and the port that takes theirs in."""
    six = family(s.address) is IPV6
    mtu = s.mtu - (_IP6TNL if six else _IPIP) - (_GUE if s.gue else 0)
    listens = False
    for address in peers:
        if s.gue and not listens:
            listens = True
            yield Fou(s.node, s.port, "gue", "ip6" if six else "ip")
        dev = tunnel_of(address)
        yield _tunnel(s, dev, address, six)
        profile = features(s.offload, "tunnel")
        yield Interface(s.node, dev, True, mtu, "", "", False, *profile)
        yield from no_reverse_path_filter(s.node, dev)


def _tunnel(s: OverlaySettings, dev: str, remote: str, six: bool) -> Tunnel:
    # in GUE iproute2 makes them, told a mode and for the rest with its defaults, such as checksums
    # over IPv6 alone; otherwise a library, with zeros
    made = Tunnel(s.node, dev, "ip6tnl" if six else "ipip", s.address, remote)
    if s.gue:
        made = made._replace(ttl=225, encap="gue", dport=s.port, csum=six)
    else:
        made = made._replace(pmtudisc=six, any_mode=True)
    return made._replace(encaplimit=4 if s.gue else 0) if six else made
