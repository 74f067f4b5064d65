"""What is overheard of two pods of a lab: the ear is at the switch, beside the speaker's node."""

from __future__ import annotations

from emulator import Cluster
from emulator.measure.overheard import COUNT, Overheard
from emulator.measure.overheard import overheard as heard_by


def overheard(
    cluster: Cluster, speaker: str, listener: str, address: str = "", count: int = COUNT
) -> Overheard:
    """What is heard while one pod says ``count`` things to another, at an address of its own."""
    node = next(pod.node for pod in cluster.spec.pods if pod.id == speaker)
    ear, interface = cluster.beside(node)
    return heard_by(ear, interface, cluster.pod(speaker), cluster.pod(listener), address, count)
