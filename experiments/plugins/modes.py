"""The modes: which network a spec asks for, and what is to be seen of it on the wire.

A mode is one line of ``MODES``. Where it cannot be, or where it would be no longer itself, the
line says why: that stands in the table of results in place of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from emulator.harness.experiment import Pair
from experiments.plugins.overhead import PLAIN, UDP, VXLAN, Encapsulation

MTU: Final = 1500
PLACES: Final = ("one rack", "two racks")
BASELINE: Final = "host"
TWIN: Final = "host again"


class Way(NamedTuple):
    """What a packet meets between two nodes.

    ``around``: what is put around it. ``fixed_mtu``: a path MTU that does not follow from that.
    ``underlay``: what the topology must be besides.
    """

    around: Encapsulation = PLAIN
    fixed_mtu: int = 0
    underlay: Mapping[str, Any] = {}

    @property
    def path_mtu(self) -> int:
        """The largest packet of a pod that arrives in one piece."""
        return self.fixed_mtu or self.around.fits(MTU)


class Mode(NamedTuple):
    """``rack`` and ``racks``: its way in one rack and across two, or why there is none.

    ``in_user_space``: processes carry the packets, so that no rate suits both them and the rest.
    """

    network: Mapping[str, Any]
    rack: Way | str
    racks: Way | str
    in_user_space: bool = False

    def at(self, place: str) -> Way | str:
        """Its way at one of ``PLACES``."""
        return self.rack if place == PLACES[0] else self.racks


_HOST = {"plugin": "host"}
_ONE_SEGMENT = "the next hop of its routes must be on the node's own segment"
_NO_IPIP = "its tunnels between subnets are IPIP, which Podwire does not make"
_RESERVED = Way(fixed_mtu=VXLAN.fits(MTU))
"""Plain packets between pods whose MTU leaves room for VXLAN all the same."""

MODES: Final[Mapping[str, Mode]] = {
    BASELINE: Mode(_HOST, Way(), Way()),
    TWIN: Mode(_HOST, Way(), Way()),
    "host-gw": Mode({"plugin": "flannel", "backend": "host-gw"}, Way(), _ONE_SEGMENT),
    "vxlan": Mode({"plugin": "flannel", "backend": "vxlan"}, Way(VXLAN), Way(VXLAN)),
    "vxlan+directRouting": Mode(
        {"plugin": "flannel", "backend": "vxlan", "directRouting": True}, _RESERVED, Way(VXLAN)
    ),
    "udp": Mode({"plugin": "flannel", "backend": "udp"}, Way(UDP), Way(UDP), in_user_space=True),
    "canal": Mode({"plugin": "canal", "backend": "vxlan"}, Way(VXLAN), Way(VXLAN)),
    "kube-router": Mode({"plugin": "kube-router"}, Way(), _NO_IPIP),
    "kubenet": Mode({"plugin": "kubenet"}, Way(), Way()),
}
"""By arm, in the order of figures and tables."""

QUICK: Final = (BASELINE, "host-gw", "vxlan", "kubenet")


def pairs(arms: tuple[str, ...]) -> tuple[Pair, ...]:
    """Every arm to the host network, which is its own twin."""
    return tuple(Pair(arm, BASELINE, twin=arm == TWIN) for arm in arms if arm != BASELINE)


def unsupported() -> list[tuple[str, str, str]]:
    """(arm, place, why) of what is left out."""
    return [
        (arm, place, why)
        for arm, mode in MODES.items()
        for place in PLACES
        if isinstance(why := mode.at(place), str)
    ]
