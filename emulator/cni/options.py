"""The network plugins that a spec can name, with their backends and typed options.

One model per plugin; its fields are what may stand under ``network:``. A new plugin is
a model and a row in ``PLUGINS``, and rooms of its name in ``emulator.cni`` and
``emulator.oracle``.

(Over 300 lines: it is a list, and what a spec may say about the network stands in one place.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    Union,
    get_origin,
)

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError


class Contradiction(NamedTuple):
    """An option that does not go with the rest of the spec."""

    option: str
    found: str
    expected: str
    hint: str


class NetworkOptions(BaseModel):
    """What every plugin has: a name. ``only_for`` says which option belongs to which backends,
    ``of_nodes`` which options are lists of names of nodes, ``counts_nodes`` which are a number of
    them, ``of_fabric`` which need routers that speak BGP."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    only_for: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    of_nodes: ClassVar[tuple[str, ...]] = ()
    counts_nodes: ClassVar[tuple[str, ...]] = ()
    of_fabric: ClassVar[tuple[str, ...]] = ()

    plugin: str

    def values(self) -> tuple[tuple[str, bool | int | str], ...]:
        """All options but plugin and backend with their values, sorted by name; lists and
        mappings as JSON."""
        return tuple(
            (name, value if isinstance(value, bool | int | str) else json.dumps(value))
            for name, value in sorted(self.model_dump(exclude={"plugin", "backend"}).items())
        )

    @classmethod
    def as_written(cls, values: Iterable[tuple[str, bool | int | str]]) -> dict[str, Any]:
        """Such values as a spec has them."""
        folded = {
            name
            for name, field in cls.model_fields.items()
            if get_origin(field.annotation) in (list, dict)
        }
        return {k: json.loads(str(v)) if k in folded else v for k, v in values}

    def contradictions(self, pod_cidr: str) -> Iterator[Contradiction]:
        """Options that do not go with each other, or with the range of the pods."""
        return iter(())


class NoneOptions(NetworkOptions):
    """Each node has a bridge of its own with the same addresses; nothing joins the nodes."""

    plugin: Literal["none"]


class HostOptions(NetworkOptions):
    """No pod network at all: every pod lives in its node's network namespace."""

    plugin: Literal["host"]


class _FlannelBackends(NetworkOptions):
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


class FlannelOptions(_FlannelBackends):
    """flannel: a bridge on each node, and a backend between the nodes."""

    plugin: Literal["flannel"]


class CanalOptions(_FlannelBackends):
    """Canal: Calico's pods without a bridge, and flannel between the nodes."""

    plugin: Literal["canal"]


class CniOptions(NetworkOptions):
    """Any conflist, run with the real binaries as the CNI specification says."""

    plugin: Literal["cni"]
    conflist: str = Field(
        description="file of a network configuration list, relative to this one; or the list "
        "itself, as JSON"
    )
    binDir: list[str] = Field(
        default=["/usr/lib/cni", "/opt/cni/bin"],
        min_length=1,
        description="folders of the binaries, the first that has one wins",
    )
    args: dict[str, str] = Field(default={}, description="CNI_ARGS of every pod")
    capabilities: dict[str, Any] = Field(
        default={},
        description="what the runtime offers to plugins that declare the capability; ipRanges is "
        "the node's pod subnet unless given",
    )
    podCapabilities: dict[str, dict[str, Any]] = Field(
        default={}, description="capabilities of single pods, by pod"
    )
    timeoutSeconds: int = Field(
        default=30, ge=1, le=3600, description="how long one binary may take"
    )


_BGP = ("bgp",)


class CalicoOptions(NetworkOptions):
    """Calico: addresses in blocks, pods without a bridge, and routes by BGP or VXLAN.

    Names are those of Calico's resources (IPPool, IPAMConfig, BGPConfiguration, BGPPeer), of
    timers those of BIRD.
    """

    only_for: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "vxlanMode": ("vxlan",),
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
    backend: Literal["vxlan", "bgp"] = "vxlan"
    vxlanMode: Literal["Always", "CrossSubnet"] = Field(
        default="Always", description="CrossSubnet: no tunnel between nodes of one subnet"
    )
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

    def contradictions(self, pod_cidr: str) -> Iterator[Contradiction]:
        """Calico's own rule for block limits; and one way of peering at a time."""
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
    enablePodEgress: bool = Field(
        default=True, description="masquerade what leaves pods for outside the cluster"
    )

    def contradictions(self, pod_cidr: str) -> Iterator[Contradiction]:
        """Routers are peers of nodes that take from them what is asked for alone."""
        if self.peerRouters and self.rrServers:
            yield Contradiction(
                "rrServers",
                "peerRouters beside it",
                "one of the two",
                "a route reflector takes all that routers tell it, the node's own network included",
            )


def _any_network(text: str) -> str:
    try:
        return str(IPv4Network(text))
    except ValueError as error:
        expected = "an IPv4 network such as 10.0.0.0/8, or 0.0.0.0/0"
        raise PydanticCustomError(
            "podwire",
            "expected {expected}",
            {"expected": expected, "hint": str(error), "found": ""},
        ) from None


