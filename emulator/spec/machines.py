"""Routers, hosts, cables and nodes of a spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from emulator.spec import limits
from emulator.spec.model import HostDoc, LinksDoc, NodeCount, NodeEntry, RateDoc, RouterDoc
from emulator.spec.references import References
from emulator.spec.resolved import Host, Links, Node, Rate, Router
from emulator.spec.values import rate_text

_UNDERLAY = ("spec", "underlay")


def make_routers(routers: Mapping[str, RouterDoc], refs: References) -> Iterator[Router]:
    """The routers; findings for segments that are not there or named twice."""
    for name, doc in routers.items():
        here = (*_UNDERLAY, "routers", name)
        joined: list[str] = []
        for index, segment in enumerate(doc.segments):
            place = refs.at(*here, "segments", index)
            if segment in joined:
                refs.findings.add(place, f'"{segment}" a second time', "each segment once")
            elif refs.segment(segment, place):
                joined.append(segment)
        yield Router(name, tuple(joined), refs.at(*here, key=True))


def make_hosts(hosts: Mapping[str, HostDoc], refs: References) -> Iterator[Host]:
    """The hosts outside the cluster whose segment is there."""
    for name, doc in hosts.items():
        here = (*_UNDERLAY, "hosts", name)
        if refs.segment(doc.segment, refs.at(*here, "segment")):
            yield Host(name, doc.segment, doc.interface, refs.at(*here, key=True))


def make_links(doc: LinksDoc, refs: References) -> Links:
    """The settings of all cables; a finding for a rate that the bench cannot carry."""
    rate: Rate | None = None
    if doc.rate is not None:
        rate = (
            Rate(doc.rate.value, doc.rate.by)
            if isinstance(doc.rate, RateDoc)
            else Rate(doc.rate, "tbf")
        )
        here = (*_UNDERLAY, "links", "offload")
        limit = limits.RATE_BITS[doc.offload]
        if rate.bits_per_second > limit and not refs.checked.unsure(*here):
            refs.findings.add(
                refs.at(*_UNDERLAY, "links", "rate"),
                f"{rate_text(rate.bits_per_second)} with offload {doc.offload}",
                f"at most {rate_text(limit)}, which one processor core carries for sure",
                "the limits are "
                + ", ".join(f"{rate_text(b)} ({o})" for o, b in limits.RATE_BITS.items())
                + "; without a rate a cable is as fast as the machine",
            )
    return Links(doc.mtu, doc.offload, rate)


def make_nodes(doc: NodeCount | list[NodeEntry], refs: References) -> tuple[Node, ...]:
    """The nodes whose segment is there; afterwards ``refs`` knows the names of all."""
    if isinstance(doc, NodeCount):
        return _counted(doc, refs)
    nodes = []
    for index, entry in enumerate(doc):
        here = ("spec", "nodes", index)
        refs.nodes[entry.name] = None
        segment = refs.segment_or_only(entry.segment, here, "segment")
        if segment is not None:
            nodes.append(Node(entry.name, segment, entry.interface, refs.at(*here, "name")))
    return tuple(nodes)


def _counted(doc: NodeCount, refs: References) -> tuple[Node, ...]:
    here = ("spec", "nodes")
    place = refs.at(*here, key=True)
    if doc.spread is None:
        only = refs.segment_or_only(None, here, "spread")
        spread = [] if only is None else [only]
    else:
        spread = [
            segment
            for index, segment in enumerate(doc.spread)
            if refs.segment(segment, refs.at(*here, "spread", index))
        ]
    refs.nodes = dict.fromkeys(f"{doc.prefix}{i + 1}" for i in range(doc.count))
    if not spread:
        return ()
    return tuple(
        Node(name, spread[index % len(spread)], "eth0", place)
        for index, name in enumerate(refs.nodes)
    )
