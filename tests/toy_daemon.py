"""A plugin with a daemon that writes routes: what the lab must do for any daemon, without one.

Each node runs ``toyd``, a shell that installs the routes of its configuration and again those
of a changed one when it is told. Nodes' pods stand on bridges, as under plugin ``none``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from small_specs import HERE, small_spec

from emulator.cni import none
from emulator.cni.context import Context, Learnt
from emulator.family import IPV4, Family
from emulator.oracle.model import Leg, Model
from emulator.plan.resources import File, Resource, Route, daemon
from emulator.spec.resolved import Network, Node, ResolvedSpec

CONFIG = "/run/toyd.conf"
PROTO = "42"
SCRIPT = f"""
load() {{ while read -r dst via; do ip route replace "$dst" via "$via" proto {PROTO}; done; }}
trap 'load <{CONFIG}' HUP
%s
load <{CONFIG}
while :; do sleep 1000 & wait; done
"""


class Toy(Model):
    """Nodes are gateways to each other's pods."""

    bridge = "cni0"

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        return ("toyd",)

    def leg(self, near: str, far: str) -> Leg:
        _, broken = self.wires.between(near, far)
        return Leg(self.at.node[near], "toyd's route", broken)


def room(first: str = "") -> ModuleType:
    """The plugin's room; ``first`` is what its daemon runs before anything else."""
    made = ModuleType("emulator.cni.toy")

    def node(context: Context, node: Node) -> Iterator[Resource]:
        yield from none.node(context, node)
        yield File(node.name, CONFIG, "".join(f"{r.dst} {r.via}\n" for r in routes(context, node)))
        yield daemon(node.name, "toyd", ("sh", "-c", SCRIPT % first), CONFIG)

    def learnt(context: Context, node: Node) -> Learnt:
        for route in routes(context, node):
            yield "toyd", route

    for function in (node, learnt, none.pod):
        setattr(made, function.__name__, function)
    return made


def routes(context: Context, node: Node) -> list[Route]:
    at = context.addressing
    return [
        Route(node.name, at.node_subnet[peer.name], at.node[peer.name], "eth0", proto=PROTO)
        for peer in context.spec.nodes
        if peer.name != node.name
    ]


def install(monkeypatch: pytest.MonkeyPatch, first: str = "") -> None:
    """Make plugin ``toy`` known until the test ends."""
    monkeypatch.setitem(sys.modules, "emulator.cni.toy", room(first))
    oracle = ModuleType("emulator.oracle.toy")
    oracle.Model = Toy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "emulator.oracle.toy", oracle)


def toy_spec(nodes: int = 2) -> ResolvedSpec:
    """A cluster of that plugin with a pod on each node."""
    spec = small_spec("flannel", "host-gw", nodes=("rack-a",) * nodes, pods_per_node=1, hosts=())
    return spec._replace(network=Network("toy", "", (), HERE))
