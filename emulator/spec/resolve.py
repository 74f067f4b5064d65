"""Checked documents to a :class:`ResolvedSpec`: shorthands written out, references followed.

Works on what is right of a file. What a wrong part would have declared is known by its
name, so a mistake in one place is not reported as a missing name in another.
"""

from __future__ import annotations

from itertools import chain

from emulator.cni.options import PLUGINS
from emulator.cni.options.plugin import NetworkOptions
from emulator.errors import SpecError
from emulator.ipam import Addressing, allocate
from emulator.spec import families, limits
from emulator.spec.attached import attached_files, check_attached
from emulator.spec.check import Checked
from emulator.spec.findings import Findings, nearest, one_of
from emulator.spec.impaired import check_media, make_ends
from emulator.spec.machines import (
    make_bgp,
    make_hosts,
    make_links,
    make_nodes,
    make_routers,
    make_switches,
)
from emulator.spec.model import ClusterDocument, ClusterSpec
from emulator.spec.pods import CheckedPod, cluster_pods, manifest_pod
from emulator.spec.references import References
from emulator.spec.resolved import Network, Place, Pod, ResolvedSpec, Segment
from emulator.spec.topology import check_network, check_segments
from emulator.spec.tree import Source, get

_UNDERLAY = ("spec", "underlay")


def resolve(
    cluster: ClusterDocument,
    written: Source,
    checked: Checked,
    manifests: list[CheckedPod],
    findings: Findings,
) -> ResolvedSpec:
    """The resolved spec of what is right; it is only of use when nothing was found.

    ``written`` is the Cluster document as it stands in the file, ``checked`` what was
    right of it.
    """
    spec, at = cluster.spec, checked.source.place
    declared = get(written.tree, *_UNDERLAY, "segments")
    in_file = declared is not None and isinstance(declared.value, dict)
    names = declared.value if declared is not None and in_file else spec.underlay.segments
    refs = References(checked, names, findings, _switches(spec), spec.underlay.links.offload)
    nodes = make_nodes(spec.nodes, refs)
    resolved = ResolvedSpec(
        name=cluster.metadata.name,
        pod_cidrs=families.pod_cidrs(spec),
        node_prefixes=families.node_prefixes(spec, at("spec", "nodePrefix"), findings),
        network=attached_files(
            _network(spec.network, at("spec", "network", key=True)), checked.source, findings
        ),
        congestion_control=spec.congestionControl,
        segments=tuple(
            Segment(
                name,
                cidrs,
                at(*_UNDERLAY, "segments", name, key=True),
                make_switches(name, spec.underlay.segments[name], refs),
                make_ends(spec.underlay.segments[name], (*_UNDERLAY, "segments", name), refs),
            )
            for name, cidrs in families.segment_cidrs(spec).items()
        ),
        routers=tuple(make_routers(spec.underlay.routers, refs)),
        hosts=tuple(make_hosts(spec.underlay.hosts, refs)),
        links=make_links(spec.underlay.links, refs),
        nodes=nodes,
        pods=(),
        place=at("spec"),
        routing=spec.underlay.routing,
        bgp=make_bgp(spec.underlay.bgp),
    )
    in_host = not PLUGINS[spec.network.plugin].pod_network
    pods = chain(
        cluster_pods(spec.pods, nodes, in_host, refs),
        (manifest_pod(manifest, spec.network.plugin, refs) for manifest in manifests),
    )
    standing = {node.name for node in nodes}
    resolved = resolved._replace(pods=tuple(pod for pod in pods if pod.node in standing))
    _check_pods(resolved.pods, spec.network.plugin, at("spec", "pods"), findings)
    _check_names(resolved, findings)
    _check_options(spec.network, resolved, checked.source, findings)
    static = resolved.routing != "bgp" and not checked.unsure(*_UNDERLAY, "routing")
    if static and spec.underlay.bgp:
        findings.add(
            at(*_UNDERLAY, "bgp", key=True),
            "timers of BGP with routers that are routed statically",
            "routers that speak BGP",
            "say routing: bgp under spec.underlay",
        )
    pod_cidr = at("spec", "podCIDR")
    for option, *words in spec.network.contradictions(resolved.pod_cidrs):
        findings.add(at("spec", "network", option), *words)
    check_attached(resolved, checked.source, findings)
    _check_node_prefix(resolved.network, checked.source, findings)
    check_segments(resolved, pod_cidr, findings)
    if not checked.unsure(*_UNDERLAY):
        check_media(resolved, checked.source, findings)
    mtu = at(*_UNDERLAY, "links", "mtu")
    fit = families.check_families(resolved, pod_cidr, mtu, findings)
    addresses = _addresses(resolved, pod_cidr, findings) if fit else None
    if not checked.unsure(*_UNDERLAY):
        named = get(checked.source.tree, "spec", "network", "backend") is not None
        backend = at("spec", "network", "backend") if named else resolved.network.place
        check_network(resolved, addresses, backend, findings)
    return resolved


