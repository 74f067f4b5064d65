"""The resolved spec: typed values with nothing left to guess.

Made by :func:`emulator.spec.load`; read by the compiler and the oracle. All
addresses are canonical text (``192.168.1.0/24``), rates are bits per second.
Each value knows the place of the YAML that it came from, so that later errors
lead back there.
"""

from __future__ import annotations

import json
from typing import Final, Literal, NamedTuple

from emulator.spec.medium import Ends

Offload = Literal["full", "wire", "off"]
Routing = Literal["static", "bgp"]

UPLINK: Final = "eth1"
"""The port of a switch towards the one above it."""


class Place(NamedTuple):
    """Where in a file: ``file:line:column: path`` (line and column from 1).

    Line 0 stands for no file: ``--set path``, an override of the command line.
    """

    file: str
    line: int
    column: int
    path: str

    def __str__(self) -> str:
        if not self.line:
            return f"{self.file} {self.path}"
        return f"{self.file}:{self.line}:{self.column}: {self.path}"


class Links(NamedTuple):
    """Settings of every underlay cable; ``ends`` where no narrower place says otherwise."""

    mtu: int
    offload: Offload
    ends: Ends = Ends()


class Switch(NamedTuple):
    """One of several switches of a segment, below the switch ``uplink`` (empty for the first).

    ``ends`` is said of the cable to the uplink, which is its egress.
    """

    name: str
    uplink: str
    ends: Ends = Ends()


class Segment(NamedTuple):
    """A layer-2 domain. One switch of its name, or a tree of ``switches``, the first at its root.

    A network namespace has the name of a switch. ``cidrs`` are of the families of the pods'
    networks, in their order. ``ends`` is said of all its cables.
    """

    name: str
    cidrs: tuple[str, ...]
    place: Place
    switches: tuple[Switch, ...] = ()
    ends: Ends = Ends()

    @property
    def is_link(self) -> bool:
        """Whether it is a point-to-point link (a /31, RFC 3021, or a /127, RFC 6164): when one end
        of it goes down, the other loses carrier."""
        return self.cidr.endswith(("/31", "/127"))

    @property
    def tree(self) -> tuple[Switch, ...]:
        """Its switches; at least one."""
        return self.switches or (Switch(self.name, ""),)

    @property
    def cidr(self) -> str:
        """The network of the primary family."""
        return self.cidrs[0]


class Router(NamedTuple):
    """Joins segments; interface ``eth<i>`` stands in ``segments[i]``.

    ``links``: what is said of its cables, by segment.
    """

    name: str
    segments: tuple[str, ...]
    place: Place
    links: tuple[tuple[str, Ends], ...] = ()


class Bfd(NamedTuple):
    """Bidirectional forwarding detection (RFC 5880): a packet every so often, and how many of
    them in a row may be missing until the neighbour is gone. Defaults are those of BIRD."""

    interval_ms: int = 100
    multiplier: int = 5


class Bgp(NamedTuple):
    """Timers of routers that speak BGP; without ``bfd`` only the hold time finds silence out."""

    hold_time_s: int = 6
    bfd: Bfd | None = None


class Host(NamedTuple):
    """A host outside the cluster; it knows no pod networks. Else as a node."""

    name: str
    segment: str
    interface: str
    place: Place
    switch: str = ""
    ends: Ends = Ends()


class Node(NamedTuple):
    """A node of the cluster; ``interface`` names its uplink (``eth0``).

    ``switch`` is one of its segment's (empty: the first), ``ends`` what is said of its cable.
    """

    name: str
    segment: str
    interface: str
    place: Place
    switch: str = ""
    ends: Ends = Ends()


class Container(NamedTuple):
    """A container of a pod; an empty ``command`` means that no process is started."""

    name: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]


class Bandwidth(NamedTuple):
    """What a pod may receive and send, in bits per second; zero where there is no limit."""

    ingress: int = 0
    egress: int = 0


class Pod(NamedTuple):
    """A pod bound to a node; ``labels`` are sorted pairs."""

    name: str
    namespace: str
    node: str
    labels: tuple[tuple[str, str], ...]
    host_network: bool
    restart_policy: Literal["Always", "OnFailure", "Never"]
    containers: tuple[Container, ...]
    place: Place
    bandwidth: Bandwidth = Bandwidth()

    @property
    def id(self) -> str:
        """The name in the lab: ``web`` in namespace default, else ``team.web``."""
        return self.name if self.namespace == "default" else f"{self.namespace}.{self.name}"


class Network(NamedTuple):
    """The pod network: a plugin, its backend and its own typed options.

    ``options`` are the plugin's own, already checked: sorted (name, value) pairs, lists and
    mappings as JSON.
    """

    plugin: str
    backend: str
    options: tuple[tuple[str, bool | int | str], ...]
    place: Place

    def option(self, name: str) -> bool | int | str:
        """The value of an option of the plugin; KeyError when it has none of that name."""
        return dict(self.options)[name]

    @property
    def peers_with_routers(self) -> bool:
        """Whether nodes speak BGP with the routers of their segment, where these do."""
        return bool(dict(self.options).get("peerWithRouters"))

    def names(self, name: str) -> tuple[str, ...]:
        """The value of an option that is a list of names; KeyError."""
        return tuple(json.loads(str(self.option(name))))


class ResolvedSpec(NamedTuple):
    """A whole cluster. Order of all sequences is the order of the file.

    ``pod_cidrs`` holds a network, or one of each family, the primary one first;
    ``node_prefixes`` the length of a node's part of each. ``bgp`` is of use where routing is bgp.
    """

    name: str
    pod_cidrs: tuple[str, ...]
    node_prefixes: tuple[int, ...]
    network: Network
    congestion_control: str | None
    segments: tuple[Segment, ...]
    routers: tuple[Router, ...]
    hosts: tuple[Host, ...]
    links: Links
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    place: Place
    routing: Routing = "static"
    bgp: Bgp = Bgp()

    @property
    def pod_cidr(self) -> str:
        """The pods' network of the primary family."""
        return self.pod_cidrs[0]

    @property
    def node_prefix(self) -> int:
        """The length of a node's part of it."""
        return self.node_prefixes[0]

    @property
    def ipv6(self) -> bool:
        """Whether one of its families is IPv6."""
        return any(":" in cidr for cidr in self.pod_cidrs)
