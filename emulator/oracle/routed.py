"""Pods without a bridge, whose gateway is nobody's address: the node answers by proxy ARP.

In IPv6 the gateway is a link-local address that the node has, and needs nobody's help.
"""

from __future__ import annotations

from emulator.family import IPV4
from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.spec.resolved import ResolvedSpec
from emulator.wires import Wires

GATEWAY = "169.254.1.1"
"""What Calico's pods take for their gateway."""
GATEWAY_IPV6 = "fe80::ecee:eeff:feee:eeee"
"""And in IPv6: of every interface towards pods, and an address in earnest."""


class RoutedPods(model.Model):
    """A default route of the node must lead away from its pods, or the kernel answers no ARP in
    the place of their gateway."""

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        with_router = {segment for router in spec.routers for segment in router.segments}
        self._uplink = {node.name: node.interface for node in spec.nodes}
        self._silent: dict[str, str] = {}
        for node in spec.nodes:
            why = wires.down(node.name, node.interface)
            if node.segment not in with_router:
                why = f"no router stands on {node.segment}"
            if why and at.family is IPV4:
                self._silent[node.name] = (
                    f"{why}, so {node.name} has no default route, and without one proxy ARP does "
                    f"not answer for {GATEWAY}, the gateway of its pods"
                )

    def here(self, node: str) -> str:
        """Interfaces towards pods have no address of IPv4, and of IPv6 the gateway only."""
        if self.at.family is IPV4:
            return self.at.node[node]
        if near := self.near_pods(node):
            return near
        down = self.wires.down(node, self._uplink[node])
        return GATEWAY_IPV6 if down else self.at.node[node]

    def near_pods(self, node: str) -> str:
        """An address of the node that has more bits in common with those of its pods than that of
        its uplink has, which makes IPv6 prefer it; empty where there is none."""
        return ""

    def cut_off(self, node: str) -> str:
        """Where nobody answers for the gateway."""
        return self._silent.get(node, "")
