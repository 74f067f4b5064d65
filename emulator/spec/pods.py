"""Pods of a spec: the shorthands of the Cluster document and the manifests behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pydantic_core import PydanticCustomError

from emulator.cni.options import PLUGINS
from emulator.spec import limits
from emulator.spec.findings import one_of
from emulator.spec.model import PodCount, PodDocument, PodEntry
from emulator.spec.references import References
from emulator.spec.resolved import Bandwidth, Container, Node, Place, Pod
from emulator.spec.tree import Source
from emulator.spec.values import bandwidth

BANDWIDTH = ("kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth")
"""Annotations that limit what a pod receives and what it sends."""


class CheckedPod(NamedTuple):
    """A Pod manifest that is right, at least in its required parts."""

    document: PodDocument
    source: Source


def cluster_pods(
    doc: PodCount | list[PodEntry], nodes: tuple[Node, ...], in_host: bool, refs: References
) -> Iterator[Pod]:
    """The pods of the Cluster document; those of ``perNode`` are hostNetwork if ``in_host``."""
    place = refs.at("spec", "pods", key=True)
    if isinstance(doc, PodCount):
        longest = max((len(node.name) for node in nodes), default=0)
        if longest + len(f"-p{doc.perNode}") > 63:
            refs.findings.add(
                place,
                f"names <node>-p{doc.perNode} with a node's name of {longest} characters",
                "at most 63 characters in all",
            )
        if doc.perNode * len(nodes) > limits.PODS:
            refs.findings.add(
                place,
                f"{doc.perNode} pods on each of {len(nodes)} nodes",
                f"at most {limits.PODS} pods",
            )
            return
        yield from shorthand(nodes, doc.perNode, in_host, place)
        return
    for index, entry in enumerate(doc):
        here = ("spec", "pods", index)
        refs.node(entry.node, refs.at(*here, "node"))
        yield Pod(
            name=entry.name,
            namespace=entry.namespace,
            node=entry.node,
            labels=tuple(sorted(entry.labels.items())),
            host_network=entry.hostNetwork,
            restart_policy="Always",
            containers=(Container("main", tuple(entry.command), ()),),
            place=refs.at(*here),
        )


def manifest_pod(manifest: CheckedPod, plugin: str, refs: References) -> Pod:
    """The pod of a manifest; findings for what contradicts itself in it."""
    document, at = manifest.document, manifest.source.place
    refs.node(document.spec.nodeName, at("spec", "nodeName"))
    seen: set[str] = set()
    for index, container in enumerate(document.spec.containers):
        here = ("spec", "containers", index)
        if container.name in seen:
            refs.findings.add(
                at(*here, "name"),
                f'a second container "{container.name}"',
                "each name once in a pod",
            )
        seen.add(container.name)
        if container.args and not container.command:
            refs.findings.add(
                at(*here, "args"),
                "args without a command",
                "a command that takes them",
                "there is no image whose entry point could",
            )
        variables = Counter(variable.name for variable in container.env)
        for name in (name for name, times in variables.items() if times > 1):
            refs.findings.add(at(*here, "env"), f"{name} several times", "each variable once")
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
        bandwidth=Bandwidth(*(_bandwidth(manifest, name, plugin, refs) for name in BANDWIDTH)),
    )


def _bandwidth(manifest: CheckedPod, annotation: str, plugin: str, refs: References) -> int:
    """What an annotation allows; zero where there is none, with a finding for a wrong one."""
    text = manifest.document.metadata.annotations.get(annotation)
    if text is None:
        return 0
    place = manifest.source.place("metadata", "annotations", annotation)
    shaping = [name for name, row in PLUGINS.items() if row.shapes]
    if manifest.document.spec.hostNetwork:
        refs.findings.add(
            place,
            f"{annotation} of a hostNetwork pod",
            "no such annotation",
            "nothing shapes what a pod sends and receives in its node's own network",
        )
    elif plugin not in shaping:
        refs.findings.add(
            place,
            f"{annotation} with plugin {plugin}",
            f"plugin {one_of(shaping)} for it",
            f"in a cluster with {plugin} nothing would happen, without a word",
        )
    try:
        return bandwidth(text)
    except PydanticCustomError as error:
        words = error.context or {}
        refs.findings.add(place, f'"{text}"', words["expected"], words["hint"])
        return 0


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
