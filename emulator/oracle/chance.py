"""How surely a packet and its answer arrive, and how long that takes, over links that lose and
delay.

Both are bounds: a node's own cable is known, between the cables the worst way is taken. Packets
are asked again as often as theory says that one out of a million looks may still be wrong.
"""

from __future__ import annotations

from functools import cached_property
from math import ceil, log, prod
from typing import Final, NamedTuple

from emulator.spec.media import Ways, media
from emulator.spec.medium import slowest_us
from emulator.spec.resolved import UPLINK, Host, Node, ResolvedSpec

SURE: Final = 0.75
"""Below this part of round trips nothing is predicted: an answer comes by chance."""

_WRONG: Final = 1e-6
"""How many looks at a whole lab may find something lost that is not."""

_STEPS: Final = 4
"""Questions of one probe: the size, a small packet, the size again, one byte more."""

_ASKED_AGAIN_S: Final = 1.1
"""A kernel that gets no answer about a neighbour asks again after a second."""


class Passage(NamedTuple):
    """One cable or several: the part of round trips that come through, and their delay."""

    arrives: float = 1.0
    rtt_us: int = 0

    def then(self, *others: Passage) -> Passage:
        """This one and others, one after the other."""
        every = (self, *others)
        return Passage(prod(p.arrives for p in every), sum(p.rtt_us for p in every))


def _across(ways: Ways) -> Passage:
    rtt_us = sum(slowest_us(medium) for medium in ways)
    # a cable that loses all is a fault, and the wires know who needs it
    arrives = 1.0 if any(medium.deaf for medium in ways) else prod(m.arrives for m in ways)
    return Passage(arrives, rtt_us)


class Chances:
    """The links of one spec."""

    def __init__(self, spec: ResolvedSpec) -> None:
        self._spec = spec
        cables = {end: _across(ways) for end, ways in media(spec).items()}
        stations: list[Node | Host] = [*spec.nodes, *spec.hosts]
        self._own = {x.name: cables[x.name, x.interface] for x in stations}
        self._cables = cables
        self.perfect = all(passage == Passage() for passage in cables.values())

    @cached_property
    def _between(self) -> Passage:
        """The worst way between the cables of two nodes: trunks, and two routers' cables in each
        of as many segments as a way can have."""
        trunks, routers = [], []
        for s in self._spec.segments:
            inner = [self._cables[w.name, UPLINK] for w in s.switches[1:]]
            trunks.append(Passage().then(*inner))
            routers.append(
                [
                    self._cables[r.name, f"eth{r.segments.index(s.name)}"]
                    for r in self._spec.routers
                    if s.name in r.segments
                ]
            )
        crossed = min(len(trunks), len(self._spec.routers) + 1)
        arrives = sorted(
            t.arrives * prod(sorted(p.arrives for p in own)[:2])
            for t, own in zip(trunks, routers, strict=True)
        )
        slow = sorted(
            (
                t.rtt_us + sum(sorted((p.rtt_us for p in own), reverse=True)[:2])
                for t, own in zip(trunks, routers, strict=True)
            ),
            reverse=True,
        )
        return Passage(prod(arrives[:crossed]), sum(slow[:crossed]))

    def between(self, near: str, far: str) -> Passage:
        """Between two nodes or outside hosts."""
        if near == far:
            return Passage()
        return self._own[near].then(self._own[far], self._between)

    def doubt(self, near: str, far: str) -> str:
        """Why an answer comes only by chance; empty where it will come."""
        if self.perfect:
            return ""
        arrives = self.between(near, far).arrives
        if arrives >= SURE:
            return ""
        return f"links that lose packets let {arrives:.1%} of round trips through, or somewhat more"

    def waits_s(self, usual: tuple[float, ...], probes: int) -> tuple[float, ...]:
        """How long to wait at each try for ``probes`` of them, from what is ``usual``."""
        if self.perfect:
            return usual
        stations = sorted((p.rtt_us for p in self._own.values()), reverse=True)[:2]
        rtt_us = self._between.rtt_us + sum(stations)
        # neighbours are looked for on the way there and on the way back
        patient = tuple(wait + 3 * rtt_us / 1e6 for wait in usual)
        names = list(self._own)
        arrives = [self.between(a, b).arrives for a in names for b in names if a < b]
        least = min((one for one in arrives if one >= SURE), default=1.0)
        if least == 1.0:
            return patient
        # a neighbour has to be found as well
        tries = ceil(log(_WRONG / (_STEPS * max(1, probes))) / log(1 - least**2))
        again = max(_ASKED_AGAIN_S + 3 * rtt_us / 1e6, patient[-1])
        return tuple(max(wait, again) for wait in patient) + (again,) * (tries - len(patient))
