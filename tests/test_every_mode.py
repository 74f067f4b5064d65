"""Every mode of every plugin, on one rack and on two, with IPv4, IPv6 and both: the kernel holds
the plan, probes agree.

Labs come up side by side, a few at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from callers import ROOT

from emulator import Cluster
from emulator.cni.options import PLUGINS
from emulator.errors import SpecError
from emulator.spec import load_text

pytestmark = pytest.mark.kernel

AT_ONCE = 4
CHOICES: dict[str, tuple[dict[str, Any], ...]] = {
    "flannel": ({}, {"backend": "vxlan", "directRouting": True}, {"enableNFTables": True}),
    "calico": (
        {},
        {"backend": "vxlan", "vxlanMode": "CrossSubnet"},
        {"backend": "bgp", "nodeToNodeMeshEnabled": False, "routeReflectors": ["n1"]},
        {"backend": "bgp", "nodeToNodeMeshEnabled": False, "peerWithRouters": True},
    ),
    "kube-router": ({"enableOverlay": False}, {"enableOverlay": False, "peerRouters": True}),
    "kubenet": tuple(
        {"hairpinMode": mode} for mode in ("promiscuous-bridge", "hairpin-veth", "none")
    ),
    "cni": tuple(
        {"conflist": str(path)}
        for path in sorted((ROOT / "topologies/conflists").glob("*.conflist"))
    ),
}
"""What is to be chosen beside the backend; ``{}`` stands for each backend by itself."""


PODS = {"4": "10.244.0.0/16", "6": "fd00:10:244::/56"}


def networks() -> Iterator[dict[str, Any]]:
    for plugin, row in PLUGINS.items():
        for options in CHOICES.get(plugin, ({},)):
            for backend in row.backends if not options and row.backends != ("",) else ("",):
                chosen = {"backend": backend} if backend else {}
                yield {"plugin": plugin, **chosen, **options}


def with_ipv6(network: dict[str, Any]) -> bool:
    row = PLUGINS[network["plugin"]]
    return network.get("backend", row.backends[0]) in row.ipv6


def text(network: dict[str, Any], racks: int, families: str) -> str:
    """``families`` as in small specs: 4, 6, 46 or 64."""
    nets = {"4": "192.168.{}.0/24", "6": "fd00:192:168:{}::/64"}
    segments = {
        f"rack-{i}": {"cidr": [nets[f].format(i) for f in families]} for i in range(1, racks + 1)
    }
    peering = network.get("peerWithRouters") or network.get("peerRouters")
    spec = {
        **({"podCIDR": [PODS[f] for f in families]} if families != "4" else {}),
        "network": network,
        "underlay": {
            "segments": segments,
            "routers": {"core": {"segments": list(segments)}},
            "hosts": {"outside": {"segment": "rack-1"}},
            **({"routing": "bgp"} if peering else {}),
        },
        "nodes": {"count": 3, "spread": list(segments)},
        "pods": {"perNode": 0 if network["plugin"] == "host" else 2},
    }
    head = {"apiVersion": "podwire/v1", "kind": "Cluster", "metadata": {"name": "mode"}}
    return json.dumps({**head, "spec": spec})


def verified(network: dict[str, Any], racks: int, families: str, name: str) -> str:
    """Empty where all is well."""
    try:
        spec = load_text(text(network, racks, families), str(ROOT / "topologies/mode.yaml"))
    except SpecError as error:
        row = PLUGINS[network["plugin"]]
        refused = racks == 2 and network.get("backend", row.backends[0]) in row.one_segment
        return "" if refused else f"{network}: {error}"
    with Cluster(spec, name) as cluster:
        report = cluster.verify()
    found = [*report.deviations, *report.differences, *report.processes]
    return "\n".join([f"{network} on {racks} with {families}:", *found]) if found else ""


@pytest.mark.parametrize("racks", [1, 2])
def test_every_mode_is_as_planned_and_predicted(
    racks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    modes = list(networks())
    check(modes, racks, "4")
    assert len(modes) > 20


@pytest.mark.parametrize(("racks", "families"), [(1, "64"), (1, "6"), (2, "46")])
def test_every_mode_that_has_ipv6(
    racks: int, families: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    modes = [one for one in networks() if with_ipv6(one)]
    check(modes, racks, families)
    assert len(modes) > 10


def check(modes: list[dict[str, Any]], racks: int, families: str) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        labs = [
            pool.submit(verified, one, racks, families, f"mode-{i}") for i, one in enumerate(modes)
        ]
        wrong = [words for lab in labs if (words := lab.result())]
    assert not wrong, "\n\n".join(wrong)
