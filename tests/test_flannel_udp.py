"""flannel's udp in a running lab: its process is told of nodes, dies, and comes again."""

from __future__ import annotations

from pathlib import Path

import pytest
from callers import ROOT
from waiting import until

from emulator import Cluster
from emulator.spec import load
from emulator.substrate import compiler
from emulator.verify import Report

pytestmark = pytest.mark.kernel

SPEC = ROOT / "topologies" / "flannel-udp.yaml"


def processes(cluster: Cluster) -> dict[str, tuple[int, int]]:
    """By node: process id as the lab numbers it, and how often it was started again."""
    return {state.ns: (state.pid, state.restarts) for state in cluster.facts().processes}


def good(cluster: Cluster) -> None:
    report = cluster.verify()
    assert settled(report), "\n".join([*report.deviations, *report.differences])


def settled(report: Report) -> Report | None:
    return None if report.deviations or report.differences else report


def test_its_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a cache that no process of the lab can see: each place has a /tmp of its own
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster(load(SPEC), "udp") as cluster:
        assert compiler.program("udp-proxy").is_relative_to(tmp_path)
        first = processes(cluster)
        cluster.apply(load(SPEC, {"spec.nodes.count": 3}))
        good(cluster)
        assert first.items() < processes(cluster).items(), "told, and not started again"
        assert b"2 peers" in cluster.node("n1").read_file("/var/log/flanneld.log")

        pid, _ = first["n1"]
        cluster.node("n1").run(["kill", "-9", str(pid)])
        until(lambda: processes(cluster)["n1"][1] == 1 and processes(cluster)["n1"][0], "another")
        report = until(lambda: settled(cluster.verify()), "packets that pass again")
        assert "killed by signal 9" in report.notes[0], "and that it died is told"
        assert "persist on" in cluster.node("n1").run(["ip", "-d", "link"]).stdout.decode()

        # another address of its own is more than a table: it begins anew, under the same id
        moved = {"spec.nodes.count": 3, "spec.underlay.segments.rack.cidr": "192.168.70.0/24"}
        before = processes(cluster)
        cluster.apply(load(SPEC, moved))
        good(cluster)
        assert processes(cluster) == before

        cluster.apply(load(SPEC, {"spec.network.backend": "vxlan"}))
        good(cluster)
        assert processes(cluster) == {}
