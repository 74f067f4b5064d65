"""Faults: what a user can break in a running cluster.

Four kinds. A *link* is a cable of the topology: when it fails, the interfaces at its
ends lose carrier and stay administratively up. An *interface* is a kernel object that is
set administratively down; the other end of a point-to-point link loses carrier with it. A
*node* that fails loses all its cables at once, its uplink and those of its pods, as if the
machine were gone. A *daemon* that fails is killed and stays dead; what it has written stays
in the kernel, but for devices that it held open.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from emulator.spec.resolved import UPLINK, ResolvedSpec


class Fault(NamedTuple):
    """A fault in normal form, made by :func:`emulator.oracle.breakable.fault`.

    ``target`` is the name of a node for kind ``node``; ``name:interface`` for
    ``interface``; for ``link`` the name of what hangs on the switch or bridge by one
    cable (a node, a pod, an outside host, a switch below another), or ``router:interface``
    where there are several; ``name:daemon`` for ``daemon``.
    """

    kind: Literal["link", "interface", "node", "daemon"]
    target: str

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


def cables(spec: ResolvedSpec) -> dict[str, tuple[str, ...]]:
    """The interface at the near end of each cable, by node, router, outside host and pod.

    Only a router can have several. A hostNetwork pod has none. A switch has the one to the
    switch above it, if there is one.
    """
    ends: dict[str, tuple[str, ...]] = {n.name: (n.interface,) for n in spec.nodes}
    ends |= {r.name: tuple(f"eth{i}" for i in range(len(r.segments))) for r in spec.routers}
    ends |= {h.name: (h.interface,) for h in spec.hosts}
    ends |= {w.name: (UPLINK,) for s in spec.segments for w in s.switches[1:]}
    ends |= {p.id: () if p.host_network else ("eth0",) for p in spec.pods}
    return ends


End = tuple[str, str]
"""(router, interface)."""


def link_ends(spec: ResolvedSpec) -> dict[End, End]:
    """The other end of each end of a point-to-point link between routers."""
    met: dict[str, list[End]] = {s.name: [] for s in spec.segments if s.is_link}
    for router in spec.routers:
        for index, segment in enumerate(router.segments):
            if segment in met:
                met[segment].append((router.name, f"eth{index}"))
    pairs = [ends for ends in met.values() if len(ends) == 2]
    return {one: other for pair in pairs for one, other in (pair, pair[::-1])}
