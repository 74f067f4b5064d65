"""Romana: pods without a bridge; hosts of one segment route to each other's blocks, and routers
have one prefix for all pods of a segment.

Pods ask by ARP for every destination, and their node answers whatever it has a route to. That it
has no default route is felt by what needs one, and by nothing else.
"""

from __future__ import annotations

from emulator.family import IPV4, Family
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires

DAEMON = "bird"
"""Of nodes and of routers."""


class Model(model.Model):
    """Directly within a segment, and by the default route to any other one."""

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        option = spec.network.option
        self.pod_mtu = int(option("mtu"))
        self.masquerade = self.masquerade_to_nodes = bool(option("nat"))
        self._published = bool(option("routePublisher"))
        self._hosts = {host.name for host in spec.hosts}

    @classmethod
    def devices(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The one that holds the pods' gateway, which they never use."""
        return ("romana-lo",)

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The publisher's."""
        return (DAEMON,) if network.option("routePublisher") else ()

    def by_routers(self, near: str, far: str) -> bool:
        """Between segments, and for whoever is no node."""
        return far in self._hosts or not self.same_segment(near, far)

    def leg(self, near: str, far: str) -> Leg:
        """By the route to a block, or by routers."""
        links, node = self.spec.links.mtu, self.at.node[near]
        if self.same_segment(near, far):
            words = f"{near} has a route to the blocks of {far} by its address: two routed hops"
            return Leg(node, words, self.wires.between(near, far)[1], mtu=links)
        routers, broken = self.wires.between(near, far, True, True)
        _, node_broken = self.wires.between(near, far, True, False)
        there = self._unknown(near, far)
        words = f"{near} leaves it to its router, and routers know the group of {far}"
        return Leg(
            node,
            f"{words}: {2 + routers} routed hops",
            broken or there or self._unknown(far, near),
            2 + routers,
            links,
            node_broken or there,
        )

    def back_from_host(self, host: str, near: str, address: str) -> str:
        """Routers know the group, whoever asks."""
        return self.wires.between(host, near, True, False)[1] or self._unknown(host, near)

    def _unknown(self, near: str, far: str) -> str:
        """Why routers do not lead from a node or outside host to a node's blocks; empty when they
        do. What they have on link needs no daemon of a node, and goes the way of its segment."""
        if not self._published:
            return ""
        beside, first = self._beside(far), self._beside(near)[:1]
        wires = self.wires.before(*(Fault("daemon", f"{name}:{DAEMON}") for name in first))
        if set(first) <= set(beside):
            return self._untold(far, wires)
        dead = [wires.dead(name, DAEMON) for name in beside]
        if dead and all(dead):
            return f"{dead[0]}, so no other router has the prefix of the group of {far}"
        told = [self.wires.before(Fault("daemon", f"{name}:{DAEMON}")) for name in beside]
        silent = [self._untold(far, one) for one in told]
        return silent[0] if silent and all(silent) else ""

    def _untold(self, far: str, wires: Wires) -> str:
        if dead := wires.dead(far, DAEMON):
            return f"{dead}, and no router has a route to its blocks any more"
        why = wires.apart(far)
        return f"{why}, so its routers have forgotten its blocks" if why else ""

    def _beside(self, station: str) -> list[str]:
        """The routers in the segment of a node or outside host."""
        segment = self.wires.segment[station]
        return [router.name for router in self.spec.routers if segment in router.segments]
