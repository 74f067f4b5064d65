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
from emulator.spec.medium import Rate

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
    "flannel-ipsec": lambda: plan(backend="ipsec", nodes=3),
    "flannel-ipsec-in-udp": lambda: plan(
        backend="ipsec", nodes=("rack-a", "rack-b"), udpEncap=True
    ),
    "flannel-wireguard": lambda: plan(backend="wireguard", nodes=3, psk=True),
    "flannel-wireguard-dual-stack": lambda: plan(
        backend="wireguard", nodes=("rack-a", "rack-b"), families="46"
    ),
    "flannel-wireguard-auto": lambda: plan(
        backend="wireguard", families="46", mode="auto", persistentKeepaliveInterval=25
    ),
    "canal-wireguard": lambda: plan("canal", "wireguard"),
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
    "weave-encrypted": lambda: plan("weave", "fastdp", nodes=3, encryption=True),
    "weave-sleeve": lambda: plan("weave", "sleeve"),
    "weave-sleeve-encrypted": lambda: plan("weave", "sleeve", encryption=True),
    "kube-router": lambda: plan("kube-router"),
    "kube-router-two-racks": lambda: plan(
        "kube-router", nodes=("rack-a", "rack-a", "rack-b"), enableOverlay=False
    ),
    "kube-router-reflector": lambda: plan(
        "kube-router", nodes=3, rrServers=1, bgpGracefulRestart=True, enablePodEgress=False
    ),
    "kube-router-dual-stack": lambda: plan("kube-router", families="46"),
    "kube-router-tunnels": lambda: plan("kube-router", nodes=("rack-a", "rack-a", "rack-b")),
    "kube-router-full-overlay": lambda: plan(
        "kube-router", nodes=("rack-a", "rack-b"), families="46", overlayType="full"
    ),
    "kube-router-gue": lambda: plan(
        "kube-router", nodes=("rack-a", "rack-b"), families="46", overlayEncap="fou"
    ),
    "romana": lambda: plan("romana"),
    "romana-two-racks": lambda: plan("romana", nodes=("rack-a", "rack-a", "rack-b"), pods=2),
    "romana-published": lambda: compile_spec(load(TOPOLOGIES / "romana-published.yaml")),
    "romana-plain": lambda: plan("romana", nat=False, policies=False, blockMask=30),
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
    "calico-bgp-wireguard": lambda: plan("calico", "bgp", wireguardEnabled=True),
    "calico-vxlan-wireguard-dual-stack": lambda: plan(
        "calico",
        "vxlan",
        nodes=("rack-a", "rack-b"),
        families="46",
        wireguardEnabled=True,
        wireguardEnabledV6=True,
    ),
    "calico-dual-stack": lambda: plan("calico", "vxlan", nodes=("rack-a", "rack-b"), families="46"),
    "calico-bgp-dual-stack": lambda: plan("calico", "bgp", families="46", natOutgoingIPv6=True),
    "calico-bgp-ipv6": lambda: plan("calico", "bgp", families="6"),
    "canal-dual-stack": lambda: plan("canal", families="46"),
    "flannel-vxlan-nftables": lambda: plan(enableNFTables=True),
    "flannel-vxlan-without-masquerade": lambda: plan(ipMasq=False),
    "flannel-host-gw-tbf": lambda: plan(backend="host-gw", rate=Rate(1_000_000_000, "tbf")),
    "wan": lambda: compile_spec(load(TOPOLOGIES / "wan.yaml")),
    "flannel-host-gw-htb": lambda: plan(backend="host-gw", rate=Rate(1_000_000_000, "htb")),
    "flannel-vxlan-jumbo-off": lambda: plan(mtu=9000, offload="off"),
    "flannel-ipip": lambda: plan(backend="ipip", nodes=3),
    "flannel-ipip-direct-routing": lambda: plan(
        backend="ipip", nodes=("rack-a", "rack-a", "rack-b"), directRouting=True
    ),
    "canal-ipip": lambda: plan("canal", "ipip"),
    "calico-ipip": lambda: plan("calico", "ipip", nodes=3),
    "calico-ipip-cross-subnet": lambda: plan(
        "calico", "ipip", nodes=("rack-a", "rack-a", "rack-b"), ipipMode="CrossSubnet"
    ),
    "calico-ipip-dual-stack": lambda: plan(
        "calico", "ipip", nodes=("rack-a", "rack-a", "rack-b"), families="46"
    ),
    "overlay-vxlan": lambda: plan("overlay"),
    "overlay-geneve": lambda: plan("overlay", "geneve", nodes=3, families="46"),
    "overlay-ipip": lambda: plan("overlay", "ipip"),
    "cni-bridge": lambda: compile_spec(load(TOPOLOGIES / "cni-bridge.yaml")),
    "leaf-spine": lambda: compile_spec(load(TOPOLOGIES / "leaf-spine.yaml")),
    "tree-topo": lambda: compile_spec(load(TOPOLOGIES / "tree-topo.yaml", topo=topo.read)),
    "leaf-spine-bgp": lambda: compile_spec(load(TOPOLOGIES / "leaf-spine-bgp.yaml")),
}

TEXTS: dict[str, Callable[[], str]] = {
    **{f"{name}.txt": (lambda made=made: made().text()) for name, made in PLANS.items()},  # type: ignore[misc]
    "flannel-vxlan.sh": lambda: script(plan()),
    "flannel-wireguard.sh": lambda: script(plan(backend="wireguard", psk=True)),
    "calico-ipip.sh": lambda: script(plan("calico", "ipip")),
    "overlay-geneve.sh": lambda: script(plan("overlay", "geneve")),
}


@pytest.mark.parametrize("name", TEXTS)
def test_plan_is_as_reviewed(name: str) -> None:
    assert TEXTS[name]() == (GOLDENS / name).read_text()


def test_no_golden_is_left_from_a_test_that_is_gone() -> None:
    assert {path.name for path in GOLDENS.iterdir()} == set(TEXTS)


if __name__ == "__main__":
    for name, text in TEXTS.items():
        (GOLDENS / name).write_text(text())
