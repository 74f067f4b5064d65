"""What can be broken in a cluster, by name: cables, interfaces, nodes, daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches

from emulator.errors import Problem, SpecError
from emulator.family import Family, family
from emulator.faults import Fault, cables
from emulator.oracle.model import model
from emulator.spec.resolved import Network, ResolvedSpec

KINDS = ("link", "interface", "node", "daemon")


def interfaces(spec: ResolvedSpec) -> dict[str, tuple[str, ...]]:
    """The interfaces that a fault can name: ends of cables and what the plugin adds to a node."""
    extra = _of_each(spec, model(spec.network.plugin).devices)
    peers = {n.name: _towards(spec, n.name) for n in spec.nodes}
    found = dict(cables(spec))
    for node in peers:
        found[node] += extra + sum((own for peer, own in peers.items() if peer != node), ())
    return found


def daemons(spec: ResolvedSpec) -> dict[str, tuple[str, ...]]:
    """The daemons that a fault can name, by node and router."""
    of_plugin = _of_each(spec, model(spec.network.plugin).daemons)
    found = {router.name: ("bird",) for router in spec.routers if spec.routing == "bgp"}
    return found | {node.name: of_plugin for node in spec.nodes if of_plugin}


def _towards(spec: ResolvedSpec, peer: str) -> tuple[str, ...]:
    named = model(spec.network.plugin).devices_towards
    return _of_each(spec, lambda network, which: named(network, peer, which))


def _of_each(
    spec: ResolvedSpec, named: Callable[[Network, Family], tuple[str, ...]]
) -> tuple[str, ...]:
    """What a plugin names for each family, once."""
    families = [family(cidr) for cidr in spec.pod_cidrs]
    return tuple(dict.fromkeys(name for one in families for name in named(spec.network, one)))


def fault(spec: ResolvedSpec, kind: str, target: str) -> Fault:
    """The fault that the words name: ``link n1``, ``interface n1:flannel.1``, ``node n1``.

    SpecError, with the nearest match, when there is nothing of that name.
    """
    if kind == "node":
        nodes = [n.name for n in spec.nodes]
        if target not in nodes:
            raise _unknown("fault node", target, "the name of a node", nodes)
        return Fault("node", target)
    if kind == "daemon":
        return _daemon(spec, target)
    if kind == "link":
        known = cables(spec)
    elif kind == "interface":
        known = interfaces(spec)
    else:
        raise _unknown("fault", kind, "link, interface, node or daemon", KINDS)
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


def _daemon(spec: ResolvedSpec, target: str) -> Fault:
    known = [f"{name}:{one}" for name, all_of in daemons(spec).items() for one in all_of]
    if not known:
        found = f"{spec.network.plugin}, which runs none"
        expected = "a plugin that runs daemons, or underlay.routing: bgp"
        raise SpecError(Problem("fault daemon", found, expected))
    if target not in known:
        own = [one for one in known if one.startswith(f"{target.partition(':')[0]}:")]
        expected = " or ".join(own) or f"NODE:DAEMON, as {known[0]}"
        raise _unknown("fault daemon", target, expected, known)
    return Fault("daemon", target)


def _unknown(place: str, found: str, expected: str, names: Iterable[str]) -> SpecError:
    near = get_close_matches(found, list(names), n=1, cutoff=0.5)  # names are short
    return SpecError(
        Problem(place, repr(found), expected, f"did you mean {near[0]!r}?" if near else "")
    )
