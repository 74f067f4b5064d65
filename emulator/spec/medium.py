"""What a cable does to the packets that go through it, each way for itself.

Chances are whole numbers of parts per billion (``ppb``: 0.1 % is 1,000,000), times are whole
microseconds. Zero and None both mean that nothing of the kind happens; only None lets a wider
place of the spec speak (see :mod:`emulator.spec.media`).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Distribution = Literal["uniform", "normal", "pareto"]

CERTAIN: Final = 1_000_000_000
"""One, in parts per billion."""


class Rate(NamedTuple):
    """A shaped link: the rate is enforced on transmit, and ``by`` which discipline."""

    bits_per_second: int
    by: Literal["tbf", "htb"]


class Delay(NamedTuple):
    """``us`` on the average; ``jitter_us`` is what the distribution is scaled by: the half width
    of a uniform one, the standard deviation of a normal one."""

    us: int
    jitter_us: int = 0
    distribution: Distribution = "uniform"


class Loss(NamedTuple):
    """How many packets are lost; ``correlation_ppb`` between one packet's fate and the next's."""

    ppb: int
    correlation_ppb: int = 0


class Reorder(NamedTuple):
    """Packets that do not wait for the delay: of each ``gap``-th and later ones that many, until
    one has gone ahead."""

    ppb: int
    gap: int = 1


class Medium(NamedTuple):
    """What happens to packets one way. None: as a wider place says."""

    rate: Rate | None = None
    delay: Delay | None = None
    loss: Loss | None = None
    duplicate_ppb: int | None = None
    reorder: Reorder | None = None
    corrupt_ppb: int | None = None

    def over(self, wider: Medium) -> Medium:
        """This one, and where it says nothing ``wider``."""
        said = {name: value for name, value in self._asdict().items() if value is not None}
        return wider._replace(**said)

    @property
    def settled(self) -> Medium:
        """Without what has no effect: None where there is nothing of the kind."""
        return Medium(
            self.rate,
            self.delay if self.delay and self.delay.us else None,
            self.loss if self.loss and self.loss.ppb else None,
            self.duplicate_ppb or None,
            self.reorder if self.reorder and self.reorder.ppb else None,
            self.corrupt_ppb or None,
        )

    @property
    def only_rate(self) -> bool:
        """Whether it needs nothing but a shaper."""
        return self.settled._replace(rate=None) == Medium()

    @property
    def deaf(self) -> bool:
        """Whether all is lost."""
        return self.loss is not None and self.loss.ppb == CERTAIN

    @property
    def arrives(self) -> float:
        """The part of packets that come out whole, each for itself."""
        lost = (self.loss.ppb if self.loss else 0) / CERTAIN
        return (1 - lost) * (1 - (self.corrupt_ppb or 0) / CERTAIN)


class Ends(NamedTuple):
    """What is said of a cable, or of many: ``both`` ways, and what differs in what its device
    sends (``egress``) and is sent (``ingress``)."""

    both: Medium = Medium()
    egress: Medium = Medium()
    ingress: Medium = Medium()


REACH: Final[dict[Distribution, tuple[float, float]]] = {
    "uniform": (1.0, 1.0),
    "normal": (4.0, 4.0),
    "pareto": (2 / 3, 4.0),
}
"""How far delays lie below and above the average at most, in jitters."""


def slowest_us(medium: Medium) -> int:
    """The longest that a packet is delayed, a queue before a rate aside."""
    delay = medium.delay
    if delay is None:
        return 0
    return delay.us + round(delay.jitter_us * REACH[delay.distribution][1])
