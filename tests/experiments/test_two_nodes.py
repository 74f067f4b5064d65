"""The table of modes that experiments compare, held against all that a spec can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.modes import modes
from experiments.two_nodes.modes import MODES

SAME = {
    "flannel wireguard auto": "wireguard",
    "flannel wireguard psk": "wireguard",
    "kube-router without enableOverlay": "kube-router",
    "kube-router full": "kube-router-ipip",
    "kube-router fou": "kube-router-gue",
    "calico vxlan": "calico-vxlan",
    "calico ipip": "calico-ipip",
    "calico vxlan wireguardEnabled": "calico-wireguard",
    "calico ipip wireguardEnabled": "calico-wireguard",
    "calico bgp wireguardEnabled": "calico-wireguard",
}
"""Another arm has the same way between nodes: a default by its name, a tunnel around which nothing
changes, or which only some places have."""
NO_WAY = {"none", "flannel alloc", "canal alloc"}
"""Nothing leads from node to node."""


def test_every_mode_is_an_arm_or_as_one() -> None:
    arms: list[Mapping[str, Any]] = [mode.network for mode in MODES.values()]
    named = {mode.name: mode.network for mode in modes()}
    others = {name for name, network in named.items() if network not in arms}
    assert others == SAME.keys() | NO_WAY
    for name, arm in SAME.items():
        assert MODES[arm].network["plugin"] == named[name]["plugin"]
