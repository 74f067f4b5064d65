"""Plugin flannel, and what Canal has of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from emulator.cni.options.plugin import Contradiction, NetworkOptions, Plugin
from emulator.family import IPV4, IPV6, family


class FlannelBackends(NetworkOptions):
    """flannel's net-conf.json, with the names that it has there in camelCase."""

    only_for: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "directRouting": ("vxlan", "ipip"),
        "vni": ("vxlan",),
        "port": ("vxlan",),
        "udpEncap": ("ipsec",),
        **dict.fromkeys(("mode", "listenPort", "listenPortV6", "psk"), ("wireguard",)),
        "persistentKeepaliveInterval": ("wireguard",),
    }

    backend: Literal["vxlan", "host-gw", "ipip", "udp", "wireguard", "ipsec", "alloc"] = "vxlan"
    directRouting: bool = Field(
        default=False,
        description="vxlan, ipip: route directly to nodes of the same layer-2 segment",
    )
    # A longer VNI makes "flannel.<vni>" longer than an interface name may be.
    vni: int = Field(default=1, ge=1, le=9_999_999, description="vxlan: network identifier")
    port: int = Field(default=8472, ge=1, le=65535, description="vxlan: UDP port")
    mode: Literal["separate", "auto", "ipv4", "ipv6"] = Field(
        default="separate",
        description="wireguard: a device for each family, or one for both over the family named",
    )
    listenPort: int = Field(default=51820, ge=1, le=65535, description="wireguard: UDP port")
    listenPortV6: int = Field(
        default=51821, ge=1, le=65535, description="wireguard: UDP port of IPv6's own device"
    )
    psk: bool = Field(
        default=False, description="wireguard: a pre-shared key as well, drawn for the lab"
    )
    persistentKeepaliveInterval: int = Field(
        default=0, ge=0, le=65535, description="wireguard: seconds; 0: no keepalive"
    )
    udpEncap: bool = Field(default=False, description="ipsec: ESP in UDP, port 4500")
    ipMasq: bool = Field(default=True, description="masquerade what leaves the pod network")
    enableNFTables: bool = Field(
        default=False, description="nftables rules in place of iptables' rules"
    )

    def contradictions(self, pod_cidrs: Sequence[str]) -> Iterator[Contradiction]:
        """One device for both families is encrypted over a family that nodes must have."""
        families = {family(cidr) for cidr in pod_cidrs}
        if self.mode == "ipv6" and IPV6 not in families:
            yield Contradiction("mode", "ipv6 with networks of IPv4", "networks of IPv6 too", "")
        elif self.mode in ("auto", "ipv4") and IPV4 not in families:
            hint = "flannel asks for addresses of IPv4, which these nodes have not"
            yield Contradiction(
                "mode", f"{self.mode} with networks of IPv6 alone", "separate, or ipv6", hint
            )


class FlannelOptions(FlannelBackends):
    """flannel: a bridge on each node, and a backend between the nodes."""

    plugin: Literal["flannel"]


_HOST_GW_NEEDS_ONE_SEGMENT = {
    "host-gw": "flannel's host-gw makes each node the gateway of its own pod subnet and so needs "
    "direct layer-2 reach: {far} is behind a router as {near} sees it, the gateway of the route "
    "`{subnet} via {far}` is not on-link, flannel cannot install it, and pods of the two segments "
    "never reach each other. Use backend vxlan, vxlan with directRouting, or one segment",
}


def row(options: type[FlannelBackends]) -> Plugin:
    """What flannel's backends are like, under whatever name."""
    return Plugin(
        options,
        ("vxlan", "host-gw", "ipip", "udp", "wireguard", "ipsec", "alloc"),
        one_segment=_HOST_GW_NEEDS_ONE_SEGMENT,
        ipv6=("vxlan", "host-gw", "wireguard", "alloc"),
    )


PLUGIN = row(FlannelOptions)
