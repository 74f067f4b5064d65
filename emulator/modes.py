"""Every mode that a pod network can be run in, with what it needs of the kernel.

What ``podwire doctor`` lists, and what the tests bring up one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from emulator.cni.options import PLUGINS
from emulator.compile import compile_spec
from emulator.errors import SpecError
from emulator.needs import needs
from emulator.spec import load_text

_WIREGUARD = {"wireguardEnabled": True}
_OPTIONS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "flannel": (
        {"backend": "vxlan", "directRouting": True},
        {"backend": "ipip", "directRouting": True},
        {"backend": "wireguard", "mode": "auto"},
        {"backend": "wireguard", "psk": True},
        {"backend": "ipsec", "udpEncap": True},
    ),
    "calico": (
        {"backend": "vxlan", "vxlanMode": "CrossSubnet"},
        {"backend": "ipip", "ipipMode": "CrossSubnet"},
        *({"backend": backend, **_WIREGUARD} for backend in ("vxlan", "ipip", "bgp")),
    ),
    "kube-router": (
        {"enableOverlay": False},
        {"overlayType": "full"},
        {"overlayEncap": "fou"},
        {"overlayType": "full", "overlayEncap": "fou"},
    ),
    "weave": (
        {"backend": "fastdp", "encryption": True},
        {"backend": "sleeve", "encryption": True},
    ),
}
"""Beside the backends: options that change the way between nodes."""
_APART = ("cni",)
"""What the binaries of a conflist make is theirs to say."""


class Mode(NamedTuple):
    """``network`` is what a spec has under that name; ``needs`` are features of the kernel."""

    name: str
    network: Mapping[str, Any]
    needs: frozenset[str]


def modes() -> Iterator[Mode]:
    """All of them, plugin by plugin."""
    for plugin, row in PLUGINS.items():
        if plugin in _APART:
            continue
        for backend in row.backends:
            yield _mode({"plugin": plugin, **({"backend": backend} if backend else {})})
        for options in _OPTIONS.get(plugin, ()):
            yield _mode({"plugin": plugin, **options})


def _mode(network: dict[str, Any]) -> Mode:
    values = (
        name if value is True else f"without {name}" if value is False else str(value)
        for name, value in network.items()
    )
    return Mode(" ".join(values), network, _needs(network))


def _needs(network: Mapping[str, Any]) -> frozenset[str]:
    """What it needs between two racks, or on one where it asks for that."""
    for racks in (2, 1):
        try:
            spec = load_text(json.dumps(small(network, racks)), "mode.yaml")
        except SpecError:
            if racks == 1:
                raise
        else:
            return needs(entry.resource for entry in compile_spec(spec))
    raise AssertionError


def small(network: Mapping[str, Any], racks: int) -> dict[str, Any]:
    """The document of a cluster of two nodes with that network, on one rack or on two."""
    segments = {f"rack-{i}": {"cidr": f"192.168.{i}.0/24"} for i in range(1, racks + 1)}
    return {
        "apiVersion": "podwire/v1",
        "kind": "Cluster",
        "metadata": {"name": "mode"},
        "spec": {
            "network": dict(network),
            "underlay": {
                "segments": segments,
                "routers": {"core": {"segments": list(segments)}},
            },
            "nodes": {"count": 2, "spread": list(segments)},
            "pods": {"perNode": 0 if network["plugin"] == "host" else 1},
        },
    }
