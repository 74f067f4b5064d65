"""Faults: what a user can break in a running cluster.

Four kinds. A *link* is a cable of the topology: when it fails, the interfaces at its
ends lose carrier and stay administratively up. An *interface* is a kernel object that is
set administratively down. A *node* that fails loses all its cables at once, its uplink
and those of its pods, as if the machine were gone. A *daemon* that fails is killed and stays
dead; what it has written stays in the kernel, but for devices that it held open.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from emulator.spec.resolved import ResolvedSpec


class Fault(NamedTuple):
    """A fault in normal form, made by :func:`emulator.oracle.breakable.fault`.

    ``target`` is the name of a node for kind ``node``; ``name:interface`` for
    ``interface``; for ``link`` the name of what hangs on the switch or bridge by one
    cable (a node, a pod, an outside host), or ``router:interface`` where there are several;
    ``name:daemon`` for ``daemon``.
    """

    kind: Literal["link", "interface", "node", "daemon"]
    target: str

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


def cables(spec: ResolvedSpec) -> dict[str, tuple[str, ...]]:
    """The interface at the near end of each cable, by node, router, outside host and pod.

    Only a router can have several. A hostNetwork pod has none.
    """
    ends: dict[str, tuple[str, ...]] = {n.name: (n.interface,) for n in spec.nodes}
    ends |= {r.name: tuple(f"eth{i}" for i in range(len(r.segments))) for r in spec.routers}
    ends |= {h.name: (h.interface,) for h in spec.hosts}
    ends |= {p.id: () if p.host_network else ("eth0",) for p in spec.pods}
    return ends
