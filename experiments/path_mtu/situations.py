"""What stands in the way, which packets are sent, and what can become of them. Nothing live."""

from __future__ import annotations

from typing import Final, NamedTuple

from experiments.two_nodes.modes import Way

NARROW_MTU: Final = 1300
BARE_HEADERS_B: Final = 20 + 20
"""IPv4 and TCP without options: an MSS leaves room for these alone."""
OUTCOMES: Final = ("lost", "refused", "in pieces", "whole")
"""By the value of a sample."""


class Situation(NamedTuple):
    """``narrow``: the cable behind the router takes ``NARROW_MTU``; ``silent``: and no ICMP error
    leaves the router."""

    title: str
    narrow: bool
    silent: bool = False


SITUATIONS: Final = {
    "above": Situation("one byte above the path MTU", False),
    "narrow": Situation(f"a link of {NARROW_MTU} B on the way", True),
    "silent": Situation(f"a link of {NARROW_MTU} B, ICMP filtered", True, True),
}
PROBES: Final = {
    "outcome_df": "UDP, DF",
    "outcome_fragments": "UDP, no DF",
    "outcome_tcp": "TCP",
    "outcome_clamped": "TCP, MSS clamped",
}
"""Metric to heading."""


def size_b(way: Way, situation: str) -> int:
    """The IP packet that is sent: as large as the pod may without the narrow link, or one more."""
    return way.path_mtu + (0 if SITUATIONS[situation].narrow else 1)


def fits_b(way: Way, situation: str) -> int:
    """The largest IP packet of the pod that fits the narrowest link of the way: what a refusal must
    name."""
    narrow = SITUATIONS[situation].narrow
    return way.around.fits(NARROW_MTU, way.path_mtu) if narrow else way.path_mtu


def clamped_mss_b(way: Way, situation: str) -> int:
    """What a rule must allow TCP, for its segments to fit the narrowest link of the way."""
    return fits_b(way, situation) - BARE_HEADERS_B
