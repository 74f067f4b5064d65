"""What each cable does each way, from what is said at the cable, its segment and all links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from emulator.spec.medium import Ends, Medium
from emulator.spec.resolved import UPLINK, ResolvedSpec

Loc = tuple[str | int, ...]


class Said(NamedTuple):
    """What is said at a place of the document."""

    loc: Loc
    ends: Ends


class Cabled(NamedTuple):
    """A cable by its device and interface; ``said`` of it, the narrowest place first.

    ``is_link``: it is one half of a point-to-point link, whose other half is the other router's.
    """

    device: str
    interface: str
    is_link: bool
    said: tuple[Said, ...]

    @property
    def egress(self) -> Medium:
        """What its device sends."""
        return self._way("egress")

    @property
    def ingress(self) -> Medium:
        """What its device is sent; nothing on a link, where the other router's egress is that."""
        return Medium() if self.is_link else self._way("ingress")

    def _way(self, way: str) -> Medium:
        found = Medium()
        for one in self.said:
            found = found.over(getattr(one.ends, way)).over(one.ends.both)
        return found.settled


def cabled(spec: ResolvedSpec) -> Iterator[Cabled]:
    """Every cable of the underlay."""
    under = ("spec", "underlay")
    everywhere = Said((*under, "links"), spec.links.ends)
    wider = {s.name: (Said((*under, "segments", s.name), s.ends), everywhere)
             for s in spec.segments}  # fmt: skip
    links = {s.name for s in spec.segments if s.is_link}
    for segment in spec.segments:
        for switch in segment.switches[1:]:
            loc = (*under, "segments", segment.name, "switches", switch.name)
            yield Cabled(switch.name, UPLINK, False, (Said(loc, switch.ends), *wider[segment.name]))
    for router in spec.routers:
        own = dict(router.links)
        for index, name in enumerate(router.segments):
            loc = (*under, "routers", router.name, "links", name)
            said = (Said(loc, own.get(name, Ends())), *wider[name])
            yield Cabled(router.name, f"eth{index}", name in links, said)
    for index, node in enumerate(spec.nodes):
        said = (Said(("spec", "nodes", index), node.ends), *wider[node.segment])
        yield Cabled(node.name, node.interface, False, said)
    for host in spec.hosts:
        said = (Said((*under, "hosts", host.name), host.ends), *wider[host.segment])
        yield Cabled(host.name, host.interface, False, said)


class Ways(NamedTuple):
    """A cable's two ways, as its device sees them."""

    egress: Medium
    ingress: Medium


def media(spec: ResolvedSpec) -> Mapping[tuple[str, str], Ways]:
    """Both ways of every cable, by (device, interface)."""
    return {(c.device, c.interface): Ways(c.egress, c.ingress) for c in cabled(spec)}
