"""Faults: what a user can break in a running cluster, by name.

Three kinds. A *link* is a cable of the topology: when it fails, the interfaces at its
ends lose carrier and stay administratively up. An *interface* is a kernel object that is
set administratively down. A *node* that fails loses all its cables at once, its uplink
and those of its pods, as if the machine were gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal, NamedTuple

from emulator.errors import Problem, SpecError
from emulator.spec.resolved import ResolvedSpec

BRIDGES = {"none": "cni0", "flannel": "cni0", "canal": "", "host": ""}
"""The bridge of a node's pods by plugin; empty where pods are routed, or have none to stand on."""


class Fault(NamedTuple):
    """A fault in normal form, made by :func:`fault`.

    ``target`` is the name of a node for kind ``node``; ``name:interface`` for
    ``interface``; for ``link`` the name of what hangs on the switch or bridge by one
    cable (a node, a pod, an outside host), or ``router:interface`` where there are several.
    """

    kind: Literal["link", "interface", "node"]
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


def interfaces(spec: ResolvedSpec) -> dict[str, tuple[str, ...]]:
    """The interfaces that a fault can name: ends of cables and what the plugin adds to a node."""
    plugin, backend = spec.network.plugin, spec.network.backend
    extra = tuple(filter(None, (BRIDGES.get(plugin, ""),)))
    if plugin in ("flannel", "canal") and backend == "vxlan":
        extra += (f"flannel.{dict(spec.network.options).get('vni', 1)}",)
    nodes = {n.name for n in spec.nodes}
    return {name: own + extra if name in nodes else own for name, own in cables(spec).items()}


def fault(spec: ResolvedSpec, kind: str, target: str) -> Fault:
    """The fault that the words name: ``link n1``, ``interface n1:flannel.1``, ``node n1``.

    SpecError, with the nearest match, when there is nothing of that name.
    """
    if kind == "node":
        nodes = [n.name for n in spec.nodes]
        if target not in nodes:
            raise _unknown("fault node", target, "the name of a node", nodes)
        return Fault("node", target)
    if kind == "link":
        known = cables(spec)
    elif kind == "interface":
        known = interfaces(spec)
    else:
        raise _unknown("fault", kind, "link, interface or node", ("link", "interface", "node"))
    name, _, end = target.partition(":")
    if name not in known:
        raise _unknown(f"fault {kind}", name, "a node, pod, router or outside host", known)
    if not known[name]:
        node = next(p.node for p in spec.pods if p.id == name)
        raise SpecError(
            Problem(
                f"fault {kind}",
                f"{name!r}, a hostNetwork pod",
                "something with a network of its own",
                f"it lives in the network of its node {node}: name that one",
            )
        )
    targets = [f"{name}:{interface}" for interface in known[name]]
    if kind == "link" and len(targets) == 1 and target in (name, *targets):
        return Fault("link", name)
    if target not in targets:
        choices = [name] if kind == "link" and len(targets) == 1 else targets
        raise _unknown(f"fault {kind}", target, " or ".join(choices), choices if end else ())
    return Fault("link" if kind == "link" else "interface", target)


def _unknown(place: str, found: str, expected: str, names: Iterable[str]) -> SpecError:
    near = get_close_matches(found, list(names), n=1, cutoff=0.5)  # names are short
    return SpecError(
        Problem(place, repr(found), expected, f"did you mean {near[0]!r}?" if near else "")
    )
