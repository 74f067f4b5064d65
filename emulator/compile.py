"""From a resolved spec to a plan: the table of contents of the compiler."""

from __future__ import annotations

import gc
from collections.abc import Sequence, Set

from emulator import fabric, underlay
from emulator.cni.context import Context, Room, context, room
from emulator.datapath.base import no_reverse_path_filter
from emulator.datapath.paths import Aggregates, Behind
from emulator.degrade import degraded
from emulator.errors import PodwireError, SpecError
from emulator.faults import Fault, cables, link_ends
from emulator.ipam import Addressing, allocate
from emulator.plan import Plan
from emulator.plan.check import check, told
from emulator.plan.resources import Addr, Process, Resource
from emulator.spec.resolved import Pod, ResolvedSpec
from emulator.wires import Wires


def compile_spec(spec: ResolvedSpec, addressing: Addressing | None = None) -> Plan:
    """The desired kernel state of a cluster. Pure.

    SpecError where addresses run out; PodwireError where two rooms claim one object or the
    kernel could not hold the plan (see :mod:`emulator.plan.check`).
    """
    addresses = addressing or allocate(spec)
    # a plan of 100,000 small values holds no cycles, and collecting while it grows costs
    # more than making it
    collecting = gc.isenabled()
    gc.disable()
    try:
        plan = _compile(spec, addresses)
        if problems := check(plan):
            raise PodwireError(*told(problems))
        return plan
    finally:
        if collecting:
            gc.enable()


def faulted(
    plan: Plan, spec: ResolvedSpec, addressing: Addressing, faults: Sequence[Fault]
) -> Plan:
    """The plan of a spec with faults laid over it, and with what its daemons make of them."""
    if not faults:
        return plan
    result = degraded(plan, faults, cables(spec), link_ends(spec))
    _learnt(result, context(spec, addressing, faults), faults)
    return result


def _compile(spec: ResolvedSpec, addressing: Addressing) -> Plan:
    plan = Plan()
    plan.add(underlay.switches(spec), "underlay")
    plan.add(underlay.devices(spec), "underlay")
    routers = {router.name for router in spec.routers}
    for link in underlay.cables(spec, addressing):
        plan.add(underlay.cable(spec, link, link.device in routers), f"underlay: {link.device}")
    plan.add(underlay.routes(spec, addressing), "underlay: routes")

    plugin, label = _plugin(spec)
    about = context(spec, addressing)
    behind = _behind(about)
    plan.add(underlay.behind(spec, addressing, behind), f"underlay: routes for {label}")
    whole = _aggregates(about)
    plan.add(underlay.aggregated(spec, addressing, whole), f"underlay: routes for {label}")
    daemons = fabric.daemons(spec, addressing, _announcers(about), behind, whole)
    plan.add(daemons, "underlay: routing bgp")
    nodes = {node.name: node for node in spec.nodes}
    for node in spec.nodes:
        plan.add(plugin.node(about, node), label)
    for pod in spec.pods:
        if not pod.host_network:
            plan.add(plugin.pod(about, nodes[pod.node], pod), f"{label}: pod {pod.id}")
        if any(container.command for container in pod.containers):
            plan.add(_containers(pod), f"{pod.place}")
    plan.add(_unfiltered(plan, {*nodes, *(router.name for router in spec.routers)}), "underlay")
    _learnt(plan, about)
    return plan


def _unfiltered(plan: Plan, places: Set[str]) -> list[Resource]:
    """No reverse path filter on what has an address there, whoever made it."""
    devices: dict[str, dict[str, None]] = {}
    for entry in plan:
        r = entry.resource
        if type(r) is Addr and r.ns in places and ":" not in r.address:
            devices.setdefault(r.ns, {})[r.dev] = None
    return [r for ns, named in devices.items() for r in no_reverse_path_filter(ns, *named)]


def _plugin(spec: ResolvedSpec) -> tuple[Room, str]:
    """The room of the spec's plugin, and what it is called where something is wrong."""
    network = spec.network
    plugin = room(network.plugin)
    if plugin is None:  # the spec room refuses it first; here it guards the Python API
        raise SpecError(f"{network.place}: no room for plugin {network.plugin!r}")
    return plugin, f"{network.plugin} ({network.place.file}:{network.place.line})"


def _announcers(about: Context) -> fabric.Announcers:
    """What nodes say to the routers by BGP, where the plugin's do."""
    announced = getattr(_plugin(about.spec)[0], "announced", None)
    if announced is None:
        return {}
    said = {node.name: announced(about, node) for node in about.spec.nodes}
    return {name: one for name, one in said.items() if one is not None}


def _behind(about: Context) -> Behind:
    """What routers lead to nodes, where the plugin leaves that to them."""
    hook = getattr(_plugin(about.spec)[0], "behind", None)
    return {} if hook is None else {node.name: hook(about, node) for node in about.spec.nodes}


def _aggregates(about: Context) -> Aggregates:
    """The prefixes by which routers know all pods of a segment, where the plugin has such."""
    hook = getattr(_plugin(about.spec)[0], "aggregated", None)
    whole: Aggregates = Aggregates() if hook is None else hook(about)
    return whole


def _learnt(plan: Plan, about: Context, faults: Sequence[Fault] = ()) -> None:
    """Add what daemons write: expected, never written by us."""
    plugin, label = _plugin(about.spec)

    def told(wires: Wires) -> fabric.Announcers:
        return _announcers(about._replace(wires=wires))

    led = (_behind(about), _aggregates(about))
    routes = fabric.learnt(about.spec, about.addressing, told, *led, faults)
    for router, route in routes:
        source = f"underlay: {fabric.DAEMON} of {router.name}"
        plan.add([route], source, "expected", fabric.DAEMON)
    learnt = getattr(plugin, "learnt", None)
    if learnt is None:
        return
    for node in about.spec.nodes:
        for writer, resource in learnt(about, node):
            plan.add([resource], f"{label}: {writer}", "expected", writer)


def _containers(pod: Pod) -> list[Resource]:
    """The commands of a pod; all its containers share one network namespace."""
    ns = pod.node if pod.host_network else pod.id
    return [
        Process(ns, f"{pod.id}/{c.name}", c.command, c.env, pod.restart_policy)
        for c in pod.containers
        if c.command
    ]
