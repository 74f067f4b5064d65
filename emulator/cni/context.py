"""What a plugin's room is given: the resolved cluster and its addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import NamedTuple, Protocol, cast

from emulator.datapath.naming import mac
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.plan.resources import Resource
from emulator.spec.resolved import Node, Pod, ResolvedSpec
from emulator.wires import Wires


class Context(NamedTuple):
    """The cluster as a plugin sees it. ``vtep_mac(node, device)`` is drawn once per node.

    ``wires``: what still carries, for what daemons write (``learnt``); state that we write does
    not depend on it.
    """

    spec: ResolvedSpec
    addressing: Addressing
    vtep_mac: Callable[[str, str], str]
    wires: Wires


def context(spec: ResolvedSpec, addressing: Addressing, faults: Iterable[Fault] = ()) -> Context:
    """A context whose MAC addresses are computed once and not once per pair of nodes."""
    drawn = cache(lambda node, dev: mac(node, dev))
    return Context(spec, addressing, drawn, Wires(spec, faults))


Learnt = Iterator[tuple[str, Resource]]
"""What daemons write: each resource with the name of its process."""


Prefixes = tuple[str, ...]


class Room(Protocol):
    """A plugin: two pure functions.

    A room whose daemons or helpers write state of their own has a third one,
    ``learnt(context, node) -> Learnt``: what the kernel holds of theirs once they have converged
    on whatever ``context.wires`` still carries.

    One whose nodes speak BGP with the routers of an underlay that does so as well
    (``autonomous.rack_routers``) has ``announced(context, node) -> Announced | None``: the
    routers have a session with the node then, take its prefixes and pass them on.

    One that leaves the way to pods to the underlay has ``behind(context, node) -> Prefixes``:
    what every router of the underlay leads to that node, by static routes.

    One whose pods have one prefix for each segment has ``aggregated(context) -> Aggregates``: it
    is all that routers know of pods in other segments than their own.
    """

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
