"""Canal: Calico's pods, flannel between the nodes."""

from __future__ import annotations

from emulator.oracle.flannel import Backend
from emulator.oracle.routed import RoutedPods


class Model(RoutedPods, Backend):
    """Pods are routed on their node, and travel as flannel's backend says."""
