"""Labs with IPv6, beside IPv4 and alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import ROOT

from emulator import Cluster
from emulator.measure import connect, iperf, sockperf
from emulator.spec import load, load_text

pytestmark = pytest.mark.kernel


def topology(name: str) -> Path:
    return ROOT / "topologies" / f"{name}.yaml"


@pytest.fixture(scope="module")
def dual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One lab for the tests that leave it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODWIRE_RUN", str(tmp_path_factory.mktemp("run")))
        with Cluster.from_file(topology("flannel-dual-stack")) as cluster:
            yield cluster


def test_every_place_has_an_address_of_each_family(dual: Cluster) -> None:
    pod = dual.pod("n1-p1")
    assert (pod.ip, pod.ips) == ("10.244.1.2", ("10.244.1.2", "fd00:10:244:1::2"))
    assert dual.node("n2").ips == ("192.168.2.11", "fd00:192:168:2::b")
    assert dual.host("client").ips == ("192.168.1.254", "fd00:192:168:1::fffe")
    assert dual.place("core").ips == ("192.168.1.1", "fd00:192:168:1::1")
    assert dual.place("rack-a").ips == ()
    for address in dual.pod("n2-p1").ips:
        assert pod.ping(address, count=2, interval_s=0.05).received == 2


def test_the_model_holds_in_both_families(dual: Cluster) -> None:
    report = dual.verify()
    assert report.good, [*report.deviations, *report.differences]
    held = [(s.number, s.text[-6:]) for s in report.statements if s.holds and s.number != "M2"]
    numbers = ("M1", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10")
    assert sorted(held) == sorted((n, f"({f})") for n in numbers for f in ("IPv4", "IPv6"))


def test_pods_are_told_that_ipv6_has_20_bytes_less_between_nodes(dual: Cluster) -> None:
    """flannel gives them what VXLAN over IPv4 leaves, whatever the family."""
    pod, (four, six) = dual.pod("n1-p1"), dual.pod("n2-p1").ips

    def passes(address: str, size_b: int) -> bool:
        header_b = 28 if address == four else 48
        argv = ["ping", "-c1", "-W1", "-M", "do", "-s", str(size_b - header_b), address]
        return pod.run(argv).returncode == 0

    assert passes(four, 1450) and not passes(four, 1451)
    assert passes(six, 1430) and not passes(six, 1431)
    words = pod.run(["ip", "-6", "route", "get", six]).stdout.decode()
    assert "mtu 1430" in words, "learnt from the node, which is where the path narrows"


def test_nobody_waits_for_the_detection_of_duplicates(dual: Cluster) -> None:
    for name in ("n1", "n1-p1", "core", "client"):
        words = dual.place(name).run(["ip", "-6", "addr", "show", "tentative"]).stdout
        assert words == b""


def test_instruments_measure_over_ipv6_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster(load(topology("flannel-ipv6"))) as cluster:
        assert cluster.verify().good
        server, client = cluster.pod("n2-p1"), cluster.pod("n1-p1")
        assert server.ip == "fd00:10:244:2::2"
        assert client.ping("n2-p1", count=2, interval_s=0.05).received == 2
        rtt = sockperf.ping_pong(server, client, protocol="udp", seconds=1).samples[0]
        assert rtt.value or "this sockperf takes no address of IPv6" in rtt.failure
        tcp = iperf.tcp(server, client, seconds=1, omit_s=0)
        told = connect.latency(server, client, seconds=1, count=20)
        assert [s.failure for s in (*tcp.samples, told.samples[0]) if s.failure] == []
        assert tcp.samples[0].detail["mss"] == 1500 - 40 - 20 - 12, "IPv6, TCP, time stamps"
        assert cluster.apply(load(topology("flannel-dual-stack")))
        assert cluster.verify().good


FABRIC = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: fabric}
spec:
  podCIDR: [10.244.0.0/16, fd00:10:244::/56]
  network: {plugin: flannel, backend: vxlan}
  underlay:
    segments:
      rack-a: {cidr: [192.168.1.0/24, fd00:192:168:1::/64]}
      rack-b: {cidr: [192.168.2.0/24, fd00:192:168:2::/64]}
      link-1: {cidr: [172.16.0.0/31, fd00:172:16::/127]}
      link-2: {cidr: [172.16.0.2/31, fd00:172:16::2/127]}
      link-3: {cidr: [172.16.0.4/31, fd00:172:16::4/127]}
      link-4: {cidr: [172.16.0.6/31, fd00:172:16::6/127]}
    routers:
      leaf-a: {segments: [rack-a, link-1, link-2]}
      leaf-b: {segments: [rack-b, link-3, link-4]}
      spine-1: {segments: [link-1, link-3]}
      spine-2: {segments: [link-2, link-4]}
  nodes: {count: 4, spread: [rack-a, rack-b]}
  pods: {perNode: 1}
"""


def test_equal_paths_share_the_flows_of_both_families(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster(load_text(FABRIC)) as cluster:
        assert cluster.verify().good
        route = ["ip", "-6", "route", "show", "fd00:192:168:2::/64"]
        words = cluster.place("leaf-a").run(route).stdout.decode()
        assert words.count("nexthop via fd00:172:16::") == 2
        cluster.fail("interface", "leaf-a:eth1")
        report = cluster.verify()
        assert report.good, [*report.deviations, *report.differences]
        cluster.heal()
        assert cluster.verify().good
