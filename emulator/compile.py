"""From a resolved spec to a plan: the table of contents of the compiler."""

from __future__ import annotations

import gc

from emulator import underlay
from emulator.cni.context import context, room
from emulator.errors import PodwireError, SpecError
from emulator.ipam import Addressing, allocate
from emulator.plan import Plan
from emulator.plan.check import check, told
from emulator.plan.resources import Process, Resource
from emulator.spec.resolved import Pod, ResolvedSpec


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


def _compile(spec: ResolvedSpec, addressing: Addressing) -> Plan:
    plan = Plan()
    plan.add(underlay.switches(spec), "underlay")
    plan.add(underlay.devices(spec), "underlay")
    routers = {router.name for router in spec.routers}
    for link in underlay.cables(spec, addressing):
        plan.add(underlay.cable(spec, link, link.device in routers), f"underlay: {link.device}")
    plan.add(underlay.routes(spec, addressing), "underlay: routes")

    plugin = room(spec.network.plugin)
    if plugin is None:  # the spec room refuses it first; here it guards the Python API
        raise SpecError(f"{spec.network.place}: no room for plugin {spec.network.plugin!r}")
    about = context(spec, addressing)
    nodes = {node.name: node for node in spec.nodes}
    label = f"{spec.network.plugin} ({spec.network.place.file}:{spec.network.place.line})"
    for node in spec.nodes:
        plan.add(plugin.node(about, node), label)
    for pod in spec.pods:
        if not pod.host_network:
            plan.add(plugin.pod(about, nodes[pod.node], pod), f"{label}: pod {pod.id}")
        if any(container.command for container in pod.containers):
            plan.add(_containers(pod), f"{pod.place}")
    return plan


def _containers(pod: Pod) -> list[Resource]:
    """The commands of a pod; all its containers share one network namespace."""
    ns = pod.node if pod.host_network else pod.id
    return [
        Process(ns, f"{pod.id}/{c.name}", c.command, c.env, pod.restart_policy)
        for c in pod.containers
        if c.command
    ]
