"""Routers, hosts, cables and nodes of a spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from emulator.spec import limits
from emulator.spec.findings import one_of
from emulator.spec.model import (
    BgpDoc,
    HostDoc,
    LinksDoc,
    NodeCount,
    NodeEntry,
    RateDoc,
    RouterDoc,
    SegmentDoc,
)
from emulator.spec.references import References
from emulator.spec.resolved import Bfd, Bgp, Host, Links, Node, Rate, Router, Switch
from emulator.spec.tree import Loc
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
            yield Host(
                name,
                doc.segment,
                doc.interface,
                refs.at(*here, key=True),
                refs.switch(doc.switch, doc.segment, refs.at(*here, "switch")),
                make_rate(doc.rate, here, refs),
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
        rate = make_rate(switch.rate, (*here, name), refs)
        made.append(Switch(name, switch.uplink or "", rate))
    return tuple(made)


def make_links(doc: LinksDoc, refs: References) -> Links:
    """The settings of all cables."""
    return Links(doc.mtu, doc.offload, make_rate(doc.rate, (*_UNDERLAY, "links"), refs))


def make_bgp(doc: BgpDoc | None) -> Bgp:
    """How soon routers give up a neighbour that is silent."""
    if doc is None:
        return Bgp()
    bfd = Bfd(doc.bfd.interval, doc.bfd.multiplier) if doc.bfd else None
    return Bgp(doc.holdTime // 1000, bfd)


def make_rate(doc: RateDoc | int | None, here: Loc, refs: References) -> Rate | None:
    """The rate in the field ``rate`` of ``here``; a finding where the bench cannot carry it."""
    if doc is None:
        return None
    rate = Rate(doc.value, doc.by) if isinstance(doc, RateDoc) else Rate(doc, "tbf")
    limit = limits.RATE_BITS[refs.offload]
    unsure = refs.checked.unsure(*_UNDERLAY, "links", "offload")
    if rate.bits_per_second > limit and not unsure:
        refs.findings.add(
            refs.at(*here, "rate"),
            f"{rate_text(rate.bits_per_second)} with offload {refs.offload}",
            f"at most {rate_text(limit)}, which one processor core carries for sure",
            "the limits are "
            + ", ".join(f"{rate_text(b)} ({o})" for o, b in limits.RATE_BITS.items())
            + "; without a rate a cable is as fast as the machine",
        )
    return rate


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
                    make_rate(entry.rate, here, refs),
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
