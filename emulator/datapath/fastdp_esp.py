"""ESP around the tunnel of Weave's fast datapath: transport mode, for UDP port 6784 alone.

For each other node two states, one each way, with a key of their own; and a policy for what goes
out, which looks at a mark. Rules set that mark on what is for the tunnel's port and on ESP that has
arrived by a known state, and drop what is for that port without it. So neither a policy that is
missing nor a neighbour that does not encrypt lets anything through in the clear.

Weave draws the key's salt and lets the kernel choose the number of a state (SPI) for each
connection; here both are made for as long as the lab lasts, the number from the names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from emulator.plan.resources import Resource
from emulator.plan.xfrm import Selector, Template, XfrmPolicy, XfrmState
from emulator.secrets import octets

MARK = 0x20000
KEY_B = 36
"""AES of 256 bits and 4 bytes of salt."""
REPLAY_WINDOW = 256
_HEAD_B, _IV_B, _TRAILER_B, _CODE_B = 8, 8, 2, 16
_FIRST_SPI = 0x100
"""The numbers below are reserved."""


class End(NamedTuple):
    """A node: its name among routers, and its underlay address."""

    name: str
    underlay: str


def overhead(payload_b: int) -> int:
    """Bytes that ESP adds to what stands behind the IP header: it fills up to multiples of 4."""
    return _HEAD_B + _IV_B + -(payload_b + _TRAILER_B) % 4 + _TRAILER_B + _CODE_B


def spi(src: End, dst: End) -> int:
    """The number of the state between two nodes, in that direction."""
    digest = hashlib.sha1(f"{src.name} {dst.name}".encode(), usedforsecurity=False).digest()
    return _FIRST_SPI + int.from_bytes(digest[:4], "big") % (2**32 - _FIRST_SPI)


def states(node: str, own: End, peers: Sequence[End]) -> Iterator[Resource]:
    """What encrypts, and the policies that ask for it."""
    for peer in peers:
        for src, dst in ((own, peer), (peer, own)):
            yield XfrmState(
                node,
                src.underlay,
                dst.underlay,
                spi(src, dst),
                "transport",
                octets(f"weave {src.name} to {dst.name}", KEY_B),
                esn=True,
                replay_window=REPLAY_WINDOW,
            )
        selector = Selector(f"{own.underlay}/32", f"{peer.underlay}/32", "udp")
        template = Template(own.underlay, peer.underlay, "transport", spi=spi(own, peer))
        yield XfrmPolicy(node, "out", selector, template, mark=MARK, mask=MARK)


def mangle(own: End, peers: Sequence[End], port: int) -> str:
    """The table that marks."""
    inward = (
        f"\t\tip saddr {p.underlay} ip daddr {own.underlay} esp spi {spi(p, own)}"
        " jump WEAVE-IPSEC-IN-MARK\n"
        for p in peers
    )
    outward = (
        f"\t\tip saddr {own.underlay} ip daddr {p.underlay} udp dport {port}"
        " jump WEAVE-IPSEC-OUT-MARK\n"
        for p in peers
    )
    return _MANGLE.format(inward="".join(inward), outward="".join(outward), mark=_MARK)


def chains(own: End, peers: Sequence[End], port: int) -> str:
    """The chains that drop, for the table ``filter``."""
    inward = (
        f"\t\tip saddr {p.underlay} ip daddr {own.underlay} udp dport {port}"
        f" meta mark & {_MARK} != {_MARK} drop\n"
        for p in peers
    )
    return _CHAINS.format(inward="".join(inward), mark=_MARK)


_MARK = f"{MARK:#010x}"

_MANGLE = """\
table ip mangle {{
	chain INPUT {{
		type filter hook input priority mangle; policy accept;
		jump WEAVE-IPSEC-IN
	}}

	chain OUTPUT {{
		type route hook output priority mangle; policy accept;
		jump WEAVE-IPSEC-OUT
	}}

	chain WEAVE-IPSEC-IN {{
{inward}	}}

	chain WEAVE-IPSEC-IN-MARK {{
		meta mark set meta mark | {mark}
	}}

	chain WEAVE-IPSEC-OUT {{
{outward}	}}

	chain WEAVE-IPSEC-OUT-MARK {{
		meta mark set meta mark | {mark}
	}}
}}
"""

_CHAINS = """\
	chain INPUT {{
		type filter hook input priority filter; policy accept;
		jump WEAVE-IPSEC-IN
	}}

	chain OUTPUT {{
		type filter hook output priority filter; policy accept;
		ip protocol != esp rt ipsec missing meta mark & {mark} == {mark} drop
	}}

	chain WEAVE-IPSEC-IN {{
{inward}	}}

"""
