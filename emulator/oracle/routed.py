"""Pods without a bridge, whose gateway is nobody's address: the node answers by proxy ARP."""

from __future__ import annotations

from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.spec.resolved import ResolvedSpec
from emulator.wires import Wires

GATEWAY = "169.254.1.1"
"""What Calico's pods take for their gateway."""


class RoutedPods(model.Model):
    """A default route of the node must lead away from its pods, or the kernel answers no ARP in
    the place of their gateway."""

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        with_router = {segment for router in spec.routers for segment in router.segments}
        self._silent: dict[str, str] = {}
        for node in spec.nodes:
            why = wires.down(node.name, node.interface)
            if node.segment not in with_router:
                why = f"no router stands on {node.segment}"
            if why:
                self._silent[node.name] = (
                    f"{why}, so {node.name} has no default route, and without one proxy ARP does "
                    f"not answer for {GATEWAY}, the gateway of its pods"
                )

    def cut_off(self, node: str) -> str:
        """Where nobody answers for the gateway."""
        return self._silent.get(node, "")
