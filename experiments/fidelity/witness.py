"""What ``ip``, ``ethtool``, ``nft`` and /proc say of a lab, in a form that two builders share.

Addresses of hardware and names of veth ends other than eth0 are anyone's choice and left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from difflib import unified_diff
from pathlib import Path
from typing import Any

from emulator.cluster import Place
from emulator.errors import PodwireError, Problem

_FEATURES = ("tcp-segmentation-offload", "generic-segmentation-offload",
             "generic-receive-offload", "tx-checksumming")  # fmt: skip
_SIZES = ("mtu", "txqlen", "num_tx_queues", "num_rx_queues", "gso_max_size", "gro_max_size")
_TUNNEL = ("id", "port", "local", "learning", "udp_csum", "ttl", "df", "ageing")
_SYSCTLS = ("ipv4/ip_forward", "ipv4/conf/all/rp_filter", "ipv4/conf/eth0/rp_filter")
_ENDS_ONLY = "ipv4/tcp_congestion_control"
_BRIDGES_ONLY = "bridge/bridge-nf-call-iptables"


class Witness:
    """Keeps the state that a lab of each network has and compares every other one with it.

    ``reference``: the places of such a lab; it is built once, when it is first asked for.
    """

    def __init__(
        self, reference: Callable[[str], AbstractContextManager[Mapping[str, Place]]]
    ) -> None:
        self._reference = reference
        self._first: dict[str, tuple[str, ...]] = {}

    def look(self, network: str) -> None:
        """Build the reference of a network, unless that was done. Before the lab to be compared:
        two labs at a time would disturb each other."""
        if network not in self._first:
            with self._reference(network) as places:
                self._first[network] = state(places)

    def differences(self, network: str, places: Mapping[str, Place]) -> list[str]:
        """Lines that a lab has more (+) or less (-) than the reference of its network."""
        first, now = self._first[network], state(places)
        changed = unified_diff(first, now, "first", "now", n=0, lineterm="")
        return [line for line in changed if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def state(places: Mapping[str, Place]) -> tuple[str, ...]:
    """Interfaces, their sizes and offloads, addresses, tunnels, neighbours, routes, rules and
    sysctls of all places, sorted."""
    return tuple(sorted(line for name, place in places.items() for line in _of(name, place)))


def _of(name: str, place: Place) -> Iterator[str]:
    shown: dict[str, str] = {}
    # Ubuntu's ip prints the map of its "fan" into the JSON of a VXLAN device
    details = _run(place, "ip", "-j", "-d", "addr", "show").replace("fan-map ", "")
    for link in json.loads(details):
        kind = link.get("linkinfo", {}).get("info_kind", link["link_type"])
        device = link["ifname"]
        shown[device] = "veth" if kind == "veth" and device != "eth0" else device
        port = link.get("linkinfo", {}).get("info_slave_data", {})
        hairpin = port.get("hairpin", "no port")
        text = f"{name} {kind} {shown[device]} up {'UP' in link['flags']} hairpin {hairpin}"
        yield f"{text} {_values(link, _SIZES)} {_offloads(place, device)}"
        if kind == "vxlan":
            yield f"{text} {_values(link['linkinfo']['info_data'], _TUNNEL)}"
            for entry in json.loads(_run(place, "bridge", "-j", "fdb", "show", "dev", device)):
                yield f"{name} forwarding {device} dst {entry.get('dst')} {entry.get('state')}"
        for one in link["addr_info"]:
            if one["family"] == "inet":
                yield f"{name} address {one['local']}/{one['prefixlen']} {shown[device]}"
    for one in json.loads(_run(place, "ip", "-j", "neigh", "show", "nud", "permanent")):
        yield f"{name} neighbour {one['dst']} {shown[one['dev']]} permanent"
    for route in json.loads(_run(place, "ip", "-j", "route", "show")):
        via = route.get("gateway", "-")
        yield f"{name} route {route['dst']} via {via} {shown.get(route['dev'], route['dev'])}"
    for line in _run(place, "nft", "list", "ruleset").splitlines():
        if line.strip():
            yield f"{name} rules {line.strip()}"
    paths = [f"/proc/sys/net/{one}" for one in _SYSCTLS if "eth0" in shown or "eth0" not in one]
    if name.startswith("n"):
        paths.append(f"/proc/sys/net/{_ENDS_ONLY}")
    if {"br0", "cni0"} & shown.keys() and Path(f"/proc/sys/net/{_BRIDGES_ONLY}").exists():
        paths.append(f"/proc/sys/net/{_BRIDGES_ONLY}")
    for path, value in zip(paths, _run(place, "cat", *paths).splitlines(), strict=True):
        # a pod or switch forwards nothing, whatever its sysctl says
        if path.endswith("ip_forward") and name not in ("n1", "n2"):
            continue
        yield f"{name} {path} = {value}"


def _values(of: Mapping[str, Any], names: Sequence[str]) -> str:
    return " ".join(f"{name} {of.get(name, '-')}" for name in names)


def _offloads(place: Place, device: str) -> str:
    text = _run(place, "ethtool", "-k", device)
    pairs = (line.strip().partition(": ") for line in text.splitlines())
    have = {key: value.split()[0] for key, _, value in pairs if value}
    return " ".join(f"{feature} {have.get(feature, 'absent')}" for feature in _FEATURES)


def _run(place: Place, *argv: str) -> str:
    ended = place.run(argv, timeout_s=10.0, env={"LC_ALL": "C"})
    if ended.returncode:
        raise PodwireError(
            Problem(f"{place.name}: {' '.join(argv)}", ended.stderr.decode().strip(), "an answer")
        )
    return ended.stdout.decode()
