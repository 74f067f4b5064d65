"""What a plugin's room is given: the resolved cluster and its addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from emulator.datapath.naming import mac
from emulator.ipam import Addressing
from emulator.plan.resources import Resource
from emulator.spec.resolved import Node, Pod, ResolvedSpec


class Context(NamedTuple):
    """The cluster as a plugin sees it. ``vtep_mac(node, device)`` is drawn once per node."""

    spec: ResolvedSpec
    addressing: Addressing
    vtep_mac: Callable[[str, str], str]


def context(spec: ResolvedSpec, addressing: Addressing) -> Context:
    """A context whose MAC addresses are computed once and not once per pair of nodes."""
    return Context(spec, addressing, cache(lambda node, dev: mac(node, dev)))


class Room(Protocol):
    """A plugin: two pure functions."""

    def node(self, context: Context, node: Node) -> Iterator[Resource]:
        """The state of one node."""
        ...

    def pod(self, context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
        """The state of one pod and of its end on the node."""
        ...


def room(plugin: str) -> Room | None:
    """The room of a plugin: the module ``emulator.cni.<plugin>``; None where there is none."""
    name = f"{__package__}.{plugin.replace('-', '_')}"
    try:
        return cast(Room, import_module(name))
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None
