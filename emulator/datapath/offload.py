"""Offload profiles: which segmentation and aggregation each class of device has.

veth hands packets of 64 KiB over as one, also through a tunnel, which hides what an
overlay costs per packet. A profile must be defined for every class of device at once:
with aggregation off on the cables only, the VXLAN device still aggregates what it
decapsulates while routed traffic has nothing that does, and the overlay looks faster
than no overlay.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from emulator.spec.resolved import Offload

DeviceClass = Literal["underlay", "tunnel", "bridge", "pod"]


class Features(NamedTuple):
    """Requested TCP segmentation, generic segmentation, generic receive offload."""

    tso: bool
    gso: bool
    gro: bool


_ON = Features(True, True, True)
_OFF = Features(False, False, False)
_WIRE = Features(False, False, True)

_PROFILES: dict[Offload, dict[DeviceClass, Features]] = {
    "full": {"underlay": _ON, "tunnel": _ON, "bridge": _ON, "pod": _ON},
    "wire": {"underlay": _WIRE, "tunnel": _ON, "bridge": _ON, "pod": _ON},
    "off": {"underlay": _OFF, "tunnel": _OFF, "bridge": _OFF, "pod": _OFF},
}


def features(profile: Offload, device: DeviceClass) -> Features:
    """The features of a class of device under a profile.

    ``full`` is an ideal NIC; ``wire`` cuts to frames of the MTU on every cable, so that
    the frames there are real; ``off`` has neither anywhere.
    """
    return _PROFILES[profile][device]
