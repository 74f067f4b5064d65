"""Which ends of veth pairs belong together.

An end tells the index of its peer and the number by which its namespace knows the
peer's. An index alone is not enough: pairs made by ``ip`` carry the same small indices in
every namespace. Pure: what the numbers mean is asked through a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from emulator.plan.resources import Foreign, Resource, veth
from emulator.substrate.decode import Link

Numbers = Callable[[str, Sequence[str]], Mapping[str, int]]
"""(namespace, other namespaces) to the numbers by which it knows them, where it does."""


def pairs(veths: Mapping[str, Sequence[Link]], numbers: Numbers) -> Iterator[Resource]:
    """The pairs among the ``veths`` of each namespace; an end without its peer is foreign."""
    ends: dict[tuple[int, int], list[tuple[str, Link]]] = {}
    for ns, links in veths.items():
        for link in links:
            ends.setdefault((link.number, link.peer), []).append((ns, link))
    paired: set[tuple[str, int]] = set()
    # from the namespaces with most ends: a node asks once for all of its pods
    for ns in sorted(veths, key=lambda name: -len(veths[name])):
        open_ends = [link for link in veths[ns] if (ns, link.number) not in paired]
        others = {
            link.number: [
                (other, peer)
                for other, peer in ends.get((link.peer, link.number), ())
                if (other == ns) == (link.peer_ns < 0) and (other, peer.number) not in paired
            ]
            for link in open_ends
        }
        asked = {other for found in others.values() for other, _ in found if other != ns}
        known = {**numbers(ns, sorted(asked)), ns: -1} if asked else {ns: -1}
        for link in open_ends:
            if (ns, link.number) in paired:
                continue
            for other, peer in others[link.number]:
                if known.get(other) == link.peer_ns and (other, peer.number) != (ns, link.number):
                    paired |= {(ns, link.number), (other, peer.number)}
                    yield veth(ns, link.name, other, peer.name)
                    break
            else:
                yield Foreign(ns, "device", link.name, "veth with its peer outside the lab")
