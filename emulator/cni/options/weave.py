"""Plugin Weave Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from emulator.cni.options.plugin import NetworkOptions, Plugin


class WeaveOptions(NetworkOptions):
    """Weave Net: one layer-2 segment for the pods of all nodes. podCIDR is its range."""

    only_for: ClassVar[Mapping[str, tuple[str, ...]]] = {"mtu": ("fastdp",)}

    plugin: Literal["weave"]
    backend: Literal["fastdp", "sleeve"] = "fastdp"
    mtu: int = Field(
        default=1376,
        ge=68,
        le=65535,
        description="fastdp: of pods and bridges, whatever the links have",
    )
    encryption: bool = Field(
        default=False, description="a password for all routers, drawn for each lab"
    )
    noMasqLocal: bool = Field(
        default=True, description="keep the source of what comes from outside to a local pod"
    )


PLUGIN = Plugin(WeaveOptions, ("fastdp", "sleeve"), pod_cidr="10.32.0.0/12", node_subnets=False)
