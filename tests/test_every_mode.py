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
from emulator.compile import compile_spec
from emulator.errors import SpecError
from emulator.modes import modes
from emulator.needs import USUAL, needs
from emulator.spec import load_text

AT_ONCE = 4
WAIT_S = 30.0
BESIDE: dict[str, tuple[dict[str, Any], ...]] = {
    "flannel": ({"enableNFTables": True},),
    "calico": (
        {"backend": "bgp", "nodeToNodeMeshEnabled": False, "routeReflectors": ["n1"]},
        {"backend": "bgp", "nodeToNodeMeshEnabled": False, "peerWithRouters": True},
    ),
    "kube-router": ({"enableOverlay": False, "peerRouters": True},),
    "kubenet": tuple(
        {"hairpinMode": mode} for mode in ("promiscuous-bridge", "hairpin-veth", "none")
    ),
    "cni": tuple(
        {"conflist": str(path)}
        for path in sorted((ROOT / "topologies/conflists").glob("*.conflist"))
    ),
}
"""What is to be chosen beside the modes that ``podwire doctor`` lists."""
QUICK: dict[str, dict[str, Any]] = {"kube-router": {"connectRetry": 5}}
"""Two who call each other at once try again then."""
PODS = {"4": "10.244.0.0/16", "6": "fd00:10:244::/56"}


def networks() -> Iterator[dict[str, Any]]:
    yield from (dict(mode.network) for mode in modes())
    for plugin, options in BESIDE.items():
        yield from ({"plugin": plugin, **one} for one in options)


def beyond(network: dict[str, Any], racks: int, families: str) -> frozenset[str]:
    """What it needs that not every kernel has."""
    try:
        spec = load_text(text(network, racks, families), str(ROOT / "topologies/mode.yaml"))
    except SpecError:
        return frozenset()
    return needs(entry.resource for entry in compile_spec(spec)) - USUAL


def with_ipv6(network: dict[str, Any], families: str = "46") -> bool:
    row = PLUGINS[network["plugin"]]
    backend = network.get("backend", row.backends[0])
    return backend in row.ipv6 and not (families == "6" and backend in row.with_ipv4)


def text(network: dict[str, Any], racks: int, families: str) -> str:
    """``families`` as in small specs: 4, 6, 46 or 64."""
    nets = {"4": "192.168.{}.0/24", "6": "fd00:192:168:{}::/64"}
    network = {**QUICK.get(network["plugin"], {}), **network}
    if network.get("mode") == "auto" and "4" not in families:
        network |= {"mode": "ipv6"}
    if network.get("wireguardEnabled"):
        network |= {"wireguardEnabled": "4" in families, "wireguardEnabledV6": "6" in families}
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
        report = cluster.verify(wait_s=WAIT_S)
    found = [*report.deviations, *report.differences, *report.processes]
    return "\n".join([f"{network} on {racks} with {families}:", *found]) if found else ""


@pytest.mark.kernel
@pytest.mark.parametrize("racks", [1, 2])
def test_every_mode_is_as_planned_and_predicted(
    racks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    wanted = [one for one in networks() if not beyond(one, racks, "4")]
    check(wanted, racks, "4")
    assert len(wanted) > 20


@pytest.mark.kernel
@pytest.mark.parametrize(("racks", "families"), [(1, "64"), (1, "6"), (2, "46")])
def test_every_mode_that_has_ipv6(
    racks: int, families: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    wanted = [
        one for one in networks() if with_ipv6(one, families) and not beyond(one, racks, families)
    ]
    check(wanted, racks, families)
    assert len(wanted) > 10


@pytest.mark.full_kernel
def test_every_mode_of_a_full_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes in one rack and one in another, with both families where a mode has them."""
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    wanted = [one for one in networks() if beyond(one, 2, "4")]
    both = [one for one in wanted if with_ipv6(one)]
    check(both, 2, "46")
    check([one for one in wanted if one not in both], 2, "4")
    assert len(wanted) > 20


def check(wanted: list[dict[str, Any]], racks: int, families: str) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        labs = [
            pool.submit(verified, one, racks, families, f"mode-{i}") for i, one in enumerate(wanted)
        ]
        wrong = [words for lab in labs if (words := lab.result())]
    assert not wrong, "\n\n".join(wrong)
