"""Plans of small clusters, compiled."""

from __future__ import annotations

from typing import Any

from small_specs import small_spec

from emulator.cni.options import PLUGINS
from emulator.compile import compile_spec
from emulator.plan import Plan
from emulator.spec.medium import Ends, Medium, Rate
from emulator.spec.resolved import Links, Offload, ResolvedSpec

FLANNEL: dict[str, bool | int] = {
    "directRouting": False,
    "enableNFTables": False,
    "ipMasq": True,
    "port": 8472,
    "vni": 1,
}


def spec(
    plugin: str = "flannel",
    backend: str = "vxlan",
    *,
    nodes: int | tuple[str, ...] = 2,
    pods: int = 1,
    mtu: int = 1500,
    offload: Offload = "wire",
    rate: Rate | None = None,
    ends: Ends | None = None,
    host_pods: tuple[str, ...] = (),
    families: str = "4",
    **more: Any,
) -> ResolvedSpec:
    """A cluster with one outside host; all nodes in one rack unless their racks are named."""
    placed = ("rack-a",) * nodes if isinstance(nodes, int) else nodes
    racks = len(set(placed) | {"rack-a"})
    flannel = plugin in ("flannel", "canal")
    options = {**FLANNEL, **more} if flannel else more
    found = small_spec(
        plugin,
        "" if PLUGINS[plugin].backends == ("",) else backend,
        nodes=placed,
        pods_per_node=pods,
        host_pods=host_pods,
        families=families,
        segments=racks,
        routers=[tuple(f"rack-{letter}" for letter in "abcdef"[:racks])],
        **options,
    )
    return found._replace(links=Links(mtu, offload, ends or Ends(Medium(rate))))


def plan(*args: Any, **more: Any) -> Plan:
    """The plan of :func:`spec`."""
    return compile_spec(spec(*args, **more))


def of_a_kernel(made: Plan) -> Plan:
    """Without processes and what they write: a supervisor keeps them, no kernel does."""
    part = Plan()
    for entry in made:
        if entry.owner == "applied" and entry.resource.kind != "process":
            part.keep(entry)
    return part
