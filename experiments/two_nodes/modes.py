"""The modes: which network a spec asks for, and what is to be seen of it on the wire.

A mode is one line of ``MODES``. Where it cannot be, or where it would be no longer itself, the
line says why: that stands in the tables of results in place of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from emulator.harness.experiment import Condition, Factor, Pair
from experiments.overhead import (
    ESP_GCM,
    ESP_GCM_IN_UDP,
    GENEVE,
    GUE,
    IPIP,
    PLAIN,
    SEALED_SLEEVE,
    SLEEVE,
    UDP,
    UDP_B,
    VXLAN,
    VXLAN_IN_ESP,
    WIREGUARD,
    Encapsulation,
)

MTU: Final = 1500
PAYLOAD_B: Final = 500
"""Of the datagram that is looked at on the wire."""
PLACES: Final = ("one rack", "two racks")
RATED: Final = ("cpu_s_per_gb",)
"""Measured at a fixed rate, of which modes in user space have their own."""
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

    @property
    def header_b(self) -> int:
        """A captured frame less the payload of the datagram in it."""
        return self.around.datagram_header_b(PAYLOAD_B)


class Mode(NamedTuple):
    """``rack`` and ``racks``: its way in one rack and across two, or why there is none.

    ``in_user_space``: processes carry the packets, so that no rate suits both them and the rest.
    ``seldom``: it needs what not every kernel has; ``podwire doctor`` says which.
    """

    title: str
    network: Mapping[str, Any]
    rack: Way | str
    racks: Way | str
    in_user_space: bool = False
    seldom: bool = False

    def at(self, place: str) -> Way | str:
        """Its way at one of ``PLACES``."""
        return self.rack if place == PLACES[0] else self.racks


def _flannel(backend: str, **options: Any) -> dict[str, Any]:
    return {"plugin": "flannel", "backend": backend, **options}


def _calico(mode: str, backend: str = "vxlan") -> dict[str, Any]:
    return {"plugin": "calico", "backend": backend, f"{backend}Mode": mode}


def _weave(backend: str, **options: Any) -> dict[str, Any]:
    return {"plugin": "weave", "backend": backend, **options}


def _kube_router(encapsulation: str) -> dict[str, Any]:
    """With tunnels to neighbours, too."""
    return {"plugin": "kube-router", "overlayType": "full", "overlayEncap": encapsulation}


def _overlay(backend: str) -> dict[str, Any]:
    return {"plugin": "overlay", "backend": backend}


_HOST = {"plugin": "host"}
_IN_VXLAN = Way(VXLAN)
_IN_IPIP = Way(IPIP)
_IN_WIREGUARD = Way(WIREGUARD, fixed_mtu=MTU - 80)
"""flannel leaves room for IPv6 between the nodes, whatever there is."""
_ROOM_FOR_VXLAN = Way(fixed_mtu=VXLAN.fits(MTU))
"""Plain packets, but of pods whose MTU leaves room for VXLAN."""
_WEAVE_MTU = 1376
"""Whatever the links have: a constant of Weave's."""
_IN_FASTDP = Way(VXLAN, _WEAVE_MTU)
_IN_FASTDP_IN_ESP = Way(VXLAN_IN_ESP, _WEAVE_MTU)
_IN_ESP = Way(ESP_GCM, fixed_mtu=MTU - 77)
"""flannel spares what the longest ESP would take, not what this one does."""
_IN_ESP_IN_UDP = Way(ESP_GCM_IN_UDP, fixed_mtu=MTU - 77 - UDP_B)
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
    "canal-host-gw": Mode(
        "Canal host-gw", {"plugin": "canal", "backend": "host-gw"}, Way(), _ONE_SEGMENT
    ),
    "canal-udp": Mode(
        "Canal udp", {"plugin": "canal", "backend": "udp"}, Way(UDP), Way(UDP),
        in_user_space=True,
    ),
    "calico-bgp": Mode(
        "Calico bgp", {"plugin": "calico", "backend": "bgp"},
        Way(), Way(network=_CALICO_TO_ROUTERS, routing="bgp"),
    ),
    "calico-vxlan": Mode("Calico vxlan", _calico("Always"), _IN_VXLAN, _IN_VXLAN),
    "calico-cross-subnet": Mode(
        "Calico CrossSubnet", _calico("CrossSubnet"), _ROOM_FOR_VXLAN, _IN_VXLAN
    ),
    "fastdp": Mode("Weave fastdp", _weave("fastdp"), _IN_FASTDP, _IN_FASTDP, seldom=True),
    "fastdp-encrypted": Mode(
        "Weave fastdp, encrypted", _weave("fastdp", encryption=True), _IN_FASTDP_IN_ESP,
        _IN_FASTDP_IN_ESP, seldom=True,
    ),
    "sleeve": Mode(
        "Weave sleeve", _weave("sleeve"), Way(SLEEVE), Way(SLEEVE), in_user_space=True
    ),
    "sleeve-encrypted": Mode(
        "Weave sleeve, encrypted", _weave("sleeve", encryption=True), Way(SEALED_SLEEVE),
        Way(SEALED_SLEEVE), in_user_space=True,
    ),
    "kube-router": Mode(
        "kube-router", {"plugin": "kube-router"}, Way(), Way(network=_TO_ROUTERS, routing="bgp")
    ),
    "kubenet": Mode("kubenet", {"plugin": "kubenet"}, Way(), Way()),
    "wireguard": Mode(
        "flannel wireguard", _flannel("wireguard"), _IN_WIREGUARD, _IN_WIREGUARD,
        seldom=True,
    ),
    "canal-wireguard": Mode(
        "Canal wireguard", {"plugin": "canal", "backend": "wireguard"}, _IN_WIREGUARD,
        _IN_WIREGUARD, seldom=True,
    ),
    "ipsec": Mode("flannel ipsec", _flannel("ipsec"), _IN_ESP, _IN_ESP, seldom=True),
    "ipsec-udp": Mode(
        "flannel ipsec in UDP", _flannel("ipsec", udpEncap=True), _IN_ESP_IN_UDP, _IN_ESP_IN_UDP,
        seldom=True,
    ),
    "canal-ipsec": Mode(
        "Canal ipsec", {"plugin": "canal", "backend": "ipsec"}, _IN_ESP, _IN_ESP, seldom=True
    ),
    "ipip": Mode("flannel ipip", _flannel("ipip"), _IN_IPIP, _IN_IPIP, seldom=True),
    "ipip+directRouting": Mode(
        "flannel ipip, directRouting", _flannel("ipip", directRouting=True),
        Way(fixed_mtu=IPIP.fits(MTU)), _IN_IPIP, seldom=True,
    ),
    "canal-ipip": Mode(
        "Canal ipip", {"plugin": "canal", "backend": "ipip"}, _IN_IPIP, _IN_IPIP, seldom=True
    ),
    "calico-ipip": Mode("Calico ipip", _calico("Always", "ipip"), _IN_IPIP, _IN_IPIP, seldom=True),
    "calico-ipip-cross-subnet": Mode(
        "Calico ipip, CrossSubnet", _calico("CrossSubnet", "ipip"), Way(fixed_mtu=IPIP.fits(MTU)),
        _IN_IPIP, seldom=True,
    ),
    "calico-wireguard": Mode(
        "Calico WireGuard", {**_calico("Always"), "wireguardEnabled": True}, Way(WIREGUARD),
        Way(WIREGUARD), seldom=True,
    ),
    "kube-router-ipip": Mode(
        "kube-router ipip", _kube_router("ipip"), _IN_IPIP, _IN_IPIP, seldom=True
    ),
    "kube-router-gue": Mode(
        "kube-router GUE", _kube_router("fou"), Way(GUE), Way(GUE), seldom=True
    ),
    "romana": Mode("Romana", {"plugin": "romana"}, Way(), Way(), seldom=True),
    "overlay-vxlan": Mode("overlay vxlan", _overlay("vxlan"), _IN_VXLAN, _IN_VXLAN),
    "overlay-ipip": Mode("overlay ipip", _overlay("ipip"), _IN_IPIP, _IN_IPIP, seldom=True),
    "geneve": Mode("overlay geneve", _overlay("geneve"), Way(GENEVE), Way(GENEVE), seldom=True),
    "macvlan": Mode("CNI macvlan", _MACVLAN, Way(), _OWN_SEGMENT),
}  # fmt: skip
"""By arm, in the order of figures and tables."""


def pairs(arms: Iterable[str], where: Mapping[str, Factor] = {}) -> tuple[Pair, ...]:
    """Every arm to the host network, which is its own twin, under the factors of ``where``.

    CPU time for a gigabyte is not compared of modes in user space: theirs is that of another rate.
    """
    return tuple(
        Pair(arm, BASELINE, arm == TWIN, where, RATED if MODES[arm].in_user_space else ())
        for arm in arms
        if arm != BASELINE
    )


def way(condition: Condition) -> Way:
    """That of a condition with a factor ``place``; KeyError where there is none."""
    found = MODES[condition.arm].at(str(condition.factors["place"]))
    if isinstance(found, str):
        raise KeyError(f"{condition.name}: {found}")
    return found


def unsupported(arms: Iterable[str]) -> list[tuple[str, str, str]]:
    """(arm, place, why) of what is left out."""
    return [
        (arm, place, why)
        for arm in arms
        for place in PLACES
        if isinstance(why := MODES[arm].at(place), str)
    ]
