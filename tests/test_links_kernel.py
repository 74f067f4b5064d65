"""Links that delay, lose and shape, on a kernel that has netem: compared with plan and prediction,
and changed while packets are on their way."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small_plans import of_a_kernel
from world import FILES, NAMES, in_a_world, kernel

from emulator.cluster import Cluster, Place
from emulator.compile import compile_spec
from emulator.ipam import allocate
from emulator.measure import wait
from emulator.oracle import predict
from emulator.plan import deviations
from emulator.plan.script import script
from emulator.spec import load, load_text
from emulator.spec.medium import CERTAIN, Delay, Ends, Loss, Medium
from emulator.spec.resolved import ResolvedSpec
from experiments.links.flow import Ends as FlowEnds

pytestmark = pytest.mark.full_kernel

WAN = load(Path(__file__).parents[1] / "topologies" / "wan.yaml")


TUNNELLED = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: tunnelled}
spec:
  network: {plugin: flannel, backend: ipip}
  congestionControl: cubic
  underlay:
    segments:
      a: {cidr: 192.168.50.0/24}
      b: {cidr: 192.168.60.0/24}
    routers: {core: {segments: [a, b], links: {b: {rate: 10mbit, delay: 5ms}}}}
  nodes: {count: 2, spread: [a, b]}
  pods: {perNode: 1}
"""


def with_line(medium: Medium) -> ResolvedSpec:
    """Another line between the sites."""
    segments = (s._replace(ends=Ends(medium)) if s.is_link else s for s in WAN.segments)
    return WAN._replace(segments=tuple(segments))


def with_n2(ends: Ends) -> ResolvedSpec:
    first, second = WAN.nodes
    return WAN._replace(nodes=(first, second._replace(ends=ends)))


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    with Cluster(WAN, "links-wan") as cluster:
        yield cluster


def test_the_kernel_holds_it_and_every_probe_is_answered(lab: Cluster) -> None:
    lab.apply(WAN)
    report = lab.verify()
    assert report.good, report
    assert all(statement.holds for statement in report.statements)


def test_another_delay_touches_one_qdisc_and_loses_nothing(lab: Cluster) -> None:
    calm = Medium(delay=Delay(20_000))
    lab.apply(with_line(calm))
    with ThreadPoolExecutor(1) as thread:
        flow = thread.submit(FlowEnds(lab, "n1", "n2").send, 600, 100.0)
        done = lab.apply(with_line(Medium(delay=Delay(40_000))))
    assert [line.split(" limit ")[0] for line in done] == [
        "~ a netem eth1 10:",
        "~ b netem eth0 10:",
    ]
    assert flow.result().came == set(range(600))
    assert lab.verify(probes=False).good


def test_a_shaper_moves_below_netem_and_out_again(lab: Cluster) -> None:
    shaped = WAN.nodes[1].ends
    alone = Ends(egress=Medium(shaped.egress.rate), ingress=Medium(shaped.ingress.rate))
    for spec in (with_n2(alone), WAN, with_n2(Ends()), WAN):
        lab.apply(spec)
        assert lab.verify(probes=False).deviations == ()


@pytest.mark.parametrize(
    ("loss", "outcome"), [(CERTAIN, "lost"), (6 * CERTAIN // 10, "by-chance")]
)  # fmt: skip
def test_heavy_loss_is_as_predicted(lab: Cluster, loss: int, outcome: str) -> None:
    spec = with_n2(Ends(egress=Medium(loss=Loss(loss))))
    predicted = predict(spec, allocate(spec))
    assert outcome in {found.outcome for found in predicted.values()}
    lab.apply(spec)
    report = lab.verify()
    assert report.good, report


def test_a_shaper_behind_gro_weighs_every_frame_of_a_tunnel() -> None:
    """A router's GRO makes packets of up to 64 KiB of a stream in IPIP; what the kernel guesses of
    their headers is a fiftieth too little."""
    with Cluster(load_text(TUNNELLED), "links-cut") as cluster:
        server, client = cluster.pod("n2-p1"), cluster.pod("n1-p1")
        listens = server.start(["iperf3", "-s", "-1"])
        wait.listening(server, "tcp", 5201, deadline_s=60.0, server=listens)
        core = cluster.place("core")
        before = weighed(core)
        argv = ["iperf3", "-c", server.ip, "-n", "4M", "-C", "cubic"]
        done = client.run(argv, timeout_s=120.0)
        assert done.returncode == 0, done.stdout + done.stderr
        counted, sent = (now - then for now, then in zip(weighed(core), before, strict=True))
    assert counted == sent > 2_000_000  # what is still in a queue counts for neither


def weighed(place: Place) -> tuple[int, int]:
    """Bytes as the qdiscs of ``eth1`` count them, and as the interface does: a veth with GRO behind
    it leaves out Ethernet's header."""
    told = place.run(["tc", "-s", "qdisc", "show", "dev", "eth1"]).stdout.decode()
    (counted,) = set(re.findall(r"Sent (\d+) bytes", told))
    sent, packets = (
        int(place.run(["cat", f"/sys/class/net/eth1/statistics/tx_{what}"]).stdout)
        for what in ("bytes", "packets")
    )
    return int(counted), sent + 14 * packets


def test_the_script_builds_it_as_well() -> None:
    made = of_a_kernel(compile_spec(WAN._replace(pods=())))

    def body() -> None:
        subprocess.run(["sh"], input=script(made), text=True, check=True,
                       env=os.environ | {"FILES": str(FILES)})  # fmt: skip
        with kernel() as machine:
            for ns in sorted(os.listdir(NAMES)):
                machine.adopt(ns, NAMES / ns)
            observed = machine.observe([entry.resource for entry in made])
        assert [str(finding) for finding in deviations(made, observed)] == []

    in_a_world(body)
