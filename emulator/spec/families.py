"""Which families a cluster has: its ranges of addresses, the primary family first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from emulator.cni.options import PLUGINS
from emulator.family import IPV4, IPV6, LEAST_MTU_B, family
from emulator.spec.findings import Findings
from emulator.spec.model import ClusterSpec
from emulator.spec.resolved import Place, ResolvedSpec

T = TypeVar("T", str, int)

_POD_CIDR_IPV6: Final = "fd00:10:244::/56"
_SEGMENT: Final = {"IPv4": "192.168.50.0/24", "IPv6": "fd00:192:168:50::/64"}
_PREFIX: Final = {"IPv4": 24, "IPv6": 64}
_LONGEST: Final = {"IPv4": 30, "IPv6": 126}


def pod_cidrs(spec: ClusterSpec) -> tuple[str, ...]:
    """The pods' networks; where none is given the plugin's own, of the families that the
    segments have."""
    if "podCIDR" in spec.model_fields_set:
        return _tuple(spec.podCIDR)
    own = {IPV4: PLUGINS[spec.network.plugin].pod_cidr, IPV6: _POD_CIDR_IPV6}
    segments = spec.underlay.segments.values()
    return tuple(own[family(cidr)] for s in list(segments)[:1] for cidr in _tuple(s.cidr))


def segment_cidrs(spec: ClusterSpec) -> Mapping[str, tuple[str, ...]]:
    """The networks of each segment, in the order of the pods' families."""
    pods = [family(cidr).name for cidr in pod_cidrs(spec)]
    if "segments" not in spec.underlay.model_fields_set:
        return {name: tuple(_SEGMENT[f] for f in pods) for name in spec.underlay.segments}

    def rank(cidr: str) -> int:
        own = family(cidr).name
        return pods.index(own) if own in pods else len(pods)

    return {
        name: tuple(sorted(_tuple(doc.cidr), key=rank))
        for name, doc in spec.underlay.segments.items()
    }


def node_prefixes(spec: ClusterSpec, place: Place, findings: Findings) -> tuple[int, ...]:
    """The length of a node's part of each of the pods' networks."""
    families = [family(cidr).name for cidr in pod_cidrs(spec)]
    usual = tuple(_PREFIX[f] for f in families)
    if spec.nodePrefix is None:
        return usual
    given = _tuple(spec.nodePrefix)
    if len(given) != len(families):
        findings.add(
            place,
            f"{len(given)} length{'s'[: len(given) > 1]} for podCIDR of {' and '.join(families)}",
            f"{len(families)}, one for each in the same order",
            f"or leave it out: {' and '.join(f'{_PREFIX[f]} for {f}' for f in families)}",
        )
        return usual
    long = [(f, length) for f, length in zip(families, given, strict=True) if length > _LONGEST[f]]
    for f, length in long:
        findings.add(place, f"{length} for {f}", f"at most {_LONGEST[f]}")
    return usual if long else given


def check_families(spec: ResolvedSpec, pod_cidr: Place, mtu: Place, findings: Findings) -> bool:
    """Whether every segment has the families of the pods; findings where it has not, and where
    the plugin or the links are not for IPv6."""
    wanted = [family(cidr).name for cidr in spec.pod_cidrs]
    good = True
    for segment in spec.segments:
        found = [family(cidr).name for cidr in segment.cidrs]
        if found != wanted:
            good = False
            findings.add(
                segment.place,
                f"{' and '.join(found)} on segment {segment.name}",
                f"{' and '.join(wanted)}, the families of podCIDR ({', '.join(spec.pod_cidrs)})",
                "a segment of both families: cidr: [192.168.1.0/24, fd00:192:168:1::/64]"
                if len(wanted) == 2
                else "",
            )
    if not spec.ipv6:
        return good
    network = spec.network
    if network.backend not in PLUGINS[network.plugin].ipv6:
        mode = f"plugin {network.plugin}"
        mode += f" and backend {network.backend}" if network.backend else ""
        findings.add(
            pod_cidr,
            f"IPv6 with {mode}",
            "IPv4 networks only: this version has no IPv6 for it",
            f"with IPv6: {'; '.join(_with_ipv6())}",
        )
    elif network.backend in PLUGINS[network.plugin].with_ipv4 and len(spec.pod_cidrs) == 1:
        findings.add(
            pod_cidr,
            f"IPv6 alone with plugin {network.plugin} and backend {network.backend}",
            "a network of IPv4 beside it: what the backend is called for is of IPv4",
        )
    if spec.links.mtu < LEAST_MTU_B:
        findings.add(mtu, f"{spec.links.mtu} bytes with IPv6", f"at least {LEAST_MTU_B} bytes")
    return good


def _with_ipv6() -> list[str]:
    return [
        name + (f" ({', '.join(plugin.ipv6)})" if plugin.ipv6 != ("",) else "")
        for name, plugin in sorted(PLUGINS.items())
        if plugin.ipv6
    ]


def _tuple(value: T | list[T]) -> tuple[T, ...]:
    return tuple(value) if isinstance(value, list) else (value,)
