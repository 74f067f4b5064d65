"""Checked documents to a :class:`ResolvedSpec`: shorthands written out, references followed.

Works on what is right of a file. What a wrong part would have declared is known by its
name, so a mistake in one place is not reported as a missing name in another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain
from typing import NamedTuple

from emulator.cni.options import PLUGINS
from emulator.errors import SpecError
from emulator.ipam import Addressing, allocate
from emulator.spec import limits
from emulator.spec.check import Checked
from emulator.spec.findings import Findings, nearest, one_of
from emulator.spec.model import (
    ClusterDocument,
    LinksDoc,
    NodeCount,
    PodCount,
    PodDocument,
    RateDoc,
)
from emulator.spec.resolved import (
    Container,
    Host,
    Links,
    Network,
    Node,
    Place,
    Pod,
    Rate,
    ResolvedSpec,
    Router,
    Segment,
)
from emulator.spec.topology import check_network, check_segments
from emulator.spec.tree import Source, get, plain
from emulator.spec.values import rate_text

_UNDERLAY = ("spec", "underlay")


class CheckedPod(NamedTuple):
    """A Pod manifest that is right, at least in its required parts."""

    document: PodDocument
    source: Source


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
    return _Resolver(cluster, written, checked, findings).resolve(manifests)


class _Resolver:
    def __init__(
        self, cluster: ClusterDocument, written: Source, checked: Checked, findings: Findings
    ) -> None:
        self.spec = cluster.spec
        self.name = cluster.metadata.name
        self.checked = checked
        self.at = checked.source.place
        self.findings = findings
        declared = get(written.tree, *_UNDERLAY, "segments")
        self.segment_names: list[str] = list(
            declared.value
            if declared is not None and isinstance(declared.value, dict)
            else self.spec.underlay.segments
        )
        self.node_names: dict[str, None] = {}

    def resolve(self, manifests: list[CheckedPod]) -> ResolvedSpec:
        spec, at = self.spec, self.at
        segments = tuple(
            Segment(name, doc.cidr, at(*_UNDERLAY, "segments", name, key=True))
            for name, doc in spec.underlay.segments.items()
        )
        routers, hosts = tuple(self._routers()), tuple(self._hosts())
        nodes = self._nodes()
        standing = {node.name for node in nodes}
        pods = tuple(
            pod
            for pod in chain(self._pods(nodes), map(self._manifest, manifests))
            if pod.node in standing
        )
        self._in_host(pods)
        if len(pods) > limits.PODS:
            self.findings.add(
                at("spec", "pods"), f"{len(pods)} pods", f"at most {limits.PODS} pods"
            )
            pods = ()
        resolved = ResolvedSpec(
            name=self.name,
            pod_cidr=spec.podCIDR,
            node_prefix=spec.nodePrefix,
            network=Network(
                spec.network.plugin,
                getattr(spec.network, "backend", ""),
                spec.network.values(),
                at("spec", "network", key=True),
            ),
            congestion_control=spec.congestionControl,
            segments=segments,
            routers=routers,
            hosts=hosts,
            links=self._links(spec.underlay.links),
            nodes=nodes,
            pods=pods,
            place=at("spec"),
        )
        self._names(resolved)
        self._options(resolved)
        check_segments(resolved, at("spec", "podCIDR"), self.findings)
        addresses = self._addresses(resolved)
        if not self.checked.unsure(*_UNDERLAY):
            named = get(self.checked.source.tree, "spec", "network", "backend") is not None
            backend = at("spec", "network", "backend") if named else resolved.network.place
            check_network(resolved, addresses, backend, self.findings)
        return resolved

    # -- the underlay ---------------------------------------------------------------

    def _segment_known(self, name: str, place: Place) -> bool:
        if name in self.segment_names:
            return True
        self._unknown("segment", name, self.segment_names, place)
        return False

    def _unknown(self, what: str, name: str, known: Collection[str], place: Place) -> None:
        listed = one_of(known) if len(known) <= 12 else f"one of the {len(known)} {what}s"
        self.findings.add(place, f'"{name}", which is no {what}', listed, nearest(name, known))

    def _routers(self) -> Iterator[Router]:
        for name, doc in self.spec.underlay.routers.items():
            here = (*_UNDERLAY, "routers", name)
            joined: list[str] = []
            for index, segment in enumerate(doc.segments):
                place = self.at(*here, "segments", index)
                if segment in joined:
                    self.findings.add(place, f'"{segment}" a second time', "each segment once")
                elif self._segment_known(segment, place):
                    joined.append(segment)
            yield Router(name, tuple(joined), self.at(*here, key=True))

    def _hosts(self) -> Iterator[Host]:
        for name, doc in self.spec.underlay.hosts.items():
            here = (*_UNDERLAY, "hosts", name)
            if self._segment_known(doc.segment, self.at(*here, "segment")):
                yield Host(name, doc.segment, doc.interface, self.at(*here, key=True))

    def _links(self, doc: LinksDoc) -> Links:
        rate: Rate | None = None
        if doc.rate is not None:
            rate = (
                Rate(doc.rate.value, doc.rate.by)
                if isinstance(doc.rate, RateDoc)
                else Rate(doc.rate, "tbf")
            )
            here = (*_UNDERLAY, "links", "offload")
            limit = limits.RATE_BITS[doc.offload]
            if rate.bits_per_second > limit and not self.checked.unsure(*here):
                self.findings.add(
                    self.at(*_UNDERLAY, "links", "rate"),
                    f"{rate_text(rate.bits_per_second)} with offload {doc.offload}",
                    f"at most {rate_text(limit)}, which one processor core carries for sure",
                    "the limits are "
                    + ", ".join(f"{rate_text(b)} ({o})" for o, b in limits.RATE_BITS.items())
                    + "; without a rate a cable is as fast as the machine",
                )
        return Links(doc.mtu, doc.offload, rate)

    # -- nodes ----------------------------------------------------------------------

    def _nodes(self) -> tuple[Node, ...]:
        doc = self.spec.nodes
        if isinstance(doc, NodeCount):
            return self._counted(doc)
        nodes = []
        for index, entry in enumerate(doc):
            here = ("spec", "nodes", index)
            self.node_names[entry.name] = None
            segment = self._segment_of(entry.segment, here, "segment")
            if segment is not None:
                nodes.append(Node(entry.name, segment, entry.interface, self.at(*here, "name")))
        return tuple(nodes)

    def _counted(self, doc: NodeCount) -> tuple[Node, ...]:
        here = ("spec", "nodes")
        place = self.at(*here, key=True)
        if doc.spread is None:
            only = self._segment_of(None, here, "spread")
            spread = [] if only is None else [only]
        else:
            spread = [
                segment
                for index, segment in enumerate(doc.spread)
                if self._segment_known(segment, self.at(*here, "spread", index))
            ]
        self.node_names = dict.fromkeys(f"{doc.prefix}{i + 1}" for i in range(doc.count))
        if not spread:
            return ()
        return tuple(
            Node(name, spread[index % len(spread)], "eth0", place)
            for index, name in enumerate(self.node_names)
        )

    def _segment_of(self, name: str | None, here: tuple[str | int, ...], field: str) -> str | None:
        """The segment that was named, or the only one there is."""
        place = self.at(*here, field)
        if name is not None:
            return name if self._segment_known(name, place) else None
        if len(self.segment_names) == 1:
            return self.segment_names[0]
        if not self.checked.unsure(*here):
            self.findings.add(
                place,
                "nothing",
                f"the field {field}: where nodes stand among {one_of(self.segment_names)}",
            )
        return None

    # -- pods -----------------------------------------------------------------------

    def _pods(self, nodes: tuple[Node, ...]) -> Iterator[Pod]:
        doc = self.spec.pods
        place = self.at("spec", "pods", key=True)
        in_host = not PLUGINS[self.spec.network.plugin].pod_network
        if isinstance(doc, PodCount):
            longest = max((len(node.name) for node in nodes), default=0)
            if longest + len(f"-p{doc.perNode}") > 63:
                self.findings.add(
                    place,
                    f"names <node>-p{doc.perNode} with a node's name of {longest} characters",
                    "at most 63 characters in all",
                )
            if doc.perNode * len(nodes) > limits.PODS:
                self.findings.add(
                    place,
                    f"{doc.perNode} pods on each of {len(nodes)} nodes",
                    f"at most {limits.PODS} pods",
                )
                return
            yield from shorthand(nodes, doc.perNode, in_host, place)
            return
        for index, entry in enumerate(doc):
            here = ("spec", "pods", index)
            self._node_known(entry.node, self.at(*here, "node"))
            yield Pod(
                name=entry.name,
                namespace=entry.namespace,
                node=entry.node,
                labels=tuple(sorted(entry.labels.items())),
                host_network=entry.hostNetwork,
                restart_policy="Always",
                containers=(Container("main", tuple(entry.command), ()),),
                place=self.at(*here),
            )

    def _manifest(self, manifest: CheckedPod) -> Pod:
        document, at = manifest.document, manifest.source.place
        self._node_known(document.spec.nodeName, at("spec", "nodeName"))
        seen: set[str] = set()
        for index, container in enumerate(document.spec.containers):
            here = ("spec", "containers", index)
            if container.name in seen:
                self.findings.add(
                    at(*here, "name"),
                    f'a second container "{container.name}"',
                    "each name once in a pod",
                )
            seen.add(container.name)
            if container.args and not container.command:
                self.findings.add(
                    at(*here, "args"),
                    "args without a command",
                    "a command that takes them",
                    "there is no image whose entry point could",
                )
            variables = Counter(variable.name for variable in container.env)
            for name in (name for name, times in variables.items() if times > 1):
                self.findings.add(at(*here, "env"), f"{name} several times", "each variable once")
        return Pod(
            name=document.metadata.name,
            namespace=document.metadata.namespace,
            node=document.spec.nodeName,
            labels=tuple(sorted(document.metadata.labels.items())),
            host_network=document.spec.hostNetwork,
            restart_policy=document.spec.restartPolicy,
            containers=tuple(
                Container(
                    container.name,
                    (*container.command, *container.args),
                    tuple((variable.name, variable.value) for variable in container.env),
                )
                for container in document.spec.containers
            ),
            place=at("metadata", "name"),
        )

    def _node_known(self, name: str, place: Place) -> None:
        if name not in self.node_names and not self.checked.unsure("spec", "nodes"):
            self._unknown("node", name, self.node_names, place)

    def _in_host(self, pods: tuple[Pod, ...]) -> None:
        plugin = self.spec.network.plugin
        if PLUGINS[plugin].pod_network:
            return
        for pod in pods:
            if not pod.host_network:
                self.findings.add(
                    pod.place,
                    f'the pod "{pod.id}" without hostNetwork',
                    f"hostNetwork: true, since plugin {plugin} has no pod network",
                )

    # -- across everything ----------------------------------------------------------

    def _names(self, spec: ResolvedSpec) -> None:
        """Everything that becomes a network namespace of the lab has a name of its own."""
        first: dict[str, tuple[str, Place]] = {}
        named = chain(
            (("segment", s.name, s.place) for s in spec.segments),
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
            self.findings.add(
                place,
                f'the {what} "{name}"; there is a {other} of that name at {where}',
                "a name that nothing else in the lab has",
                "segments, routers, hosts, nodes and pods become network namespaces, which "
                "share one set of names",
            )

    def _options(self, spec: ResolvedSpec) -> None:
        written = get(self.checked.source.tree, "spec", "network")
        only_for = PLUGINS[spec.network.plugin].options.only_for
        for option in plain(written) if written is not None else ():
            backends = only_for.get(option, (spec.network.backend,))
            if spec.network.backend not in backends:
                self.findings.add(
                    self.at("spec", "network", option, key=True),
                    f"the option {option} with backend {spec.network.backend}",
                    f"backend {one_of(backends)} for it",
                )

    def _addresses(self, spec: ResolvedSpec) -> Addressing | None:
        places = {str(place): place for place in (spec.place, *(s.place for s in spec.segments))}
        try:
            return allocate(spec)
        except SpecError as error:
            for problem in error.problems:
                if not isinstance(problem, str):
                    self.findings.add(places.get(problem.place, spec.place), *problem[1:])
            return None


def shorthand(
    nodes: tuple[Node, ...], per_node: int, host_network: bool, place: Place
) -> Iterator[Pod]:
    """The pods of ``perNode``: ``n1-p1``, ``n1-p2`` … with one container in which nothing runs."""
    containers = (Container("main", (), ()),)
    for node in nodes:
        for index in range(1, per_node + 1):
            yield Pod(
                f"{node.name}-p{index}",
                "default",
                node.name,
                (),
                host_network,
                "Always",
                containers,
                place,
            )
