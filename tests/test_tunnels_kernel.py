"""IP in IP and Geneve for real: the kernel holds the plan, packets and their sizes are as told.

One lab for each kind, since a kernel that has them may be an emulated one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_specs import small_spec

from emulator import Cluster
from emulator.spec.resolved import ResolvedSpec

pytestmark = pytest.mark.full_kernel

WAIT_S = 60
RACKS = ("rack-a", "rack-a", "rack-b")


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))


def cluster(plugin: str, backend: str, **more: Any) -> ResolvedSpec:
    """Three nodes, the third one behind a router, with a pod on each."""
    return small_spec(plugin, backend, nodes=RACKS, pods_per_node=1, **more)


def whole(lab: Cluster) -> bool:
    """Whether every pod reaches every pod, all being as planned and predicted."""
    report = lab.verify(wait_s=WAIT_S)
    found = [*report.deviations, *report.differences]
    assert not found, f"under {lab.facts().faults}:\n" + "\n".join(found)
    return next(s.holds for s in report.statements if s.number == "M3")


def tunl0(lab: Cluster, node: str) -> dict[str, Any]:
    (link,) = json.loads(lab.node(node).run(["ip", "-j", "addr", "show", "tunl0"]).stdout)
    return dict(link)


def test_the_kernels_own_tunnel_is_taken_and_given_back() -> None:
    with Cluster(cluster("calico", "ipip"), "tunnels") as lab:
        assert whole(lab)
        assert tunl0(lab, "n1")["addr_info"]
        lab.fail("interface", "n1:tunl0")
        assert not whole(lab)
        lab.heal()
        lab.fail("node", "n2")
        assert not whole(lab)
        lab.heal()
        lab.apply(cluster("calico", "ipip", ipipMode="CrossSubnet", families="46"))
        assert whole(lab), "in IPv4; in IPv6 as far as there is no router in between"
        lab.apply(cluster("flannel", "ipip"))
        assert whole(lab)
        left = tunl0(lab, "n1")
        assert (left["operstate"], left["addr_info"]) == ("DOWN", [])
        lab.fail("interface", "n2:flannel.ipip")
        assert not whole(lab)
        lab.heal()
        lab.apply(cluster("canal", "ipip", directRouting=True))
        assert whole(lab)
        lab.apply(cluster("calico", "ipip"))
        assert whole(lab)


def test_geneve_of_both_families_and_what_is_cut_with_one_of_its_tunnels() -> None:
    with Cluster(cluster("overlay", "geneve", families="46"), "geneve") as lab:
        assert whole(lab)
        lab.fail("interface", "n1:gnv-n2")
        assert not whole(lab)
        lab.heal()
        lab.apply(cluster("overlay", "ipip"))
        assert whole(lab)
        lab.apply(cluster("overlay", "vxlan", families="46"))
        assert whole(lab)
