"""Which way the bytes went: counters of a node's uplink and tunnel around a measurement.

A mode is what it claims to be only when its bytes are seen on the device that makes it that
mode, and an offload profile only when the frames on the cable have the size that it promises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from emulator.measure.sample import Measured, Sample, failed, good
from emulator.place import Place

METRICS = ("uplink_tx_b", "frame_b")
"""And ``tunnel_tx_b`` where there is a tunnel."""


class Look(NamedTuple):
    """Counters of a node's uplink, and of its tunnel where it has one."""

    uplink: Mapping[str, int]
    tunnel: Mapping[str, int] | None


def look(node: Place, uplink: str, tunnel: str | None) -> Look:
    """Read them now. PodwireError when an interface of that name is not there."""
    return Look(node.counters(uplink), node.counters(tunnel) if tunnel else None)


def between(before: Look, after: Look) -> Measured:
    """``uplink_tx_b``, ``frame_b`` (failed when no frame left) and, with a tunnel,
    ``tunnel_tx_b``. Sizes are those of Ethernet frames without the check sequence."""
    sent_b = after.uplink["tx_bytes"] - before.uplink["tx_bytes"]
    frames = after.uplink["tx_packets"] - before.uplink["tx_packets"]
    samples: list[Sample] = [good("uplink_tx_b", sent_b, frames=frames)]
    if frames:
        samples.append(good("frame_b", sent_b / frames, frames=frames))
    else:
        samples.append(failed("frame_b", "no frame left on the uplink"))
    if before.tunnel is not None and after.tunnel is not None:
        grown = after.tunnel["tx_bytes"] - before.tunnel["tx_bytes"]
        samples.append(good("tunnel_tx_b", grown))
    return Measured(tuple(samples), {})
