"""What has been handed out before: pods that stay keep their addresses, new ones get others.

A ledger is the list of all seats in the order in which they were given: each holds a pod, or is
free since its pod is gone. The schemes of addresses (:mod:`emulator.ipam`) go through the seats
and not through the pods of a spec, so that a pod's address is that of its seat.

Who comes next gets a new seat, as host-local goes on behind the last address that it gave, and
Calico behind those that it never gave. Only when there is no room for a new seat, a free one is
taken: of host-local the next one behind the last given, of Calico the one that is free longest
(both from the begin again, where nothing is behind). Weave takes the lowest free one always.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from emulator.spec.resolved import ResolvedSpec

Seat = tuple[str, str]
"""(pod id or empty, node)."""


class Ledger(NamedTuple):
    """``of``: the plugin and the CIDRs that the seats mean. ``freed``: numbers of free seats in the
    order in which they were left. ``last``: the number of the seat given last, by node.
    ``tunnels``: how many seats there were when a node took an address for its tunnel, as Calico's
    do. ``blocks``: what a node has claimed of a pool, where pools are cut into blocks."""

    of: tuple[str, tuple[str, ...]] = ("", ())
    seats: tuple[Seat, ...] = ()
    freed: tuple[int, ...] = ()
    last: Mapping[str, int] = {}
    tunnels: Mapping[str, int] = {}
    blocks: Mapping[str, tuple[str, ...]] = {}


def written(spec: ResolvedSpec, before: Ledger, *, reuse: bool) -> Ledger:
    """The ledger of a spec whose pods come after ``before``.

    ``reuse``: there is no room for new seats, so that free ones are taken as long as there are any.
    Under another plugin or another CIDR all pods are new.
    """
    of = (spec.network.plugin, spec.pod_cidrs)
    if before.of != of:
        before = Ledger(of)
    wanted = {pod.id: pod.node for pod in spec.pods if not pod.host_network}
    nodes = {node.name for node in spec.nodes}
    seats: list[Seat] = []
    freed: list[int] = []
    number: dict[int, int] = {}
    left: list[int] = []
    for old, (pod, node) in enumerate(before.seats):
        if node not in nodes:
            continue
        number[old] = len(seats)
        stays = bool(pod) and wanted.get(pod) == node
        if stays:
            del wanted[pod]
        elif pod:
            left.append(len(seats))
        seats.append((pod if stays else "", node))
    tunnelled = spec.network.plugin == "calico" and spec.network.backend == "vxlan"
    known = before.tunnels if tunnelled or not reuse else {}
    kept = list(number)
    tunnels = {
        node.name: bisect_left(kept, known[node.name]) if node.name in known else len(seats)
        for node in spec.nodes
        if tunnelled or node.name in known
    }
    freed = [number[old] for old in before.freed if old in number] + left
    last = {node: number[old] for node, old in before.last.items() if old in number}
    for pod, node in wanted.items():
        seat = _free(spec.network.plugin, node, seats, freed, last) if reuse else None
        if seat is None:
            seat = len(seats)
            seats.append((pod, node))
        else:
            seats[seat] = (pod, node)
            freed.remove(seat)
        last[node] = seat
    blocks = {node: own for node, own in before.blocks.items() if node in nodes}
    return Ledger(of, tuple(seats), tuple(freed), last, tunnels, blocks)


def _free(
    plugin: str, node: str, seats: list[Seat], freed: list[int], last: Mapping[str, int]
) -> int | None:
    own = [seat for seat in freed if seats[seat][1] == node]
    if not own or plugin == "calico":
        return own[0] if own else None
    behind = [seat for seat in own if seat > last.get(node, -1)]
    return min(behind or own) if plugin != "weave" else min(own)
