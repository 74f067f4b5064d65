"""How the pods of one plugin stand on their nodes and travel between them.

Each plugin has a room of its own here, a class ``Model``: what is common to most is in the
base. A model reasons from the resolved spec, the addresses and the wires; it never sees a
route, a rule or a device of the compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar, NamedTuple

from emulator.family import IPV4, Family
from emulator.ipam import Addressing
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires


class Leg(NamedTuple):
    """The way of packets from the pods of one node to those of another, both directions.

    ``source`` is what the first node itself takes as its own address on that way; ``broken``
    says why nothing passes, or is empty. ``hops``: how often a packet from pod to pod is routed
    (its TTL falls by as much); from the node itself it is one less. ``mtu`` in bytes; zero where
    the way takes whatever the pods can send.
    """

    source: str
    words: str
    broken: str
    hops: int = 2
    mtu: int = 0
    node_broken: str | None = None
    """Why nothing passes between the first node itself and those pods, where that differs."""

    @property
    def from_node(self) -> str:
        """Why nothing passes between the first node itself and those pods."""
        return self.broken if self.node_broken is None else self.node_broken


class Model:
    """The base: what a plugin does in one family unless its room says otherwise.

    ``at`` is of that family, and ``at.family`` names it.

    ``bridge``: the bridge of a node that its pods are ports of; empty where they are routed.
    ``one_segment``: whether the bridges of all nodes are one layer-2 segment.
    ``masquerade``: whether what leaves for the outside takes the node's address;
    ``masquerade_to_nodes``: also what goes to other nodes of the cluster.
    ``pod_mtu``: of the pods' interfaces, in bytes. ``everywhere_the_same``: each node gives the
    same addresses to its pods. ``unknown``: why nothing is predicted of pods; empty if it is.
    """

    bridge: str = ""
    one_segment: ClassVar[bool] = False

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        self.spec, self.at, self.wires = spec, at, wires
        self.pod_mtu = spec.links.mtu
        self.masquerade = False
        self.masquerade_to_nodes = False
        self.everywhere_the_same = False
        self.unknown = ""

    @classmethod
    def devices(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The interfaces that the plugin adds to every node for a family, pods' ends excepted."""
        bridge = cls.bridge_of(network)
        return (bridge,) if bridge else ()

    @classmethod
    def devices_towards(cls, network: Network, peer: str, which: Family = IPV4) -> tuple[str, ...]:
        """The interfaces that it adds to every node because of another one, ``peer``."""
        return ()

    @classmethod
    def bridge_of(cls, network: Network) -> str:
        """The bridge that pods are ports of under these options; empty where there is none."""
        return cls.bridge

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The daemons that the plugin runs on every node for a family: names of processes."""
        return ()

    @property
    def routed(self) -> bool:
        """Whether pods of one node reach each other by routing."""
        return not self.bridge

    def here(self, node: str) -> str:
        """The address of a node as its own pods see it, and as it speaks to them."""
        return (self.at.gateway if self.bridge else self.at.node)[node]

    def cut_off(self, node: str) -> str:
        """Why the pods of a node reach nothing at all, not even it; empty when they do."""
        return self.wires.down(node, self.bridge)

    def leg(self, near: str, far: str) -> Leg:
        """How pods of ``near`` reach pods of ``far``, another node."""
        raise NotImplementedError

    def to_node(self, near: str, far: str) -> Leg | None:
        """How pods of ``near`` reach the address of ``far``, another node, and not back; None where
        that is the underlay's own way."""
        return None

    def leg_of(self, leg: Leg, near: str, far: str, own: str, address: str) -> Leg:
        """``leg`` of the pods of ``near`` to those of ``far`` for the pods that have these two
        addresses; ``own`` is empty for the node itself."""
        return leg

    def by_routers(self, near: str, far: str) -> bool:
        """Whether what ``far``, a node or outside host, sends to pods of ``near`` or the other way
        goes by the sender's default route, to a router that knows the pods."""
        return False

    def hides_from_node(self, node: str) -> bool:
        """Whether another node sees a pod under its node's address."""
        return self.masquerade_to_nodes

    def hides_from_host(self, host: str) -> bool:
        """Whether an outside host sees a pod under its node's address."""
        return self.masquerade

    def back_from_host(self, host: str, near: str, address: str) -> str:
        """Why an outside host cannot answer a pod of ``near`` whose own ``address`` it sees."""
        return f"{host} sees {address}, a pod address, and knows no route back to it"

    def also_outside(self, near: str) -> str:
        """What is to be added to the words about a node's packets to pods of other nodes."""
        return ""

    def same_segment(self, near: str, far: str) -> bool:
        """Whether two nodes share a layer-2 segment of the underlay."""
        return self.wires.segment[near] == self.wires.segment[far]


def model(plugin: str) -> type[Model]:
    """The model of a plugin: ``emulator.oracle.<plugin>.Model``. ValueError where there is none."""
    name = f"{__package__}.{plugin.replace('-', '_')}"
    try:
        found: type[Model] = import_module(name).Model
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(f"no predictions for plugin {plugin}") from None
    return found
