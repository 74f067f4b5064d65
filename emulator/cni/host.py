"""The host network: every pod shares its node's namespace. The baseline of comparisons."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni.context import Context
from emulator.plan.resources import Resource
from emulator.spec.resolved import Node, Pod


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Nothing: the node's uplink is all there is."""
    return iter(())


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """Nothing: a hostNetwork pod has no objects of its own."""
    return iter(())
