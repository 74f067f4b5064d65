"""The grammar of the documents of a file, as pydantic models.

Field names are those of the file. The models hold structure and the grammar of single
values; what concerns several values together is checked by :mod:`emulator.spec.resolve`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from emulator.cni.options import AnyNetwork
from emulator.spec import limits
from emulator.spec.cabling import CableDoc
from emulator.spec.grammar import LIST, MAPPING, SCALAR, Grammar
from emulator.spec.resolved import Offload
from emulator.spec.values import (
    Argument,
    Cidrs,
    ClassName,
    CongestionControl,
    HoldTime,
    InterfaceName,
    Interval,
    LabelKey,
    LabelValue,
    Name,
    NamePrefix,
    Scalar,
    VariableName,
)


class SwitchDoc(CableDoc):
    """One of several switches of a segment; what is said of its cable is of that to the uplink."""

    uplink: str | None = Field(
        default=None, description="the switch above; only the first one has none"
    )


class SegmentDoc(CableDoc):
    """A layer-2 domain with one switch, or a tree of them. A /31 is a point-to-point link.

    What is said of cables is of all of them, of a link of the way from router to router.
    """

    cidr: Cidrs = Field(description="a network, or [IPv4, IPv6] for dual stack")
    switches: dict[Name, SwitchDoc] | None = Field(
        default=None, min_length=1, description="a tree of switches, its root first"
    )


class RouterDoc(Grammar):
    """A router; it has an interface in each of its segments."""

    segments: list[str] = Field(min_length=1)
    links: dict[str, CableDoc] = Field(default={}, description="its cables, by segment")


class HostDoc(CableDoc):
    """A host outside the cluster."""

    segment: str
    interface: InterfaceName = "eth0"
    switch: str | None = Field(default=None, description="a switch of the segment, else the first")


class LinksDoc(CableDoc):
    """Settings of every cable of the underlay."""

    mtu: int = Field(default=1500, ge=68, le=65535, description="bytes of the largest IP packet")
    offload: Offload = Field(
        default="wire", description='what is segmented where; write "off" in quotes'
    )


class LeafSpineDoc(Grammar):
    """Racks with a leaf each, and every leaf linked to every spine: in short for segments
    ``rack1``, … and ``leaf1-spine1``, …, and for routers ``leaf1``, … and ``spine1``, …"""

    leaves: int = Field(ge=1, le=limits.LEAVES)
    spines: int = Field(ge=1, le=limits.SPINES)
    rackCIDR: Cidrs = Field(
        default="192.168.0.0/16", description="cut into a /24 for each rack, of IPv6 a /64"
    )
    linkCIDR: Cidrs = Field(
        default="172.16.0.0/16", description="cut into a /31 for each link, of IPv6 a /127"
    )


class BfdDoc(Grammar):
    """Bidirectional forwarding detection beside each session between two routers."""

    interval: Interval = Field(
        default="100ms", validate_default=True, description="between two packets, both ways"
    )
    multiplier: int = Field(
        default=5, ge=1, le=255, description="so many packets missing, the neighbour is gone"
    )


class BgpDoc(Grammar):
    """How soon routers give up a neighbour that is silent."""

    holdTime: HoldTime = Field(
        default="6s", validate_default=True, description="silence that ends a session"
    )
    bfd: BfdDoc | None = Field(default=None, description="find silence out sooner; {} by default")


class UnderlayDoc(Grammar):
    """What the nodes are cabled to."""

    leafSpine: LeafSpineDoc | None = Field(
        default=None, description="a fabric in short, in place of segments and routers"
    )
    topo: ClassName | None = Field(
        default=None,
        description="a topology of Mininet's as module:Class or path.py:Class, in place of "
        "segments, routers and nodes",
    )
    args: dict[str, Scalar] = Field(default={}, description="arguments of the class by name")
    routing: Literal["static", "bgp"] = Field(
        default="static",
        description="static: shortest paths, equal ones shared; bgp: eBGP by BIRD on the routers",
    )
    bgp: BgpDoc | None = Field(default=None, description="timers of routing: bgp")
    segments: dict[Name, SegmentDoc] = Field(
        default={"rack": SegmentDoc(cidr="192.168.50.0/24")}, min_length=1
    )
    routers: dict[Name, RouterDoc] = Field(default={})
    hosts: dict[Name, HostDoc] = Field(default={}, description="hosts outside the cluster")
    links: LinksDoc = LinksDoc()


class NodeCount(Grammar):
    """So many nodes, spread over the segments in turn."""

    count: int = Field(ge=1, le=limits.NODES)
    spread: list[str] | None = Field(
        default=None, min_length=1, description="segments; may be left out when there is only one"
    )
    prefix: NamePrefix = "n"


class NodeEntry(CableDoc):
    """A node by name."""

    name: Name
    segment: str | None = Field(default=None, description="may be left out when there is only one")
    interface: InterfaceName = "eth0"
    switch: str | None = Field(default=None, description="a switch of the segment, else the first")


class PodCount(Grammar):
    """So many pods on every node, in which nothing runs."""

    perNode: int = Field(ge=0, le=limits.PODS)


class PodEntry(Grammar):
    """A pod with one container, in short."""

    name: Name
    node: str
    namespace: Name = "default"
    labels: dict[LabelKey, LabelValue] = Field(default={})
    hostNetwork: bool = False
    command: list[Argument] = Field(default=[])


def _form(value: Any) -> str:
    return LIST if isinstance(value, list) else MAPPING


Prefix = Annotated[int, Field(ge=8, le=126)]


class ClusterSpec(Grammar):
    """The cluster."""

    podCIDR: Cidrs = Field(
        default="10.244.0.0/16",
        description="a network, or [IPv4, IPv6] for dual stack; with weave 10.32.0.0/12 by default",
    )
    nodePrefix: (
        Annotated[
            Annotated[Prefix, Tag(SCALAR)]
            | Annotated[list[Prefix], Tag(LIST), Field(min_length=1, max_length=2)],
            Discriminator(lambda value: LIST if isinstance(value, list) else SCALAR),
        ]
        | None
    ) = Field(
        default=None,
        description="length of a node's part of podCIDR, 24 and for IPv6 64 unless given",
    )
    network: AnyNetwork
    congestionControl: CongestionControl | None = None
    underlay: UnderlayDoc = UnderlayDoc()
    nodes: Annotated[
        Annotated[NodeCount, Tag(MAPPING)]
        | Annotated[list[NodeEntry], Tag(LIST), Field(min_length=1, max_length=limits.NODES)],
        Discriminator(_form),
    ]
    pods: Annotated[
        Annotated[PodCount, Tag(MAPPING)] | Annotated[list[PodEntry], Tag(LIST)],
        Discriminator(_form),
    ] = Field(default=[])


class ClusterMetadata(Grammar):
    """The name of the cluster."""

    name: Name


class ClusterDocument(Grammar):
    """A Cluster."""

    apiVersion: Literal["podwire/v1"]
    kind: Literal["Cluster"]
    metadata: ClusterMetadata
    spec: ClusterSpec


class EnvVar(Grammar):
    """An environment variable of a container."""

    name: VariableName
    value: Argument = ""


class ContainerDoc(Grammar):
    """A container: ``command`` with ``args`` is run, or nothing. ``image`` is not used."""

    name: Name
    image: str | None = None
    command: list[Argument] = Field(default=[])
    args: list[Argument] = Field(default=[])
    env: list[EnvVar] = Field(default=[])


class PodSpec(Grammar):
    """What of a Kubernetes pod is understood."""

    nodeName: str
    hostNetwork: bool = False
    restartPolicy: Literal["Always", "OnFailure", "Never"] = "Always"
    containers: list[ContainerDoc] = Field(min_length=1)


class PodMetadata(Grammar):
    """Name and labels of a pod. Of annotations those of bandwidth are used."""

    name: Name
    namespace: Name = "default"
    labels: dict[LabelKey, LabelValue] = Field(default={})
    annotations: dict[str, str] = Field(default={})


class PodDocument(Grammar):
    """A Pod of Kubernetes."""

    apiVersion: Literal["v1"]
    kind: Literal["Pod"]
    metadata: PodMetadata
    spec: PodSpec


KINDS: dict[str, type[ClusterDocument] | type[PodDocument]] = {
    "Cluster": ClusterDocument,
    "Pod": PodDocument,
}
"""The documents that a file may hold, by kind."""
