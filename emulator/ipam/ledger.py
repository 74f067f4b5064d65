"""What has been handed out before: pods that stay keep their addresses, new ones get others.

A ledger is the list of all seats in the order in which they were given: each holds a pod, or is
free since its pod is gone. The schemes of addresses (:mod:`emulator.ipam`) go through the seats
and not through the pods of a spec, so that a pod's address is that of its seat.

Who comes next gets a new seat, as host-local goes on behind the last address that it gave, and
Calico behind those that it never gave. Only when there is no room for a new seat, a free one is
taken: of host-local the next one behind the last given, of Calico the one that is free longest
(both from the begin again, where nothing is behind). Weave and Romana take the lowest free one
always.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from emulator.spec.resolved import ResolvedSpec

TUNNELLED = ("vxlan", "ipip")
"""Backends of Calico whose nodes take an address for their tunnel."""

LOWEST = ("weave", "romana")
"""Plugins that give the lowest address that is free, also one that was somebody's."""
ENCRYPTED = {" wireguard": "wireguardEnabled", " wireguard-v6": "wireguardEnabledV6"}
"""Options of Calico by which nodes take one more, and what follows the node's name in the ledger
then."""

Seat = tuple[str, str]
"""(pod id or empty, node)."""


class Ledger(NamedTuple):
    """``of``: the plugin and the CIDRs that the seats mean. ``freed``: numbers of free seats in the
    order in which they were left. ``last``: the number of the seat given last, by node.
    ``tunnels``: how many seats there were when a node took an address for a tunnel, as Calico's
    do; by the node, for WireGuard's with one of ``ENCRYPTED`` behind it.
    ``blocks``: what a node has claimed of a pool, where pools are cut into blocks. ``owners``:
    of each seat, whom its block is for, where blocks are for somebody (Romana's)."""

    of: tuple[str, tuple[str, ...]] = ("", ())
    seats: tuple[Seat, ...] = ()
    freed: tuple[int, ...] = ()
    last: Mapping[str, int] = {}
    tunnels: Mapping[str, int] = {}
    blocks: Mapping[str, tuple[str, ...]] = {}
    owners: tuple[str, ...] = ()


def written(spec: ResolvedSpec, before: Ledger, *, reuse: bool) -> Ledger:
    """The ledger of a spec whose pods come after ``before``.

    ``reuse``: there is no room for new seats, so that free ones are taken as long as there are any.
    Under another plugin or another CIDR all pods are new.
    """
    of = (spec.network.plugin, spec.pod_cidrs)
    if before.of != of:
        before = Ledger(of)
    wanted = {pod.id: pod.node for pod in spec.pods if not pod.host_network}
    owned = blocks_for(spec)
    nodes = {node.name for node in spec.nodes}
    seats: list[Seat] = []
    owners: list[str] = []
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
        owners += before.owners[old : old + 1]
    kept = list(number)
    tunnels: dict[str, int] = {}
    for kind, wanted_now in tunnel_kinds(spec).items():
        known = before.tunnels if wanted_now or not reuse else {}
        for name in (f"{node.name}{kind}" for node in spec.nodes):
            if name in known:
                tunnels[name] = bisect_left(kept, known[name])
            elif wanted_now:
                tunnels[name] = len(seats)
    freed = [number[old] for old in before.freed if old in number] + left
    last = {node: number[old] for node, old in before.last.items() if old in number}
    for pod, node in wanted.items():
        alike = [seat for seat in freed if not owned or owners[seat] == owned[pod]]
        seat = _free(spec.network.plugin, node, seats, alike, last) if reuse else None
        if seat is None:
            seat = len(seats)
            seats.append((pod, node))
            owners += [owned[pod]] if owned else []
        else:
            seats[seat] = (pod, node)
            freed.remove(seat)
        last[node] = seat
    blocks = {node: own for node, own in before.blocks.items() if node in nodes}
    return Ledger(of, tuple(seats), tuple(freed), last, tunnels, blocks, tuple(owners))


def blocks_for(spec: ResolvedSpec) -> dict[str, str]:
    """By pod id, whom its block is for under Romana: ``tenant:segment``, as Romana writes it."""
    if spec.network.plugin != "romana":
        return {}
    label = "romana.io/segment"
    return {p.id: f"{p.namespace}:{dict(p.labels).get(label, 'default')}" for p in spec.pods}


def tunnel_kinds(spec: ResolvedSpec) -> dict[str, bool]:
    """Whether nodes have a tunnel with an address of the pool: the backend's (an empty name), and
    those of ``ENCRYPTED``."""
    network = spec.network
    if network.plugin != "calico":
        return {}
    encrypted = {kind: bool(network.option(option)) for kind, option in ENCRYPTED.items()}
    return {"": network.backend in TUNNELLED, **encrypted}


def _free(
    plugin: str, node: str, seats: list[Seat], freed: list[int], last: Mapping[str, int]
) -> int | None:
    own = [seat for seat in freed if seats[seat][1] == node]
    if not own or plugin == "calico":
        return own[0] if own else None
    behind = [seat for seat in own if seat > last.get(node, -1)]
    return min(behind or own) if plugin not in LOWEST else min(own)
