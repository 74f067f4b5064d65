"""The grammar of what a cable does: rate, delay, loss and their like, each way."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from emulator.spec.grammar import MAPPING, SCALAR, Grammar
from emulator.spec.link_values import Jitter, Microseconds, Share
from emulator.spec.values import BitsPerSecond


def _form(value: Any) -> str:
    return MAPPING if isinstance(value, dict) else SCALAR


class RateDoc(Grammar):
    """A rate and the queueing discipline that enforces it."""

    value: BitsPerSecond
    by: Literal["tbf", "htb"] = "tbf"


class DelayDoc(Grammar):
    """A delay that varies."""

    value: Microseconds
    jitter: Jitter | None = Field(
        default=None, description="half the width of a uniform distribution, or what others scale"
    )
    distribution: Literal["uniform", "normal", "pareto"] = "uniform"


class LossDoc(Grammar):
    """Losses that come in bursts."""

    value: Share
    correlation: Share | None = Field(
        default=None, description="between the fate of one packet and that of the next"
    )


class ReorderDoc(Grammar):
    """Packets that overtake others."""

    value: Share
    gap: int = Field(default=1, ge=1, le=1_000_000, description="only each so-manieth may overtake")


RateField = Annotated[
    Annotated[BitsPerSecond, Tag(SCALAR)] | Annotated[RateDoc, Tag(MAPPING)], Discriminator(_form)
]
DelayField = Annotated[
    Annotated[Microseconds, Tag(SCALAR)] | Annotated[DelayDoc, Tag(MAPPING)], Discriminator(_form)
]
LossField = Annotated[
    Annotated[Share, Tag(SCALAR)] | Annotated[LossDoc, Tag(MAPPING)], Discriminator(_form)
]
ReorderField = Annotated[
    Annotated[Share, Tag(SCALAR)] | Annotated[ReorderDoc, Tag(MAPPING)], Discriminator(_form)
]


class MediumDoc(Grammar):
    """What happens to packets."""

    rate: RateField | None = Field(default=None, description="for example 1gbit")
    delay: DelayField | None = Field(default=None, description="each way, for example 10ms")
    loss: LossField | None = Field(default=None, description="for example 0.1%")
    duplicate: Share | None = Field(default=None, description="packets that arrive twice")
    reorder: ReorderField | None = Field(
        default=None, description="packets that do not wait for the delay"
    )
    corrupt: Share | None = Field(default=None, description="packets with one bit turned over")


class CableDoc(MediumDoc):
    """What is said of a cable: of both ways, and of one of them where that differs."""

    egress: MediumDoc | None = Field(default=None, description="what the device sends")
    ingress: MediumDoc | None = Field(default=None, description="what is sent to the device")
