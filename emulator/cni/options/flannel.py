"""Plugin flannel, and what Canal has of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from emulator.cni.options.plugin import NetworkOptions, Plugin


class FlannelBackends(NetworkOptions):
    """flannel's net-conf.json, with the names that it has there in camelCase."""

    only_for: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "directRouting": ("vxlan",),
        "vni": ("vxlan",),
        "port": ("vxlan",),
    }

    backend: Literal["vxlan", "host-gw", "udp", "alloc"] = "vxlan"
    directRouting: bool = Field(
        default=False, description="vxlan: route directly to nodes of the same layer-2 segment"
    )
    # A longer VNI makes "flannel.<vni>" longer than an interface name may be.
    vni: int = Field(default=1, ge=1, le=9_999_999, description="vxlan: network identifier")
    port: int = Field(default=8472, ge=1, le=65535, description="vxlan: UDP port")
    ipMasq: bool = Field(default=True, description="masquerade what leaves the pod network")
    enableNFTables: bool = Field(
        default=False, description="nftables rules in place of iptables' rules"
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
        ("vxlan", "host-gw", "udp", "alloc"),
        one_segment=_HOST_GW_NEEDS_ONE_SEGMENT,
        ipv6=("vxlan", "host-gw", "alloc"),
    )


PLUGIN = row(FlannelOptions)
