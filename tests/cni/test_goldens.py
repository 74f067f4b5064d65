"""The plans of small clusters as text, read line by line against what the real plugins program.

``PYTHONPATH=tests python tests/cni/test_goldens.py`` writes them anew; the diff is for the review.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_plans import plan

from emulator import topo
from emulator.compile import compile_spec
from emulator.plan import Plan
from emulator.plan.script import script
from emulator.spec import load
from emulator.spec.resolved import Rate

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
GOLDENS = Path(__file__).parent / "goldens"

PLANS: dict[str, Callable[[], Plan]] = {
    "none": lambda: plan("none"),
    "host": lambda: plan("host", host_pods=("n1", "n2")),
    "flannel-vxlan": lambda: plan(),
    "flannel-vxlan-two-racks": lambda: plan(nodes=("rack-a", "rack-b")),
    "flannel-vxlan-direct-routing": lambda: plan(
        nodes=("rack-a", "rack-a", "rack-b"), directRouting=True
    ),
    "flannel-host-gw": lambda: plan(backend="host-gw"),
    "flannel-udp": lambda: plan(backend="udp", nodes=3),
    "flannel-alloc": lambda: plan(backend="alloc"),
    "canal": lambda: plan("canal"),
    "canal-host-gw": lambda: plan("canal", "host-gw"),
    "kubenet": lambda: plan("kubenet"),
    "kubenet-two-racks": lambda: plan("kubenet", nodes=("rack-a", "rack-b")),
    "kubenet-hairpin-veth": lambda: plan("kubenet", hairpinMode="hairpin-veth"),
    "kubenet-never-masquerades": lambda: plan(
        "kubenet", hairpinMode="none", nonMasqueradeCIDR="0.0.0.0/0"
    ),
    "kubenet-shaped": lambda: compile_spec(load(TOPOLOGIES / "kubenet-shaped.yaml")),
    "weave": lambda: plan("weave", "fastdp", nodes=3),
    "weave-sleeve": lambda: plan("weave", "sleeve"),
    "kube-router": lambda: plan("kube-router"),
    "kube-router-two-racks": lambda: plan(
        "kube-router", nodes=("rack-a", "rack-a", "rack-b"), enableOverlay=False
    ),
    "kube-router-reflector": lambda: plan(
        "kube-router", nodes=3, rrServers=1, bgpGracefulRestart=True, enablePodEgress=False
    ),
    "kube-router-dual-stack": lambda: plan("kube-router", families="46"),
    "calico-bgp": lambda: plan("calico", "bgp"),
    "calico-route-reflector": lambda: plan(
        "calico", "bgp", nodes=3, nodeToNodeMeshEnabled=False, routeReflectors=["n1"]
    ),
    "calico-tor": lambda: compile_spec(load(TOPOLOGIES / "calico-tor.yaml")),
    "calico-vxlan": lambda: plan("calico", "vxlan"),
    "calico-cross-subnet": lambda: plan(
        "calico", "vxlan", nodes=("rack-a", "rack-a", "rack-b"), vxlanMode="CrossSubnet"
    ),
    "flannel-vxlan-dual-stack": lambda: plan(nodes=("rack-a", "rack-b"), families="46"),
    "flannel-host-gw-ipv6": lambda: plan(backend="host-gw", families="6"),
    "calico-dual-stack": lambda: plan("calico", "vxlan", nodes=("rack-a", "rack-b"), families="46"),
    "calico-bgp-dual-stack": lambda: plan("calico", "bgp", families="46", natOutgoingIPv6=True),
    "calico-bgp-ipv6": lambda: plan("calico", "bgp", families="6"),
    "canal-dual-stack": lambda: plan("canal", families="46"),
    "flannel-vxlan-nftables": lambda: plan(enableNFTables=True),
    "flannel-vxlan-without-masquerade": lambda: plan(ipMasq=False),
    "flannel-host-gw-tbf": lambda: plan(backend="host-gw", rate=Rate(1_000_000_000, "tbf")),
    "flannel-host-gw-htb": lambda: plan(backend="host-gw", rate=Rate(1_000_000_000, "htb")),
    "flannel-vxlan-jumbo-off": lambda: plan(mtu=9000, offload="off"),
    "cni-bridge": lambda: compile_spec(load(TOPOLOGIES / "cni-bridge.yaml")),
    "leaf-spine": lambda: compile_spec(load(TOPOLOGIES / "leaf-spine.yaml")),
    "tree-topo": lambda: compile_spec(load(TOPOLOGIES / "tree-topo.yaml", topo=topo.read)),
    "leaf-spine-bgp": lambda: compile_spec(load(TOPOLOGIES / "leaf-spine-bgp.yaml")),
}

TEXTS: dict[str, Callable[[], str]] = {
    **{f"{name}.txt": (lambda made=made: made().text()) for name, made in PLANS.items()},  # type: ignore[misc]
    "flannel-vxlan.sh": lambda: script(plan()),
}


@pytest.mark.parametrize("name", TEXTS)
def test_plan_is_as_reviewed(name: str) -> None:
    assert TEXTS[name]() == (GOLDENS / name).read_text()


def test_no_golden_is_left_from_a_test_that_is_gone() -> None:
    assert {path.name for path in GOLDENS.iterdir()} == set(TEXTS)


if __name__ == "__main__":
    for name, text in TEXTS.items():
        (GOLDENS / name).write_text(text())
