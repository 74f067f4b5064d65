"""What a plan needs of the kernel beyond what every kernel of namespaces and bridges has.

The names are those of the trials (:mod:`emulator.substrate.trial`), which say what a kernel has.
"""

from __future__ import annotations

from collections.abc import Iterable

from emulator.plan.resources import (
    Cutter,
    Htb,
    NftTable,
    Qdisc,
    Resource,
    Route,
    TcFilter,
    Tunnel,
)

_BY_KIND = {
    "vxlan": "vxlan",
    "tun": "tun",
    "fou": "foo-over-UDP",
    "geneve": "geneve",
    "dummy": "dummy",
    "wireguard": "wireguard",
    "netem": "netem",
    "xfrm-policy": "IPsec",
    "xfrm-state": "IPsec",
    "ovs-datapath": "datapath of Open vSwitch",
}
_TUNNELS = ("ipip", "sit", "ip6tnl")
USUAL = frozenset({
    "vxlan", "tun", "htb", "tbf", "u32 filters", "nftables on bridges",
    "routes with several next hops",
})  # fmt: skip
"""What nearly every kernel has, and each that this project is tested on."""


def needs(resources: Iterable[Resource]) -> frozenset[str]:
    """The features without which the kernel refuses one of these."""
    return frozenset(filter(None, map(_need, resources)))


def _need(r: Resource) -> str:
    """The feature that it takes; empty where every kernel has what it takes."""
    match r:
        case Tunnel():
            return r.device if r.device in _TUNNELS else _BY_KIND.get(r.device, "")
        case Cutter():
            return "tbf"
        case Qdisc():
            return r.discipline
        case Htb():
            return "htb"
        case TcFilter():
            return "u32 filters"
        case NftTable(family="bridge"):
            return "nftables on bridges"
        case Route() if r.hops:
            return "routes with several next hops"
        case _:
            return _BY_KIND.get(r.kind, "")
