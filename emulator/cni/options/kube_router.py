"""Plugin kube-router."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from emulator.cni.options.plugin import Contradiction, NetworkOptions, Plugin


class KubeRouterOptions(NetworkOptions):
    """kube-router: a bridge on each node, and BGP between them. Options as its flags are called."""

    counts_nodes: ClassVar[tuple[str, ...]] = ("rrServers",)
    of_fabric: ClassVar[tuple[str, ...]] = ("peerRouters",)

    plugin: Literal["kube-router"]
    clusterAsn: int = Field(
        default=64512, ge=64512, le=65535, description="number of the nodes' autonomous system"
    )
    rrServers: int = Field(
        default=0,
        ge=0,
        description="as many nodes, the first ones, are route reflectors (annotation rr.server) "
        "and all others their clients (rr.client); 0: all nodes are peers",
    )
    peerRouters: bool = Field(
        default=False,
        description="sessions with the routers of a node's segment as well, which "
        "underlay.routing: bgp makes speak BGP",
    )
    bgpHoldtime: int = Field(
        default=90, ge=3, le=65535, description="seconds until a silent neighbour is given up"
    )
    connectRetry: int = Field(
        default=120,
        ge=5,
        le=65535,
        description="seconds between two attempts to reach a neighbour, the first excepted: "
        "GoBGP's own, which kube-router leaves as it is",
    )
    bgpGracefulRestart: bool = Field(
        default=False, description="neighbours keep a node's routes while its GoBGP restarts"
    )
    bgpGracefulRestartTime: int = Field(
        default=90, ge=1, le=4095, description="seconds that they keep them"
    )
    bgpGracefulRestartDeferralTime: int = Field(
        default=360, ge=1, le=64800, description="seconds that a restarted one waits for all"
    )
    injectedRoutesSyncPeriod: int = Field(
        default=60, ge=1, description="seconds after which all routes are written again"
    )
    enableOverlay: bool = Field(default=True, description="tunnels where overlayType asks for them")
    overlayType: Literal["subnet", "full"] = Field(
        default="subnet", description="tunnels to nodes of other subnets, or to all nodes"
    )
    overlayEncap: Literal["ipip", "fou"] = Field(
        default="ipip", description="tunnels of IP in IP, or of that in UDP (in truth GUE)"
    )
    overlayEncapPort: int = Field(
        default=5555, ge=1024, le=65535, description="the UDP port of overlayEncap: fou"
    )
    enablePodEgress: bool = Field(
        default=True, description="masquerade what leaves pods for outside the cluster"
    )

    def contradictions(self, pod_cidrs: Sequence[str]) -> Iterator[Contradiction]:
        """Routers are peers of nodes that take from them what is asked for alone."""
        if self.peerRouters and self.rrServers:
            yield Contradiction(
                "rrServers",
                "peerRouters beside it",
                "one of the two",
                "a route reflector takes all that routers tell it, the node's own network included",
            )


PLUGIN = Plugin(
    KubeRouterOptions,
    ipv6=("",),
    heard_by={"": "peerRouters"},
    tunnels_by={"IPv4": "enableOverlay", "IPv6": "enableOverlay"},
)
