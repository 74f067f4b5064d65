"""Plugin Romana."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from emulator.cni.options.plugin import NetworkOptions, Plugin


class HostGroup(BaseModel):
    """A prefix group: all its hosts have pods of one prefix, its part of the range above."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = ""
    segment: str = Field(
        default="", description="takes hosts of that segment of the underlay only; empty: any"
    )
    groups: list[HostGroup] = Field(
        default=[], description="smaller groups within; without any, hosts are put into this one"
    )


class RomanaOptions(NetworkOptions):
    """Romana: pods without a bridge, addresses that follow the topology, and plain routes."""

    of_fabric: ClassVar[tuple[str, ...]] = ("routePublisher",)

    plugin: Literal["romana"]
    blockMask: int = Field(
        default=29, ge=20, le=32, description="prefix length of a host's block of addresses"
    )
    map: list[HostGroup] = Field(
        default=[], description="the prefix groups; by default one for each segment with nodes"
    )
    mtu: int = Field(default=1500, ge=68, le=65535, description="of pods, whatever the links have")
    nat: bool = Field(default=True, description="masquerade what leaves pods for elsewhere")
    policies: bool = Field(
        default=True, description="the chains of policies, with one that allows each namespace all"
    )
    routePublisher: bool = Field(
        default=False,
        description="a BIRD on each node tells the routers of its segment which blocks it has "
        "(eBGP); otherwise these have the prefixes of whole groups by static routes",
    )
    asNumber: int = Field(
        default=65534,
        ge=1,
        le=4_294_967_294,
        description="routePublisher: autonomous system of the nodes",
    )


PLUGIN = Plugin(RomanaOptions, node_subnets=False)
