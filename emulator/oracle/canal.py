"""Canal: Calico's pods, flannel between the nodes."""

from __future__ import annotations

from emulator.oracle.flannel import Backend
from emulator.oracle.routed import RoutedPods


class Model(RoutedPods, Backend):
    """Pods are routed on their node, and travel as flannel's backend says."""

    def near_pods(self, node: str) -> str:
        """The tunnel has the first address of the node's subnet."""
        return self.tunnel_address(node) if self.has_tunnel(node) else ""
