"""Checks of the underlay as a whole: ranges, ports, and paths between the nodes."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

from emulator.cni.options import PLUGINS
from emulator.family import family
from emulator.ipam import Addressing
from emulator.spec import limits
from emulator.spec.findings import Findings
from emulator.spec.resolved import Node, Place, ResolvedSpec


def check_segments(spec: ResolvedSpec, pod_cidr: Place, findings: Findings) -> None:
    """Ranges that overlap, and segments with more cables than a bridge has ports."""
    ranges = [
        (ip_network(cidr), f'segment "{s.name}"', s.place)
        for s in spec.segments
        for cidr in s.cidrs
    ]
    ranges += [(ip_network(cidr), "podCIDR", pod_cidr) for cidr in spec.pod_cidrs]
    ranges.sort(key=lambda item: (item[0].version, int(item[0].network_address), item[0].prefixlen))
    wide = ranges[0]
    for range_ in ranges[1:]:
        if not range_[0].overlaps(wide[0]):
            wide = range_
            continue
        later, earlier = sorted((range_, wide), key=lambda item: item[2][1:3], reverse=True)
        findings.add(
            later[2],
            f"{later[0]} of {later[1]}",
            f"a range apart from {earlier[0]} of {earlier[1]} at {earlier[2]}",
        )
    ports = Counter((node.segment, node.switch) for node in spec.nodes)
    ports.update((host.segment, host.switch) for host in spec.hosts)
    ports.update((segment, "") for router in spec.routers for segment in router.segments)
    for segment in spec.segments:
        first = segment.tree[0].name
        for switch in segment.switches[1:]:
            ports.update((segment.name, "" if e == first else e) for e in switch[:2])
        cables = max((n for (name, _), n in ports.items() if name == segment.name), default=0)
        if cables > limits.SEGMENT_PORTS:
            findings.add(
                segment.place,
                f"{cables} cables on one {'switch' if segment.switches else 'segment'}",
                f"at most {limits.SEGMENT_PORTS}, the ports of a kernel bridge",
                "spread the nodes over more segments",
            )


def check_network(
    spec: ResolvedSpec, addresses: Addressing | None, backend: Place, findings: Findings
) -> None:
    """Whether the nodes have the paths that the plugin and backend need."""
    plugin = PLUGINS[spec.network.plugin]
    first = _first_nodes(spec)
    if not plugin.joins_nodes or len(first) < 2:
        return
    near, *others = first.values()
    group = _groups(spec)
    for node in others:
        if group[node.segment] != group[near.segment]:
            findings.add(
                node.place,
                f"the segments {near.segment} and {node.segment}, which are not connected",
                f"a path of routers between all nodes, as plugin {spec.network.plugin} needs it",
                f"add a router with segments [{near.segment}, {node.segment}]",
            )
    reason = plugin.one_segment.get(spec.network.backend)
    if reason is not None:
        far = others[0]
        network = spec.network
        mode = f"backend {network.backend}" if network.backend else f"plugin {network.plugin}"
        subnet = addresses.node_subnet[far.name] if addresses else f"the pods of {far.name}"
        findings.add(
            backend,
            f"{mode} with nodes in {len(first)} segments ({', '.join(first)})",
            "all nodes on one segment",
            reason.format(near=near.name, far=far.name, subnet=subnet),
        )


def warn_of_missing_routers(spec: ResolvedSpec, warnings: Findings) -> None:
    """Nodes without a router, where only routers know the way to pods of other nodes."""
    if not PLUGINS[spec.network.plugin].by_routers or len(spec.nodes) < 2:
        return
    with_router = {segment for router in spec.routers for segment in router.segments}
    for segment in _first_nodes(spec):
        if segment not in with_router:
            warnings.add(
                spec.network.place,
                f"plugin {spec.network.plugin} with nodes on {segment}, where no router stands",
                "a router, which alone knows which node has which pods",
                "pods of different nodes do not reach each other: add a router with segments "
                f"[{segment}]",
            )


def warn_of_deaf_routers(spec: ResolvedSpec, warnings: Findings) -> None:
    """Nodes on several segments without a tunnel, and nobody tells the routers about pods."""
    network, first = spec.network, _first_nodes(spec)
    row = PLUGINS[network.plugin]
    option = row.heard_by.get(network.backend)
    if option is None or network.option(option) or len(first) < 2:
        return
    tunnels = [row.tunnels_by.get(family(cidr).name) for cidr in spec.pod_cidrs]
    if all(name and network.option(name) for name in tunnels):
        return
    mode = " ".join(filter(None, (network.plugin, network.backend)))
    warnings.add(
        network.place,
        f"{mode} with nodes in {len(first)} segments ({', '.join(first)})",
        "routers that know which node has which pods",
        f"pods of different segments do not reach each other: say {option}: true, and "
        "routing: bgp under underlay",
    )


def _first_nodes(spec: ResolvedSpec) -> dict[str, Node]:
    """The first node of each segment that has one."""
    first: dict[str, Node] = {}
    for node in spec.nodes:
        first.setdefault(node.segment, node)
    return first


def _groups(spec: ResolvedSpec) -> dict[str, str]:
    """Of each segment the name of one that stands for all that routers join with it."""
    group = {segment.name: segment.name for segment in spec.segments}
    for router in spec.routers:
        joined = {group[name] for name in router.segments}
        for name, representative in group.items():
            if representative in joined:
                group[name] = min(joined)
    return group