class KubenetOptions(NetworkOptions):
    """kubenet: a bridge on each node, and routes in the fabric between the nodes."""

    plugin: Literal["kubenet"]
    hairpinMode: Literal["promiscuous-bridge", "hairpin-veth", "none"] = Field(
        default="promiscuous-bridge",
        description="how a pod reaches itself by the address of a service",
    )
    nonMasqueradeCIDR: Annotated[
        str, AfterValidator(_any_network), WithJsonSchema({"type": "string"})
    ] = Field(
        default="10.0.0.0/8",
        description="what is sent elsewhere is masqueraded; 0.0.0.0/0: nothing is",
    )

    def contradictions(self, pod_cidr: str) -> Iterator[Contradiction]:
        """Pods outside of the range would be masqueraded when they talk to each other."""
        if not IPv4Network(pod_cidr).subnet_of(IPv4Network(self.nonMasqueradeCIDR)):
            yield Contradiction(
                "nonMasqueradeCIDR",
                f"{self.nonMasqueradeCIDR} with the podCIDR {pod_cidr}",
                "a range that holds podCIDR",
                "kubenet would masquerade what pods send to each other, and no pod would see "
                "another one's address",
            )


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
    noMasqLocal: bool = Field(
        default=True, description="keep the source of what comes from outside to a local pod"
    )


class Plugin(NamedTuple):
    """A row of the table of plugins.

    ``backends``: the first is the default; ``("",)`` when there is nothing to choose.
    ``pod_network``: False when pods have no namespace of their own.
    ``joins_nodes``: False when the plugin needs no path between nodes.
    ``one_segment``: backends that need all nodes on one segment, each with what the real
    plugin does otherwise (of ``near`` and ``far``, two nodes, and ``subnet``, far's pods).
    ``heard_by``: of backends without a tunnel, the option by which routers hear of pods.
    ``by_routers``: pods reach those of other nodes by routers of the underlay alone.
    ``shapes``: pods have the bandwidth that their annotations say.
    ``pod_cidr``: the pods' network where the spec names none.
    ``node_subnets``: False when nodes have no subnet of their own, so that nodePrefix says nothing.
    ``ipv6``: the backends that have IPv6, alone and beside IPv4.
    """

    options: type[NetworkOptions]
    backends: tuple[str, ...] = ("",)
    pod_network: bool = True
    joins_nodes: bool = True
    one_segment: Mapping[str, str] = {}
    heard_by: Mapping[str, str] = {}
    by_routers: bool = False
    shapes: bool = False
    pod_cidr: str = "10.244.0.0/16"
    node_subnets: bool = True
    ipv6: tuple[str, ...] = ()


_FLANNEL_BACKENDS = ("vxlan", "host-gw", "udp", "alloc")
_FLANNEL_IPV6 = ("vxlan", "host-gw", "alloc")

_HOST_GW_NEEDS_ONE_SEGMENT = {
    "host-gw": "flannel's host-gw makes each node the gateway of its own pod subnet and so needs "
    "direct layer-2 reach: {far} is behind a router as {near} sees it, the gateway of the route "
    "`{subnet} via {far}` is not on-link, flannel cannot install it, and pods of the two segments "
    "never reach each other. Use backend vxlan, vxlan with directRouting, or one segment",
}

PLUGINS: Final[Mapping[str, Plugin]] = {
    "none": Plugin(NoneOptions, joins_nodes=False, ipv6=("",)),
    "host": Plugin(HostOptions, pod_network=False, ipv6=("",)),
    "cni": Plugin(CniOptions, joins_nodes=False),
    "flannel": Plugin(
        FlannelOptions,
        _FLANNEL_BACKENDS,
        one_segment=_HOST_GW_NEEDS_ONE_SEGMENT,
        ipv6=_FLANNEL_IPV6,
    ),
    "kube-router": Plugin(KubeRouterOptions, ipv6=("",), heard_by={"": "peerRouters"}),
    "canal": Plugin(
        CanalOptions,
        _FLANNEL_BACKENDS,
        one_segment=_HOST_GW_NEEDS_ONE_SEGMENT,
        ipv6=_FLANNEL_IPV6,
    ),
    "kubenet": Plugin(KubenetOptions, by_routers=True, shapes=True),
    "weave": Plugin(
        WeaveOptions, ("fastdp", "sleeve"), pod_cidr="10.32.0.0/12", node_subnets=False
    ),
    "calico": Plugin(
        CalicoOptions,
        ("vxlan", "bgp"),
        node_subnets=False,
        ipv6=("vxlan", "bgp"),
        heard_by={"bgp": "peerWithRouters"},
    ),
}
"""All plugins of this version by name."""

if TYPE_CHECKING:
    AnyNetwork = NetworkOptions
else:
    AnyNetwork = Annotated[
        Union[tuple(row.options for row in PLUGINS.values())],  # noqa: UP007
        Field(discriminator="plugin"),
    ]
