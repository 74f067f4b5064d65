"""Names that parts of a spec refer to each other by, known even where their owner is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from emulator.spec.check import Checked
from emulator.spec.findings import Findings, nearest, one_of
from emulator.spec.resolved import Offload, Place
from emulator.spec.tree import Loc


class References:
    """What can be referred to: the segments, and the nodes once they are made.

    ``checked`` is the Cluster document, ``at`` gives places in it.
    """

    def __init__(
        self,
        checked: Checked,
        segments: Iterable[str],
        findings: Findings,
        switches: Mapping[str, Collection[str]],
        offload: Offload,
    ) -> None:
        self.checked = checked
        self.at = checked.source.place
        self.findings = findings
        self.segments = list(segments)
        self.nodes: dict[str, None] = {}
        self._switches = switches
        self.offload = offload

    def segment(self, name: str, place: Place) -> bool:
        """Whether there is such a segment; a finding if not."""
        if name not in self.segments:
            self._unknown("segment", name, self.segments, place)
            return False
        return True

    def segment_or_only(self, name: str | None, here: Loc, field: str) -> str | None:
        """The segment that ``field`` of ``here`` names, or the only one there is."""
        place = self.at(*here, field)
        if name is not None:
            return name if self.segment(name, place) else None
        if len(self.segments) == 1:
            return self.segments[0]
        if not self.checked.unsure(*here):
            self.findings.add(place, "nothing", f"the field {field}: {one_of(self.segments)}")
        return None

    def switch(self, name: str | None, segment: str, place: Place) -> str:
        """The switch of the segment, empty for its first; a finding if there is none."""
        if name is None:
            return ""
        known = self._switches.get(segment) or (segment,)
        if name not in known:
            self._unknown("switch of " + segment, name, known, place)
        return name if name != next(iter(known)) else ""

    def node(self, name: str, place: Place) -> None:
        """A finding if there is no such node."""
        if name not in self.nodes and not self.checked.unsure("spec", "nodes"):
            self._unknown("node", name, self.nodes, place)

    def _unknown(self, what: str, name: str, known: Collection[str], place: Place) -> None:
        listed = one_of(known) if len(known) <= 12 else f"one of {len(known)}"
        self.findings.add(place, f'"{name}", which is no {what}', listed, nearest(name, known))
