"""WireGuard under flannel and Calico, in a kernel that has it: what pods say cannot be read.

Two labs, each taken through its modes by apply.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from clear_text import overheard
from small_specs import small_spec

from emulator import Cluster
from emulator.plan.resources import WireguardPeer
from emulator.spec.resolved import ResolvedSpec

pytestmark = pytest.mark.full_kernel

WAIT_S = 60
TWO_RACKS = ("rack-a", "rack-b")


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))


def good(cluster: Cluster) -> None:
    report = cluster.verify(wait_s=WAIT_S)
    found = [*report.deviations, *report.differences, *report.processes]
    assert not found, "\n".join(found)


def flannel(backend: str, **more: Any) -> ResolvedSpec:
    return small_spec("flannel", backend, nodes=TWO_RACKS, pods_per_node=1, families="46", **more)


def calico(backend: str, pods: int = 1, **more: Any) -> ResolvedSpec:
    return small_spec("calico", backend, nodes=TWO_RACKS, pods_per_node=pods, **more)


def test_flannel() -> None:
    with Cluster(flannel("wireguard", psk=True), "wg-flannel") as lab:
        good(lab)
        heard = overheard(lab, "n1-p1", "n2-p1")
        # beside it, routers and nodes ask for each other, and pods join groups of IPv6
        assert (heard.said, heard.clear) == (1000, 0)
        assert heard.kinds.keys() <= {"udp 51820", "udp 51821", "icmp6"}
        assert heard.kinds["udp 51820"] >= 2000
        _, six = lab.pod("n2-p1").ips
        heard = overheard(lab, "n1-p1", "n2-p1", six, count=100)
        assert heard.clear == 0
        assert heard.kinds.keys() <= {"udp 51820", "udp 51821", "icmp6"}
        _what_no_node_is_allowed_to_get(lab)
        _keys_stay_where_they_are(lab)
        keys = lab.node("n1").read_file("/run/flannel/wgkey")
        lab.apply(flannel("wireguard", mode="auto"))
        good(lab)
        lab.apply(flannel("vxlan"))
        good(lab)
        heard = overheard(lab, "n1-p1", "n2-p1")
        assert (heard.clear, heard.kinds.keys() - {"icmp6"}) == (1000, {"udp 8472"}), "the control"
        lab.apply(flannel("wireguard"))
        good(lab)
        assert lab.node("n1").read_file("/run/flannel/wgkey") == keys, "drawn once for the lab"
        lab.fail("interface", "n2:flannel-wg")
        good(lab)


def _what_no_node_is_allowed_to_get(lab: Cluster) -> None:
    """One route leads to all of the pods' network, and no peer has an address of no node."""
    said = lab.pod("n1-p1").run(["ping", "-c1", "-W5", "10.244.99.9"]).stdout.decode()
    assert "Destination Host Unreachable" in said
    heard = lab.node("n1").run(["ping", "-c1", "-W5", "10.244.99.9"]).stderr.decode()
    assert "Required key not available" in heard


def _keys_stay_where_they_are(lab: Cluster) -> None:
    shown = lab.node("n1").run(["wg", "show", "all", "dump"]).stdout.decode()
    # two devices of a node share a key; each has one peer, and there is one shared key
    secret = set(re.findall(r"[A-Za-z0-9+/]{43}=", shown))
    assert len(secret) == 4
    private = lab.node("n1").read_file("/run/flannel/wgkey").decode()
    assert private in secret
    for text in (lab.observed(), lab.plan.text(), str(lab.facts())):
        assert not [key for key in secret if key in text]


def test_calico() -> None:
    small = {"blockSize": 30, "maxBlocksPerHost": 20}
    with Cluster(calico("bgp", wireguardEnabled=True, **small), "wg-calico") as lab:
        good(lab)
        heard = overheard(lab, "n1-p1", "n2-p1")
        assert (heard.clear, heard.kinds["udp 51820"] >= 2000) == (0, True)
        before = allowed(lab)
        # more pods than a block has room for
        lab.apply(calico("bgp", pods=5, wireguardEnabled=True, **small))
        good(lab)
        assert before < allowed(lab), "a new block is its node's, for all peers of it"
        lab.fail("interface", "n1:wireguard.cali")
        good(lab)
        lab.heal()
        lab.apply(calico("vxlan", wireguardEnabled=True, vxlanMode="CrossSubnet", **small))
        good(lab)
        assert overheard(lab, "n1-p1", "n2-p1", count=100).clear == 0
        lab.apply(calico("vxlan", **small))
        good(lab)
        assert overheard(lab, "n1-p1", "n2-p1", count=100).clear == 100, "the control"


def test_calico_with_both_families() -> None:
    both = {"wireguardEnabled": True, "wireguardEnabledV6": True}
    with Cluster(calico("vxlan", families="46", **both), "wg-calico-both") as lab:
        good(lab)
        lab.fail("interface", "n2:wg-v6.cali")
        good(lab)


def allowed(lab: Cluster) -> set[str]:
    """Every prefix that a peer of n1 is allowed."""
    peers = [r for e in lab.plan if type(r := e.resource) is WireguardPeer and r.ns == "n1"]
    said = lab.node("n1").run(["wg", "show", "all", "allowed-ips"]).stdout.decode()
    found = {word for row in said.splitlines() for word in row.split()[2:]}
    assert found == {prefix for peer in peers for prefix in peer.allowed_ips}
    return found
