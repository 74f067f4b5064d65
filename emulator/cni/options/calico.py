"""Plugin Calico."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from emulator.cni.options.plugin import Contradiction, NetworkOptions, Plugin
from emulator.family import IPV4, IPV6, family

_BGP = ("bgp",)


class CalicoOptions(NetworkOptions):
    """Calico: addresses in blocks, pods without a bridge, and routes by BGP, VXLAN or IPIP.

    Names are those of Calico's resources (IPPool, IPAMConfig, BGPConfiguration, BGPPeer), of
    timers those of BIRD.
    """

    only_for: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "vxlanMode": ("vxlan",),
        "ipipMode": ("ipip",),
        **dict.fromkeys(
            ("asNumber", "nodeToNodeMeshEnabled", "routeReflectors", "peerWithRouters"), _BGP
        ),
        **dict.fromkeys(("connectDelayTime", "connectRetryTime"), _BGP),
        **dict.fromkeys(("gracefulRestartTime", "gracefulRestartWait"), _BGP),
        **dict.fromkeys(("holdTime", "keepaliveTime"), _BGP),
    }
    of_nodes: ClassVar[tuple[str, ...]] = ("routeReflectors",)
    of_fabric: ClassVar[tuple[str, ...]] = ("peerWithRouters",)

    plugin: Literal["calico"]
    backend: Literal["vxlan", "ipip", "bgp"] = "vxlan"
    vxlanMode: Literal["Always", "CrossSubnet"] = Field(
        default="Always", description="CrossSubnet: no tunnel between nodes of one subnet"
    )
    ipipMode: Literal["Always", "CrossSubnet"] = Field(
        default="Always",
        description="CrossSubnet: no tunnel between nodes of one subnet. A pool of IPv6 has none "
        "at all",
    )
    wireguardEnabled: bool = Field(
        default=False, description="encrypt what goes between pods of different nodes"
    )
    wireguardEnabledV6: bool = Field(default=False, description="the same for IPv6")
    blockSize: int = Field(default=26, ge=20, le=32, description="prefix length of a block")
    blockSizeIPv6: int = Field(
        default=122, ge=116, le=128, description="prefix length of a block of IPv6"
    )
    strictAffinity: bool = Field(
        default=False, description="no address of another node's block, ever"
    )
    maxBlocksPerHost: int = Field(default=20, ge=1, description="blocks that a node can claim")
    natOutgoing: bool = Field(default=True, description="masquerade what leaves the pool")
    natOutgoingIPv6: bool = Field(
        default=False, description="masquerade what leaves the pool of IPv6"
    )
    asNumber: int = Field(
        default=64512, ge=1, le=4_294_967_294, description="bgp: autonomous system of the nodes"
    )
    nodeToNodeMeshEnabled: bool = Field(
        default=True, description="bgp: every node peers with every other one"
    )
    routeReflectors: list[str] = Field(
        default=[], description="bgp: nodes that all others peer with, in place of the mesh"
    )
    peerWithRouters: bool = Field(
        default=False, description="bgp: nodes peer with the routers of their segment (eBGP)"
    )
    connectDelayTime: int = Field(default=2, ge=1, le=65535, description="bgp: seconds")
    connectRetryTime: int = Field(default=5, ge=1, le=65535, description="bgp: seconds")
    gracefulRestartTime: int = Field(
        default=120,
        ge=1,
        le=4095,
        description="bgp: seconds that routes outlive a daemon that has died",
    )
    gracefulRestartWait: int = Field(
        default=240,
        ge=1,
        le=65535,
        description="bgp: seconds that a daemon waits for its peers before it writes and says "
        "anything",
    )
    holdTime: int = Field(
        default=240, ge=3, le=65535, description="bgp: seconds until a silent peer counts as gone"
    )
    keepaliveTime: int = Field(
        default=0, ge=0, le=65535, description="bgp: seconds; 0: a third of holdTime"
    )

    def contradictions(self, pod_cidrs: Sequence[str]) -> Iterator[Contradiction]:
        """Calico's own rule for block limits; one way of peering at a time; and encryption of a
        family that is there."""
        families = {family(cidr) for cidr in pod_cidrs}
        for name, which in (("wireguardEnabled", IPV4), ("wireguardEnabledV6", IPV6)):
            if getattr(self, name) and which not in families:
                other = f"networks without {which.name}"
                yield Contradiction(name, other, f"a podCIDR of {which.name}", "")
        if self.maxBlocksPerHost != 20 and not self.strictAffinity:
            yield Contradiction(
                "maxBlocksPerHost",
                f"{self.maxBlocksPerHost} without strictAffinity",
                "strictAffinity: true beside it",
                "Calico takes a limit of its own only together with strictAffinity",
            )
        others = {
            name: why
            for name, why in (
                ("routeReflectors", "in a mesh every node hears of all others without reflectors"),
                ("peerWithRouters", "nodes of a mesh would offer the routers each other's blocks"),
            )
            if getattr(self, name)
        }
        if self.nodeToNodeMeshEnabled:
            for name, why in others.items():
                yield Contradiction(
                    name,
                    "the mesh of all nodes beside it",
                    "nodeToNodeMeshEnabled: false",
                    f"{why}; Calico's own guides switch it off first",
                )
        elif len(others) > 1:
            yield Contradiction(
                "peerWithRouters",
                "routeReflectors beside it",
                "one of the two",
                "nodes would offer the routers what reflectors have told them",
            )


PLUGIN = Plugin(
    CalicoOptions,
    ("vxlan", "ipip", "bgp"),
    node_subnets=False,
    ipv6=("vxlan", "ipip", "bgp"),
    with_ipv4=("ipip",),
    heard_by={"bgp": "peerWithRouters"},
    tunnels_by={"IPv4": "wireguardEnabled", "IPv6": "wireguardEnabledV6"},
)
