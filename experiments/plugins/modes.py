"""The modes: which network a spec asks for, and what is to be seen of it on the wire.

A mode is one line of ``MODES``. Where it cannot be, or where it would be no longer itself, the
line says why: that stands in the table of results in place of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from emulator.harness.experiment import Pair
from experiments.plugins.overhead import PLAIN, SLEEVE, UDP, VXLAN, Encapsulation

MTU: Final = 1500
PLACES: Final = ("one rack", "two racks")
BASELINE: Final = "host"
TWIN: Final = "host again"


class Way(NamedTuple):
    """What a packet meets between two nodes.

    ``around``: what is put around it. ``fixed_mtu``: a path MTU that does not follow from that.
    ``network`` and ``routing``: what the spec says there besides.
    """

    around: Encapsulation = PLAIN
    fixed_mtu: int = 0
    network: Mapping[str, Any] = {}
    routing: str = "static"

    @property
    def path_mtu(self) -> int:
        """The largest packet of a pod that arrives in one piece."""
        return self.fixed_mtu or self.around.fits(MTU)


class Mode(NamedTuple):
    """``rack`` and ``racks``: its way in one rack and across two, or why there is none.

    ``in_user_space``: processes carry the packets, so that no rate suits both them and the rest.
    """

    title: str
    network: Mapping[str, Any]
    rack: Way | str
    racks: Way | str
    in_user_space: bool = False

    def at(self, place: str) -> Way | str:
        """Its way at one of ``PLACES``."""
        return self.rack if place == PLACES[0] else self.racks


def _flannel(backend: str, **options: Any) -> dict[str, Any]:
    return {"plugin": "flannel", "backend": backend, **options}


def _calico(vxlan_mode: str) -> dict[str, Any]:
    return {"plugin": "calico", "backend": "vxlan", "vxlanMode": vxlan_mode}


_HOST = {"plugin": "host"}
_IN_VXLAN = Way(VXLAN)
_ROOM_FOR_VXLAN = Way(fixed_mtu=VXLAN.fits(MTU))
"""Plain packets, but of pods whose MTU leaves room for VXLAN."""
_WEAVE_MTU = 1376
"""Whatever the links have: a constant of Weave's."""
_TO_ROUTERS = {"enableOverlay": False, "peerRouters": True}
_CALICO_TO_ROUTERS = {"nodeToNodeMeshEnabled": False, "peerWithRouters": True}
_MACVLAN = {
    "plugin": "cni",
    "conflist": "conflists/macvlan.conflist",
    "podCapabilities": {
        "n1-p1": {"ips": ["10.244.1.2/16"]},
        "n2-p1": {"ips": ["10.244.2.2/16"]},
    },
}
_ONE_SEGMENT = "the next hop of its routes must be on the node's own segment"
_OWN_SEGMENT = "pods are on the segment of their node, and nothing leads to the other one"

MODES: Final[Mapping[str, Mode]] = {
    BASELINE: Mode("host network", _HOST, Way(), Way()),
    TWIN: Mode("host network (A/A)", _HOST, Way(), Way()),
    "host-gw": Mode("flannel host-gw", _flannel("host-gw"), Way(), _ONE_SEGMENT),
    "vxlan": Mode("flannel vxlan", _flannel("vxlan"), _IN_VXLAN, _IN_VXLAN),
    "vxlan+directRouting": Mode(
        "flannel directRouting", _flannel("vxlan", directRouting=True), _ROOM_FOR_VXLAN, _IN_VXLAN
    ),
    "udp": Mode("flannel udp", _flannel("udp"), Way(UDP), Way(UDP), in_user_space=True),
    "canal": Mode("Canal", {"plugin": "canal", "backend": "vxlan"}, _IN_VXLAN, _IN_VXLAN),
    "calico-bgp": Mode(
        "Calico bgp", {"plugin": "calico", "backend": "bgp"},
        Way(), Way(network=_CALICO_TO_ROUTERS, routing="bgp"),
    ),
    "calico-vxlan": Mode("Calico vxlan", _calico("Always"), _IN_VXLAN, _IN_VXLAN),
    "calico-cross-subnet": Mode(
        "Calico CrossSubnet", _calico("CrossSubnet"), _ROOM_FOR_VXLAN, _IN_VXLAN
    ),
    "fastdp": Mode(
        "Weave fastdp", {"plugin": "weave", "backend": "fastdp"},
        Way(VXLAN, _WEAVE_MTU), Way(VXLAN, _WEAVE_MTU),
    ),
    "sleeve": Mode(
        "Weave sleeve", {"plugin": "weave", "backend": "sleeve"}, Way(SLEEVE), Way(SLEEVE),
        in_user_space=True,
    ),
    "kube-router": Mode(
        "kube-router", {"plugin": "kube-router"}, Way(), Way(network=_TO_ROUTERS, routing="bgp")
    ),
    "kubenet": Mode("kubenet", {"plugin": "kubenet"}, Way(), Way()),
    "macvlan": Mode("CNI macvlan", _MACVLAN, Way(), _OWN_SEGMENT),
}  # fmt: skip
"""By arm, in the order of figures and tables."""

QUICK: Final = (BASELINE, "host-gw", "vxlan", "kubenet")


def pairs(arms: Iterable[str]) -> tuple[Pair, ...]:
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
