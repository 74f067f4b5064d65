"""What kubenet's shaper holds back, and what it does not, on a running lab."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import ROOT

from emulator import Cluster
from emulator.measure import iperf
from emulator.spec import load, load_text

pytestmark = pytest.mark.kernel

SHAPED = (ROOT / "topologies/kubenet-shaped.yaml").read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PODWIRE_RUN", str(tmp_path_factory.mktemp("run")))
        with Cluster(load_text(SHAPED)) as lab:
            yield lab


def rate_bit_s(cluster: Cluster, server: str, client: str) -> float:
    measured = iperf.tcp(cluster.pod(server), cluster.pod(client), seconds=1, omit_s=0.5)
    (rate,) = [s.value for s in measured.samples if s.metric == "throughput_bit_s"]
    assert not math.isnan(rate), measured
    return rate


def test_what_comes_from_another_node_keeps_to_its_ingress_bandwidth(cluster: Cluster) -> None:
    assert 10e6 < rate_bit_s(cluster, "slow", "far") < 25e6


def test_nothing_holds_back_what_a_pod_sends(cluster: Cluster) -> None:
    """Though its egress-bandwidth is 10M: it leaves the bridge by no queue of the bridge's own."""
    assert rate_bit_s(cluster, "far", "slow") > 50e6


def test_pods_of_one_node_are_bridged_past_the_shaper(cluster: Cluster) -> None:
    assert rate_bit_s(cluster, "slow", "free") > 50e6


def test_annotations_change_on_a_running_lab(cluster: Cluster) -> None:
    changed = SHAPED.replace("ingress-bandwidth: 20M", "ingress-bandwidth: 30M")
    assert cluster.apply(load_text(changed)) == [
        "~ n1 class cbr0 1:1 htb rate 30000000bit burst 1600b\n"
        "  was: n1 class cbr0 1:1 htb rate 20000000bit burst 1600b"
    ]
    without = changed.replace("    kubernetes.io/egress-bandwidth: 10M\n", "")
    done = cluster.apply(load_text(without))
    assert "- n1 class cbr0 1:3 htb rate 5000000bit burst 1600b" in done
    assert cluster.verify().good
    cluster.apply(load_text(SHAPED))
    assert cluster.verify().good


def test_a_fabric_that_speaks_bgp_turns_away_with_the_pods_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    path = ROOT / "topologies/leaf-spine-bgp.yaml"
    with Cluster(load(path, {"spec.network": {"plugin": "kubenet"}})) as lab:
        assert lab.verify().good
        lab.fail("link", "spine1:eth0")
        report = lab.verify()
        assert report.good and all(s.holds for s in report.statements if s.number == "M3")
