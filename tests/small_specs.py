"""Small resolved specs built by hand, for tests of the oracle and of the prober."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from emulator.cni.options import PLUGINS
from emulator.spec.resolved import (
    Host,
    Links,
    Network,
    Node,
    Place,
    Pod,
    ResolvedSpec,
    Router,
    Segment,
)

CIDRS = {"4": "192.168.{}.0/24", "6": "fd00:192:168:{}::/64"}
HERE = Place("small.yaml", 1, 1, "spec")


def small_spec(
    plugin: str = "flannel",
    backend: str = "",
    *,
    nodes: Iterable[str] = ("rack-a", "rack-a"),
    pods_per_node: int = 2,
    host_pods: Iterable[str] = (),
    hosts: Iterable[str] = ("rack-a",),
    routers: Iterable[tuple[str, ...]] = (("rack-a", "rack-b"),),
    segments: int = 2,
    mtu: int = 1500,
    families: str = "4",
    **options: Any,
) -> ResolvedSpec:
    """Nodes n1, n2, … in the named segments, pods n1-p1, …, hosts out1, …, routers core1, …

    ``host_pods`` names the nodes that also run a hostNetwork pod ``<node>-host``;
    ``families`` is 4, 6, 46 or 64, the primary one first.
    """
    names = [f"rack-{letter}" for letter in "abcdef"[:segments]]
    placed = [Node(f"n{i}", where, "eth0", HERE) for i, where in enumerate(nodes, 1)]
    pods = [
        Pod(f"{n.name}-p{i}", "default", n.name, (), False, "Always", (), HERE)
        for n in placed
        for i in range(1, 1 + (0 if plugin == "host" else pods_per_node))
    ]
    pods += [Pod(f"{n}-host", "default", n, (), True, "Always", (), HERE) for n in host_pods]
    return ResolvedSpec(
        name="small",
        pod_cidrs=tuple(
            {"4": PLUGINS[plugin].pod_cidr, "6": "fd00:10:244::/56"}[f] for f in families
        ),
        node_prefixes=tuple({"4": 24, "6": 64}[f] for f in families),
        network=Network(
            plugin,
            backend or PLUGINS[plugin].backends[0],
            _options(plugin, backend, options),
            HERE,
        ),
        congestion_control=None,
        segments=tuple(
            Segment(name, tuple(CIDRS[f].format(i) for f in families), HERE)
            for i, name in enumerate(names, 1)
        ),
        routers=tuple(Router(f"core{i}", tuple(s), HERE) for i, s in enumerate(routers, 1)),
        hosts=tuple(Host(f"out{i}", s, "eth0", HERE) for i, s in enumerate(hosts, 1)),
        links=Links(mtu, "wire"),
        nodes=tuple(placed),
        pods=tuple(pods),
        place=HERE,
    )


def _options(
    plugin: str, backend: str, given: Mapping[str, Any]
) -> tuple[tuple[str, bool | int | str], ...]:
    """The plugin's own, with the defaults that a spec would have."""
    words = {"plugin": plugin, **({"backend": backend} if backend else {}), **given}
    return PLUGINS[plugin].options.model_validate(words).values()
