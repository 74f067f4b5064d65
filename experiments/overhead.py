"""What a tunnel puts around a pod's packet on the wire, added up from the sizes of headers.

Nothing here is measured: experiments capture frames and probe paths, and compare.  Sizes are those
of IP packets; a frame has ``ETHERNET_B`` more, and its check sequence is never counted.
"""

from __future__ import annotations

from typing import Final, NamedTuple

ETHERNET_B: Final = 14
IPV4_B: Final = 20
IPV6_B: Final = 40
UDP_B: Final = 8


class Padding(NamedTuple):
    """What is padded, together with ``covered`` bytes of headers, to a multiple of ``to``.

    ``up_to_mtu``: padding stops at the MTU of the tunnel's device, so that it never costs room.
    """

    to: int = 1
    covered: int = 0
    up_to_mtu: bool = False


class Encapsulation(NamedTuple):
    """What stands around the pod's IP packet, beyond the Ethernet header of the cable.

    ``sealed``: a filter of tcpdump's for packets that carry others unreadably, empty where the
    pod's bytes are seen on the wire.
    """

    name: str
    parts: tuple[tuple[str, int], ...] = ()
    padding: Padding = Padding()
    sealed: str = ""

    @property
    def added_b(self) -> int:
        """Bytes that are put around an IP packet, without padding."""
        return sum(size for _, size in self.parts)

    def outer_b(self, inner_b: int, device_mtu: int = 0) -> int:
        """The IP packet on the wire around one of a pod of ``inner_b`` bytes.

        ``device_mtu``: of the tunnel's device, where padding knows it.
        """
        to, covered, up_to_mtu = self.padding
        filled = -(inner_b + covered) % to
        if up_to_mtu and device_mtu:
            filled = min(filled, max(0, device_mtu - inner_b))
        return inner_b + filled + self.added_b

    def fits(self, link_mtu: int, device_mtu: int = 0) -> int:
        """The largest IP packet of a pod that goes over a cable in one piece.

        Without a ``device_mtu``: where the tunnel's device has the MTU that the cable asks for.
        """
        largest = link_mtu - self.added_b
        if self.padding.up_to_mtu and not device_mtu:
            return largest
        sizes = range(largest, 0, -1)
        return next(size for size in sizes if self.outer_b(size, device_mtu) <= link_mtu)

    def frame_b(self, inner_b: int, device_mtu: int = 0) -> int:
        """The frame on the cable, without its check sequence."""
        return ETHERNET_B + self.outer_b(inner_b, device_mtu)

    def datagram_header_b(self, payload_b: int) -> int:
        """Bytes of a frame that carries one UDP datagram, less the datagram's payload."""
        return self.frame_b(payload_b + UDP_B + IPV4_B) - payload_b

    def over_ipv6(self) -> Encapsulation:
        """The same between nodes that speak IPv6."""
        parts = tuple(("IPv6", IPV6_B) if name == "IPv4" else (name, b) for name, b in self.parts)
        return self._replace(parts=parts)

    def words(self) -> str:
        """``IPv4 20 + UDP 8``; ``none`` for nothing."""
        fixed = " + ".join(f"{name} {size}" for name, size in self.parts) or "none"
        return f"{fixed} + padding to {self.padding.to}" if self.padding.to > 1 else fixed


def _esp(name: str, around: tuple[tuple[str, int], ...], iv_b: int, to: int, covered: int = 0,
         sealed: str = "esp") -> Encapsulation:  # fmt: skip
    """ESP pads what it covers and two bytes of its trailer; the check value comes after them."""
    parts = (*around, ("SPI and sequence", 8), ("IV", iv_b), ("ESP trailer", 2), ("ICV", 16))
    return Encapsulation(name, parts, Padding(to, covered + 2), sealed)


_IP = ("IPv4", IPV4_B)
_IN_UDP = (_IP, ("UDP", UDP_B))
_IN_VXLAN = (("UDP", UDP_B), ("VXLAN", 8), ("Ethernet", ETHERNET_B))
_SEALED_VXLAN_B = sum(size for _, size in _IN_VXLAN)

PLAIN = Encapsulation("none")
IPIP = Encapsulation("IPIP", (_IP,))
GRE = Encapsulation("GRE", (_IP, ("GRE", 4)))
FOU = Encapsulation("FoU", _IN_UDP)
GUE = Encapsulation("GUE", (*_IN_UDP, ("GUE", 4)))
UDP = Encapsulation("UDP", _IN_UDP)
VXLAN = Encapsulation("VXLAN", (_IP, *_IN_VXLAN))
GENEVE = Encapsulation("Geneve", (*_IN_UDP, ("Geneve", 8), ("Ethernet", ETHERNET_B)))
WIREGUARD = Encapsulation(
    "WireGuard", (*_IN_UDP, ("WireGuard", 16), ("tag", 16)), Padding(16, up_to_mtu=True),
    "udp and udp[8] = 4",
)  # fmt: skip
"""Messages of type 4 carry data."""
ESP_GCM = _esp("ESP, AES-GCM", (_IP,), 8, 4)
ESP_CBC = _esp("ESP, AES-CBC and SHA-256", (_IP,), 16, 16)
ESP_GCM_IN_UDP = _esp("ESP in UDP", _IN_UDP, 8, 4, sealed="udp port 4500 and udp[8:4] != 0")
"""Four bytes of zero stand before messages of IKE on the same port."""
VXLAN_IN_ESP = _esp("VXLAN in ESP", (_IP, *_IN_VXLAN), 8, 4, covered=_SEALED_VXLAN_B)
"""Transport mode: what follows the IP header is sealed, VXLAN's own headers with it."""
_SLEEVE = (*_IN_UDP, ("sender", 6), ("peers and length", 6 + 6 + 2), ("Ethernet", ETHERNET_B))
"""The sender's name; then, for each frame, both peers' names and the frame's length."""
SLEEVE = Encapsulation("sleeve", _SLEEVE)
SEALED_SLEEVE = Encapsulation(
    "sleeve, sealed", (*_SLEEVE, ("number", 8), ("authenticator", 16)), sealed="udp port 6783"
)