def _switches(spec: ClusterSpec) -> dict[str, list[str]]:
    return {name: list(doc.switches or ()) for name, doc in spec.underlay.segments.items()}


def _network(options: NetworkOptions, place: Place) -> Network:
    return Network(options.plugin, getattr(options, "backend", ""), options.values(), place)


def _check_pods(pods: tuple[Pod, ...], plugin: str, place: Place, findings: Findings) -> None:
    """How many there are, and whether they ask for a pod network where there is none."""
    if len(pods) > limits.PODS:
        findings.add(place, f"{len(pods):,} pods", f"at most {limits.PODS:,} pods")
    if PLUGINS[plugin].pod_network:
        return
    for pod in pods:
        if not pod.host_network:
            findings.add(
                pod.place,
                f'the pod "{pod.id}" without hostNetwork',
                f"hostNetwork: true, since plugin {plugin} has no pod network",
            )


def _check_names(spec: ResolvedSpec, findings: Findings) -> None:
    """Everything that becomes a network namespace of the lab has a name of its own."""
    first: dict[str, tuple[str, Place]] = {}
    named = chain(
        (("segment", s.name, s.place) for s in spec.segments),
        (("switch", w.name, s.place) for s in spec.segments for w in s.switches),
        (("router", r.name, r.place) for r in spec.routers),
        (("host", h.name, h.place) for h in spec.hosts),
        (("node", n.name, n.place) for n in spec.nodes),
        (("pod", p.id, p.place) for p in spec.pods),
    )
    for what, name, place in named:
        if name not in first:
            first[name] = (what, place)
            continue
        other, where = first[name]
        findings.add(
            place,
            f'the {what} "{name}"; there is a {other} of that name at {where}',
            "a name that nothing else in the lab has",
            "segments, routers, hosts, nodes and pods become network namespaces, which "
            "share one set of names",
        )


def _check_options(
    options: NetworkOptions, spec: ResolvedSpec, source: Source, findings: Findings
) -> None:
    """Options of another backend, names that no node has, routers that speak no BGP."""
    network = spec.network
    written = get(source.tree, "spec", "network")
    for option in written.value if written is not None else ():
        backends = options.only_for.get(option, (network.backend,))
        if network.backend not in backends:
            findings.add(
                source.place("spec", "network", option, key=True),
                f"the option {option} with backend {network.backend}",
                f"backend {one_of(backends)} for it",
            )
    nodes = [node.name for node in spec.nodes]
    for option in options.of_nodes:
        for index, name in enumerate(network.names(option)):
            if name not in nodes:
                place = source.place("spec", "network", option, index)
                findings.add(place, f'"{name}"', "the name of a node", nearest(name, nodes))
    for option in options.counts_nodes:
        if int(network.option(option)) > len(nodes):
            place = source.place("spec", "network", option)
            findings.add(place, f"{network.option(option)} nodes", f"at most all {len(nodes)}")
    for option in options.of_fabric:
        if spec.routing != "bgp" and network.option(option):
            findings.add(
                source.place("spec", "network", option, key=True),
                "routers that are routed statically",
                "routers that speak BGP",
                "say routing: bgp under spec.underlay",
            )


def _check_node_prefix(network: Network, source: Source, findings: Findings) -> None:
    """It means nothing where nodes have no subnets."""
    loc = ("spec", "nodePrefix")
    if get(source.tree, *loc) is not None and not PLUGINS[network.plugin].node_subnets:
        findings.add(
            source.place(*loc, key=True),
            f"nodePrefix with plugin {network.plugin}",
            f"no nodePrefix: {network.plugin} divides podCIDR among the nodes by itself",
            "leave it out",
        )


def _addresses(spec: ResolvedSpec, pod_cidr: Place, findings: Findings) -> Addressing | None:
    """All addresses, None when they do not fit; what is said of the spec is of podCIDR."""
    places = {str(segment.place): segment.place for segment in spec.segments}
    places[str(spec.network.place)] = spec.network.place
    try:
        return allocate(spec)
    except SpecError as error:
        for problem in error.problems:
            if not isinstance(problem, str):
                findings.add(places.get(problem.place, pod_cidr), *problem[1:])
        return None
