"""Romana in running labs: who answers whose ARP, and what routers know of pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import ROOT

from emulator import Cluster
from emulator.cluster import Cluster as Lab
from emulator.spec import load

pytestmark = pytest.mark.full_kernel

CONVERGED_S = 60.0


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    yield


def good(cluster: Lab) -> None:
    report = cluster.verify(wait_s=CONVERGED_S)
    found = [*report.deviations, *report.differences, *report.processes]
    assert report.good, f"under {cluster.facts().faults}:\n" + "\n".join(found)


def output(cluster: Lab, node: str, *argv: str) -> list[str]:
    done = cluster.place(node).run([*argv])
    assert not done.returncode, done
    return [" ".join(row.split()) for row in done.stdout.decode().splitlines()]


def neighbours(cluster: Lab, place: str) -> dict[str, str]:
    """The MAC address that somebody has answered with, by address."""
    rows = (row.split() for row in output(cluster, place, "ip", "-4", "neigh"))
    return {row[0]: row[row.index("lladdr") + 1] for row in rows if "lladdr" in row}


def mac(cluster: Lab, place: str, dev: str) -> str:
    (row,) = output(cluster, place, "ip", "-o", "link", "show", dev)
    return row.partition("link/ether ")[2].split()[0]


@pytest.mark.usefixtures("run")
def test_nodes_answer_for_pods_on_the_fabric_as_they_answer_pods() -> None:
    with Cluster(load(ROOT / "topologies/romana.yaml"), "flat") as cluster:
        good(cluster)
        at = cluster.addressing
        heard = neighbours(cluster, "core")
        for node, pod in (("n1", "n1-p1"), ("n3", "n3-p2"), ("n2", "n2-p1")):
            assert heard[at.pod[pod]] == mac(cluster, node, "eth0"), pod
        for address in [at.pod[pod] for pod in ("n1-p2", "n3-p1", "n2-p1")] + [at.node["n2"]]:
            output(cluster, "n1-p1", "ping", "-c", "1", address)
            assert address in neighbours(cluster, "n1-p1"), "for every destination"
        assert len(set(neighbours(cluster, "n1-p1").values())) == 1
        assert output(cluster, "n1", "ip", "rule")[1] == "32765: from all lookup 10"
        assert output(cluster, "core", "ip", "route", "show", "10.244.0.0/16") == []
        for kind, target in (("interface", "n3:romana-lo"), ("node", "n2"), ("link", "n3")):
            cluster.fail(kind, target)
            good(cluster)
        cluster.heal()
        good(cluster)


@pytest.mark.usefixtures("run")
def test_routers_beside_are_told_of_blocks_and_others_of_groups() -> None:
    with Cluster(load(ROOT / "topologies/romana-published.yaml"), "told") as cluster:
        good(cluster)
        pods = [row for row in output(cluster, "spine", "ip", "route") if row.startswith("10.244.")]
        assert [row.split()[0] for row in pods] == [
            "10.244.0.0/18", "10.244.64.0/18", "10.244.128.0/17",
        ]  # fmt: skip
        for target in ("n1:bird", "leaf-b:bird"):
            cluster.fail("daemon", target)
            good(cluster)
        cluster.heal()
        good(cluster)
