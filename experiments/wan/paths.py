"""The links that are tried, and what theory says of TCP over them. Nothing live."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from experiments.two_nodes.modes import Way

RATE_BIT_S: Final = 5_000_000
"""So little that the link is the limit on a slow CPU, too: some 450 packets a second."""
SEGMENT_HEADERS_B: Final = 20 + 20 + 12
"""IPv4, TCP, and the timestamps in each segment."""
RANDOM_LOSS: Final = 1.31
"""Of the model: for losses at random, where growth does not wait for late acknowledgements. Linux
counts what was acknowledged, and not how often. (Losses at equal distances: the root of 1.5.)"""


class Path(NamedTuple):
    """The link between the racks, alike in both ways: ``delay_ms`` is that of one way."""

    delay_ms: int = 0
    loss_percent: float = 0.0

    def link(self) -> dict[str, Any]:
        """For the spec's cable."""
        link: dict[str, Any] = {"rate": f"{RATE_BIT_S // 1000}kbit"}
        if self.delay_ms:
            link["delay"] = f"{self.delay_ms}ms"
        if self.loss_percent:
            link["loss"] = f"{self.loss_percent:g}%"
        return link

    def words(self) -> str:
        """``20 ms, 1 % lost``; ``as fast as it goes`` without either."""
        parts = [f"{self.delay_ms} ms"] if self.delay_ms else []
        parts += [f"{self.loss_percent:g} % lost"] if self.loss_percent else []
        return ", ".join(parts) or "no delay"


PATHS: Final = (
    Path(), Path(20), Path(20, 0.1), Path(20, 1.0), Path(80), Path(80, 1.0),
)  # fmt: skip
QUICK_PATHS: Final = (Path(), Path(20, 1.0))


def of(factors: Mapping[str, Any]) -> Path:
    """From the factors of a condition."""
    return Path(int(factors["delay_ms"]), float(factors["loss_percent"]))


def ceiling_bit_s(way: Way) -> float:
    """Payload of TCP that the link's rate has room for: full segments, with all that is around.

    The shaper counts frames with their Ethernet header, without their check sequence.
    """
    mtu = way.path_mtu
    return RATE_BIT_S * (mtu - SEGMENT_HEADERS_B) / way.around.frame_b(mtu, mtu)


def model_bit_s(way: Way, path: Path) -> float:
    """Mathis, Semke, Mahdavi and Ott: what Reno reaches in its steady state, without timeouts, when
    it loses one packet in 1/p at random; at most the ceiling. The round trip is that of an empty
    queue."""
    ceiling = ceiling_bit_s(way)
    if not path.loss_percent or not path.delay_ms:
        return ceiling
    segment_bits = 8 * (way.path_mtu - SEGMENT_HEADERS_B)
    rtt_s = 2 * path.delay_ms / 1000 + 8 * way.around.frame_b(way.path_mtu) / RATE_BIT_S
    return min(ceiling, segment_bits / rtt_s * RANDOM_LOSS / math.sqrt(path.loss_percent / 100))


def size_b(path: Path, seconds: float) -> int:
    """What the model sends without a tunnel in so long: the same for all modes of a path."""
    return int(model_bit_s(Way(), path) * seconds / 8)
