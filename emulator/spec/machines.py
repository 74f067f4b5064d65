"""Routers, hosts, cables and nodes of a spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from emulator.spec.findings import nearest, one_of
from emulator.spec.impaired import make_ends
from emulator.spec.medium import Ends
from emulator.spec.model import (
    BgpDoc,
    HostDoc,
    LinksDoc,
    NodeCount,
    NodeEntry,
    RouterDoc,
    SegmentDoc,
)
from emulator.spec.references import References
from emulator.spec.resolved import Bfd, Bgp, Host, Links, Node, Router, Switch

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
        yield Router(name, tuple(joined), refs.at(*here, key=True), _links(name, doc, refs))


def _links(router: str, doc: RouterDoc, refs: References) -> tuple[tuple[str, Ends], ...]:
    """What is said of a router's cables; a finding for a segment that it does not stand in."""
    made = []
    for segment, said in doc.links.items():
        here = (*_UNDERLAY, "routers", router, "links", segment)
        if segment not in doc.segments:
            expected = one_of(dict.fromkeys(doc.segments))
            hint = nearest(segment, doc.segments)
            refs.findings.add(refs.at(*here, key=True), f'"{segment}"', expected, hint)
        made.append((segment, make_ends(said, here, refs)))
    return tuple(made)


def make_hosts(hosts: Mapping[str, HostDoc], refs: References) -> Iterator[Host]:
    """The hosts outside the cluster whose segment is there."""
    for name, doc in hosts.items():
        here = (*_UNDERLAY, "hosts", name)
        if refs.segment(doc.segment, refs.at(*here, "segment")):
            yield Host(
                name,
                doc.segment,
                doc.interface,
                refs.at(*here, key=True),
                refs.switch(doc.switch, doc.segment, refs.at(*here, "switch")),
                make_ends(doc, here, refs),
            )


def make_switches(segment: str, doc: SegmentDoc, refs: References) -> tuple[Switch, ...]:
    """The switches of a segment; findings where they are no tree."""
    made: list[Switch] = []
    here = (*_UNDERLAY, "segments", segment, "switches")
    for name, switch in (doc.switches or {}).items():
        above = [one.name for one in made]
        place = refs.at(*here, name, "uplink")
        if switch.uplink is None and above:
            refs.findings.add(place, "nothing", f"the field uplink: {one_of(above)}")
        elif switch.uplink is not None and switch.uplink not in above:
            refs.findings.add(
                place,
                f'"{switch.uplink}"',
                f"{one_of(above)}, the switches above it" if above else "no uplink at the first",
                "switches are a tree, for a loop would go round with every broadcast",
            )
        ends = make_ends(switch, (*here, name), refs)
        made.append(Switch(name, switch.uplink or "", ends))
    return tuple(made)


def make_links(doc: LinksDoc, refs: References) -> Links:
    """The settings of all cables."""
    return Links(doc.mtu, doc.offload, make_ends(doc, (*_UNDERLAY, "links"), refs))


def make_bgp(doc: BgpDoc | None) -> Bgp:
    """How soon routers give up a neighbour that is silent."""
    if doc is None:
        return Bgp()
    bfd = Bfd(doc.bfd.interval, doc.bfd.multiplier) if doc.bfd else None
    return Bgp(doc.holdTime // 1000, bfd)


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
            nodes.append(
                Node(
                    entry.name,
                    segment,
                    entry.interface,
                    refs.at(*here, "name"),
                    refs.switch(entry.switch, segment, refs.at(*here, "switch")),
                    make_ends(entry, here, refs),
                )
            )
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
