"""Plugin overlay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from emulator.cni.options.plugin import NetworkOptions, Plugin

_IN_UDP = ("vxlan", "geneve")


class OverlayOptions(NetworkOptions):
    """A bridge on each node and an overlay between the nodes, without any plugin's rules."""

    only_for: ClassVar[Mapping[str, tuple[str, ...]]] = {"vni": _IN_UDP, "port": _IN_UDP}

    plugin: Literal["overlay"]
    backend: Literal["vxlan", "geneve", "ipip"] = "vxlan"
    vni: int = Field(
        default=1, ge=1, le=16_777_215, description="vxlan, geneve: network identifier"
    )
    port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="vxlan, geneve: UDP port; 0: the one that is assigned, 4789 or 6081",
    )


PLUGIN = Plugin(OverlayOptions, ("vxlan", "geneve", "ipip"), ipv6=("vxlan", "geneve"))
