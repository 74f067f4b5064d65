"""What a mode puts around a pod's packet on the wire, added up from the sizes of headers.

Nothing here is measured: the experiment captures frames and probes paths, and compares.
"""

from __future__ import annotations

from typing import Final, NamedTuple

ETHERNET_B: Final = 14
IPV4_B: Final = 20
UDP_B: Final = 8


class Encapsulation(NamedTuple):
    """What stands before the pod's IP packet, beyond the Ethernet header of the cable."""

    name: str
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def added_b(self) -> int:
        """Bytes that are put around an IP packet."""
        return sum(size for _, size in self.parts)

    @property
    def datagram_header_b(self) -> int:
        """Bytes of a frame that carries one UDP datagram, less the datagram's payload."""
        return ETHERNET_B + self.added_b + IPV4_B + UDP_B

    def fits(self, link_mtu: int) -> int:
        """The largest IP packet of a pod that goes over a cable in one piece."""
        return link_mtu - self.added_b

    def words(self) -> str:
        """``IPv4 20 + UDP 8``; ``none`` for nothing."""
        return " + ".join(f"{name} {size}" for name, size in self.parts) or "none"


PLAIN = Encapsulation("none")
UDP = Encapsulation("UDP", (("IPv4", IPV4_B), ("UDP", UDP_B)))
VXLAN = Encapsulation("VXLAN", (*UDP.parts, ("VXLAN", 8), ("Ethernet", ETHERNET_B)))
SLEEVE = Encapsulation(
    "sleeve",
    # the sender's name; then, for each frame, both peers' names and the frame's length
    (*UDP.parts, ("sender", 6), ("peers and length", 6 + 6 + 2), ("Ethernet", ETHERNET_B)),
)
