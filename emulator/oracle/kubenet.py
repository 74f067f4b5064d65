"""kubenet: pods on a bridge, and routers of the underlay as the only ones who know the way."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import ResolvedSpec
from emulator.wires import Wires


class Model(model.Model):
    """A node sends what is for other pods to its router, though the other node be next to it."""

    bridge = "cbr0"

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        if self.pod_mtu < 576:  # too small to be taken for a model
            self.pod_mtu = 1460
        self._inside = IPv4Network(str(spec.network.option("nonMasqueradeCIDR")))

    def by_routers(self, near: str, far: str) -> bool:
        """Always: nobody else knows the pods."""
        return True

    def leg(self, near: str, far: str) -> Leg:
        """By routers in both directions. A node is answered directly, for its address is one of
        the underlay."""
        routers, broken = self.wires.between(near, far, True, True)
        _, node_broken = self.wires.between(near, far, True, False)
        words = f"only routers know the pods of {far}: {near} sends to its own, "
        if self.same_segment(near, far):
            words += f"though {far} is on the same segment"
        else:
            words += f"{routers} on the way" if routers > 1 else f"which stands beside {far} too"
        return Leg(
            self.at.node[near],
            words,
            self._nobody(broken),
            2 + (routers or 1),
            self.spec.links.mtu,
            self._nobody(node_broken),
        )

    @staticmethod
    def _nobody(broken: str) -> str:
        alone = broken.startswith("no router stands")
        return f"{broken}, and nobody else knows the pods of other nodes" if alone else broken

    def hides_from_node(self, node: str) -> bool:
        """Unless the underlay is a part of the range that is not masqueraded."""
        return IPv4Address(self.at.node[node]) not in self._inside

    def hides_from_host(self, host: str) -> bool:
        """As from a node."""
        return IPv4Address(self.at.host[host]) not in self._inside

    def back_from_host(self, host: str, near: str, address: str) -> str:
        """A router of the fabric knows the pods."""
        return self._nobody(self.wires.between(host, near, True, False)[1])
