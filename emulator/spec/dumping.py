"""A ResolvedSpec as text that loads to the same cluster."""

from __future__ import annotations

from typing import Any

import yaml

from emulator.cni.options import PLUGINS
from emulator.spec.link_values import share_text, time_text
from emulator.spec.medium import Ends, Medium
from emulator.spec.pods import BANDWIDTH, shorthand
from emulator.spec.resolved import (
    Bgp,
    Container,
    Host,
    Links,
    Network,
    Node,
    Pod,
    ResolvedSpec,
    Router,
    Segment,
)
from emulator.spec.scalars import plain_scalar
from emulator.spec.values import duration_text, quantity_text, rate_text


def dump_documents(spec: ResolvedSpec) -> str:
    """See :func:`emulator.spec.dump`."""
    per_node = _per_node(spec)
    cluster = {
        "apiVersion": "podwire/v1",
        "kind": "Cluster",
        "metadata": {"name": spec.name},
        "spec": _cluster(spec, per_node),
    }
    rest = spec.pods[per_node * len(spec.nodes) :]
    text: str = yaml.dump_all(
        [cluster, *map(_manifest, rest)],
        Dumper=_dumper(),
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
    return text


def _cluster(spec: ResolvedSpec, per_node: int) -> dict[str, Any]:
    body: dict[str, Any] = {"podCIDR": _one_or_two(spec.pod_cidrs)}
    if PLUGINS[spec.network.plugin].node_subnets:
        body["nodePrefix"] = _one_or_two(spec.node_prefixes)
    body["network"] = _network(spec.network)
    if spec.congestion_control is not None:
        body["congestionControl"] = spec.congestion_control
    body["underlay"] = {
        "routing": spec.routing,
        **({"bgp": _bgp(spec.bgp)} if spec.routing == "bgp" else {}),
        "segments": {s.name: _segment(s) for s in spec.segments},
        "routers": {r.name: _router(r) for r in spec.routers},
        "hosts": {h.name: _station(h) for h in spec.hosts},
        "links": _links(spec.links),
    }
    body["nodes"] = [{"name": n.name, **_station(n)} for n in spec.nodes]
    body["pods"] = {"perNode": per_node}
    return body


def _one_or_two(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _network(network: Network) -> dict[str, Any]:
    options = PLUGINS[network.plugin].options
    only_for = options.only_for
    fields: dict[str, Any] = {"plugin": network.plugin}
    if network.backend:
        fields["backend"] = network.backend
    for name, value in options.as_written(network.options).items():
        if network.backend in only_for.get(name, (network.backend,)):
            fields[name] = value
    return fields


def _bgp(bgp: Bgp) -> dict[str, Any]:
    fields: dict[str, Any] = {"holdTime": duration_text(bgp.hold_time_s * 1000)}
    if bgp.bfd is not None:
        interval = duration_text(bgp.bfd.interval_ms)
        fields["bfd"] = {"interval": interval, "multiplier": bgp.bfd.multiplier}
    return fields


def _segment(segment: Segment) -> dict[str, Any]:
    fields: dict[str, Any] = {"cidr": _one_or_two(segment.cidrs)}
    if segment.switches:
        fields["switches"] = {
            s.name: ({"uplink": s.uplink} if s.uplink else {}) | _ends(s.ends)
            for s in segment.switches
        }
    return fields | _ends(segment.ends)


def _router(router: Router) -> dict[str, Any]:
    links = {segment: _ends(ends) for segment, ends in router.links}
    return {"segments": list(router.segments), **({"links": links} if links else {})}


def _station(station: Node | Host) -> dict[str, Any]:
    fields = {"segment": station.segment, "interface": station.interface}
    return fields | ({"switch": station.switch} if station.switch else {}) | _ends(station.ends)


def _ends(ends: Ends) -> dict[str, Any]:
    one_way = {"egress": _medium(ends.egress), "ingress": _medium(ends.ingress)}
    return _medium(ends.both) | {way: said for way, said in one_way.items() if said}


def _medium(medium: Medium) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if medium.rate is not None:
        rate = medium.rate
        fields["rate"] = {"value": rate_text(rate.bits_per_second), "by": rate.by}
    if medium.delay is not None:
        fields["delay"] = time_text(medium.delay.us)
        if medium.delay.jitter_us:
            fields["delay"] = {
                "value": time_text(medium.delay.us),
                "jitter": time_text(medium.delay.jitter_us),
                "distribution": medium.delay.distribution,
            }
    if medium.loss is not None:
        fields["loss"] = share_text(medium.loss.ppb)
        if medium.loss.correlation_ppb:
            correlation = share_text(medium.loss.correlation_ppb)
            fields["loss"] = {"value": fields["loss"], "correlation": correlation}
    if medium.duplicate_ppb is not None:
        fields["duplicate"] = share_text(medium.duplicate_ppb)
    if medium.reorder is not None:
        fields["reorder"] = {"value": share_text(medium.reorder.ppb), "gap": medium.reorder.gap}
    if medium.corrupt_ppb is not None:
        fields["corrupt"] = share_text(medium.corrupt_ppb)
    return fields


def _links(links: Links) -> dict[str, Any]:
    return {"mtu": links.mtu, "offload": links.offload, **_ends(links.ends)}


def _per_node(spec: ResolvedSpec) -> int:
    """How many pods of every node ``pods: {perNode: …}`` says; they come first."""
    if not spec.nodes or not spec.pods:
        return 0
    first, count = spec.nodes[0].name, 0
    while count < len(spec.pods) and spec.pods[count].name == f"{first}-p{count + 1}":
        count += 1
    in_host = not PLUGINS[spec.network.plugin].pod_network
    place = spec.place
    while count:
        pods = shorthand(spec.nodes, count, in_host, place)
        given = [pod._replace(place=place) for pod in spec.pods[: count * len(spec.nodes)]]
        if given == list(pods):
            return count
        count -= 1
    return 0


def _manifest(pod: Pod) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": pod.name, "namespace": pod.namespace}
    if pod.labels:
        metadata["labels"] = dict(pod.labels)
    limits = zip(BANDWIDTH, pod.bandwidth, strict=True)
    if any(pod.bandwidth):
        metadata["annotations"] = {name: quantity_text(bits) for name, bits in limits if bits}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeName": pod.node,
            "hostNetwork": pod.host_network,
            "restartPolicy": pod.restart_policy,
            "containers": [_container(container) for container in pod.containers],
        },
    }


def _container(container: Container) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": container.name}
    if container.command:
        fields["command"] = list(container.command)
    if container.env:
        fields["env"] = [{"name": name, "value": value} for name, value in container.env]
    return fields


def _dumper() -> type[Any]:
    """A dumper that quotes every text which some reader of YAML takes for something else."""
    fast: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    dumper = type("Dumper", (fast,), {"ignore_aliases": lambda self, data: True})
    dumper.add_representer(str, _text)  # type: ignore[attr-defined]
    return dumper


def _text(dumper: Any, text: str) -> Any:
    plain = plain_scalar(text) == text and text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')
