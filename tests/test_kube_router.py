"""kube-router in running labs: what its daemons write, forget and find again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import ROOT
from waiting import until

from emulator import Cluster
from emulator.cluster import Cluster as Lab
from emulator.patience import patient
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec

kernel = pytest.mark.kernel
full_kernel = pytest.mark.full_kernel

QUICK = {
    "bgpHoldtime": round(patient(6, kernel=True)),
    "connectRetry": 5,
    "injectedRoutesSyncPeriod": 1,
}
CONVERGED_S = 40.0


def topology(name: str, **overrides: object) -> ResolvedSpec:
    changed = {f"spec.network.{key}": value for key, value in QUICK.items()}
    changed |= {f"spec.{key.replace('_', '.')}": value for key, value in overrides.items()}
    return load(ROOT / "topologies" / f"{name}.yaml", changed)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster(topology("kube-router"), "routed") as cluster:
        yield cluster


def good(cluster: Lab) -> None:
    report = cluster.verify(wait_s=CONVERGED_S)
    found = [*report.deviations, *report.differences, *report.processes]
    assert report.good, f"under {cluster.facts().faults}:\n" + "\n".join(found)


def output(cluster: Lab, node: str, *argv: str) -> str:
    done = cluster.place(node).run([*argv])
    assert not done.returncode, done
    return done.stdout.decode()


def routes(cluster: Lab, node: str) -> list[str]:
    found = output(cluster, node, "ip", "route", "show", "proto", "17").splitlines()
    return [" ".join(row.split()) for row in found]


def pid(cluster: Lab, node: str, name: str) -> int:
    states = {(s.ns, s.name): s.pid for s in cluster.facts().processes}
    return states[node, name]


@kernel
def test_one_session_tells_of_both_families(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster(topology("kube-router-dual-stack"), "routed-both") as cluster:
        six = ["ip", "-6", "route", "show", "proto", "17"]
        assert len(routes(cluster, "n1")) == len(output(cluster, "n1", *six).splitlines()) == 2
        good(cluster)
        # a watcher that starts anew hears of both again
        cluster.fail("daemon", "n1:watcher")
        cluster.heal()
        output(cluster, "n1", "ip", "-6", "route", "del", "fd00:10:244:2::/64")
        until(lambda: len(output(cluster, "n1", *six).splitlines()) == 2, "its routes of IPv6")
        cluster.fail("daemon", "n2:gobgpd")
        good(cluster)
        assert len(output(cluster, "n1", *six).splitlines()) == 1
        cluster.heal()
        good(cluster)


@kernel
def test_what_is_told_is_written_and_forgotten(lab: Lab) -> None:
    to_2, to_3 = (f"10.244.{n}.0/24 via 192.168.50.1{n} dev eth0" for n in (2, 3))
    assert routes(lab, "n1") == [to_2, to_3]
    good(lab)

    # what somebody removes comes back, and what nobody tells of goes
    output(lab, "n1", "ip", "route", "del", "10.244.2.0/24")
    until(lambda: routes(lab, "n1") == [to_2, to_3], "the route, written again")

    # a node that goes is forgotten, but not by who no longer listens
    lab.fail("daemon", "n1:watcher")
    lab.fail("daemon", "n3:gobgpd")
    good(lab)
    assert routes(lab, "n1") == [to_2, to_3]
    assert len(routes(lab, "n2")) == 1
    assert len(routes(lab, "n3")) == 2
    lab.heal()
    good(lab)

    # a new neighbour is news for the daemon, and no reason to start anew
    before = pid(lab, "n1", "gobgpd")
    lab.apply(topology("kube-router", nodes_count=4))
    good(lab)
    assert pid(lab, "n1", "gobgpd") == before
    assert len(routes(lab, "n1")) == 3


@kernel
def test_routers_as_peers_carry_what_nodes_leave_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster(topology("kube-router-peer-routers"), "peers") as cluster:
        good(cluster)
        assert len(routes(cluster, "n1")) == 1, "to its own rack"
        connected = output(cluster, "n1", "ip", "route", "show", "192.168.1.0/24")
        assert "proto kernel" in connected
        cluster.fail("daemon", "n1:gobgpd")
        good(cluster)
        assert "10.244.1.0" not in output(cluster, "leaf-b", "ip", "route")


@full_kernel
def test_tunnels_lead_to_other_racks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster(topology("kube-router-tunnels"), "tunnelled") as cluster:
        good(cluster)
        (tunnel,) = output(cluster, "n1", "ip", "-o", "link", "show", "up", "type", "ipip").split(
            "\n"
        )[:-1]
        dev = tunnel.split()[1].partition("@")[0]
        (row,) = [row for row in routes(cluster, "n1") if "tun-" in row]
        assert row == f"10.244.2.0/24 dev {dev} src 192.168.1.11"
        by_the_node, by_pods = (
            output(cluster, "n1", "ip", "route", "get", "192.168.2.11", *words)
            for words in ((), ("from", "10.244.1.2", "iif", "kube-bridge"))
        )
        assert "via 192.168.1.1" in by_the_node
        assert f"dev {dev} table 77" in by_pods
        for kind, target in (("daemon", "n2:gobgpd"), ("node", "n3")):
            cluster.fail(kind, target)
            good(cluster)
        assert not output(cluster, "n1", "ip", "route", "show", "table", "77")
        cluster.heal()
        good(cluster)
