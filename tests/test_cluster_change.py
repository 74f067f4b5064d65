"""fail, heal and apply on running labs: after each step kernel and probes are as predicted.

Labs of one test wait for their lost probes at the same time, in threads.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from callers import ROOT

from emulator import Cluster
from emulator.errors import KernelRefused, PodwireError, SpecError, Unsupported
from emulator.faults import cables as cables_of
from emulator.oracle.breakable import daemons, interfaces
from emulator.plan import Op
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec
from emulator.substrate.kernel import Kernel
from experiments.bring_up import changing

pytestmark = pytest.mark.kernel

Fail = tuple[str, str]


def topology(name: str, **overrides: object) -> ResolvedSpec:
    changed = {f"spec.{key.replace('_', '.')}": value for key, value in overrides.items()}
    return load(ROOT / "topologies" / f"{name}.yaml", changed)


@pytest.fixture
def up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[ResolvedSpec], Cluster]]:
    """Brings up any number of labs, which are down after the test."""
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with ExitStack() as stack:
        count = 0

        def start(spec: ResolvedSpec) -> Cluster:
            nonlocal count
            count += 1
            return stack.enter_context(Cluster(spec, f"lab-{count}"))

        yield start


def good(cluster: Cluster) -> None:
    report = cluster.verify()
    found = [*report.deviations, *report.differences, *report.processes]
    assert report.good, f"{cluster.spec.name} under {cluster.facts().faults}:\n" + "\n".join(found)


def holds(cluster: Cluster, number: str) -> bool:
    return next(s.holds for s in cluster.verify().statements if s.number == number)


def every_fault(spec: ResolvedSpec) -> list[Fail]:
    """What can fail, but for its like: one node of each segment and one of its pods."""
    ends = interfaces(spec)
    some = {node.segment: node.name for node in reversed(spec.nodes)}.values()
    pods = [next(p.id for p in spec.pods if p.node == name) for name in some]
    names = [*some, pods[0], *(r.name for r in spec.routers), *(h.name for h in spec.hosts)]
    cables = cables_of(spec)
    return [
        *(("node", name) for name in some),
        *(("link", f"{name}:{end}") for name in names for end in cables[name]),
        *(("interface", f"{name}:{end}") for name in names for end in ends[name]),
        *(("daemon", f"{name}:{one}") for name in some for one in daemons(spec).get(name, ())),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "flannel-vxlan",
        "flannel-host-gw",
        "flannel-direct-routing",
        "flannel-udp",
        "two-racks",
        "kubenet",
        "flannel-dual-stack",
        "canal-dual-stack",
    ],
)
def test_every_fault_is_as_predicted_and_heals(
    name: str, up: Callable[[ResolvedSpec], Cluster]
) -> None:
    spec = topology(name)
    labs = [(up(spec), fault) for fault in every_fault(spec)]

    def fail_and_heal(cluster: Cluster, fault: Fail) -> None:
        assert cluster.fail(*fault), "something is done"
        good(cluster)
        cluster.heal(*fault)
        assert cluster.verify(probes=False).good

    # probes of all labs share the machine's one neighbour table
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(fail_and_heal, *lab) for lab in labs]
    for one in done:
        one.result()


def test_frames_pass_while_the_process_that_carries_them_lives(
    up: Callable[[ResolvedSpec], Cluster],
) -> None:
    """Also what it says of packets that are too long: with eight bytes of them, as Weave does."""
    cluster = up(topology("weave-sleeve"))
    good(cluster)
    for fault in (("daemon", "n1:weaver"), ("interface", "n1:vethwe-pcap")):
        cluster.fail(*fault)
        assert not holds(cluster, "M3")
        good(cluster)
        cluster.heal(*fault)
        good(cluster)


def test_what_a_fault_breaks(up: Callable[[ResolvedSpec], Cluster]) -> None:
    cluster = up(topology("flannel-vxlan"))
    assert holds(cluster, "M3")
    cluster.fail("link", "n1")
    cluster.fail("link", "n1")  # a second time changes nothing
    assert [str(fault) for fault in cluster.facts().faults] == ["link n1"]
    assert not holds(cluster, "M3")
    ping = cluster.pod("n1-p1").ping
    assert ping("n2-p1", count=1).received == 0 and ping("n1-p2", count=1).received == 1
    # the near end is up and has lost its carrier
    flags = cluster.node("n1").run(["ip", "-o", "link", "show", "eth0"]).stdout.decode()
    assert "NO-CARRIER" in flags and ",UP" in flags
    with pytest.raises(SpecError, match="one of: link n1"):
        cluster.heal("node", "n1")
    for kind, target in (("link", "n9"), ("interface", "n1:eth7"), ("node", "n1-p1"), ("x", "n1")):
        with pytest.raises(SpecError):
            cluster.fail(kind, target)
    cluster.fail("interface", "n2:cni0")
    good(cluster)
    cluster.heal()
    assert holds(cluster, "M3")
    good(cluster)


def test_link_set_by_hand_is_told(up: Callable[[ResolvedSpec], Cluster]) -> None:
    cluster = up(topology("flannel-vxlan"))
    cluster.inside(lambda net: net.configLinkStatus("n1-p1", "n1", "down"))
    report = cluster.verify(probes=False)
    assert not report.good
    assert any("n1-p1 interface eth0 down" in text for text in report.deviations)
    cluster.inside(lambda net: net.configLinkStatus("n1-p1", "n1", "up"))
    assert any("missing: n1-p1 route" in t for t in cluster.verify(probes=False).deviations)
    cluster.apply(cluster.spec)
    good(cluster)


NETWORKS = [
    "flannel-vxlan",
    "flannel-host-gw",
    "flannel-direct-routing",
    "two-racks",
    "flannel-udp",
    "flannel-alloc",
    "canal",
    "kubenet",
    "weave-sleeve",
    "flannel-dual-stack",
    "flannel-ipv6",
    "canal-dual-stack",
    "none",
    "host",
]


@pytest.mark.parametrize("seed", range(2))
def test_random_walks(seed: int, up: Callable[[ResolvedSpec], Cluster]) -> None:
    """Through networks, sizes and faults; whatever came before, the state is as predicted."""

    def walk(cluster: Cluster, chance: random.Random) -> None:
        for _ in range(4):
            if chance.random() < 0.5:
                try:
                    cluster.fail(*chance.choice(every_fault(cluster.spec)))
                except SpecError as error:  # a cable of a node that is cut off, for instance
                    assert "nothing that it would change" in str(error)
            else:
                sizes = {
                    "nodes_count": chance.choice([1, 2, 4]),
                    "pods_perNode": chance.choice([1, 3]),
                }
                cluster.apply(topology(chance.choice(NETWORKS), **sizes))
            good(cluster)
        cluster.heal()
        good(cluster)

    chances = [random.Random(f"{seed} {number}") for number in range(6)]
    walks = [(up(topology(chance.choice(NETWORKS))), chance) for chance in chances]
    with ThreadPoolExecutor(len(walks)) as pool:
        done = [pool.submit(walk, *one) for one in walks]
    for one in done:
        one.result()


def test_apply_changes_only_the_difference(up: Callable[[ResolvedSpec], Cluster]) -> None:
    cluster = up(topology("flannel-vxlan"))
    assert cluster.apply(topology("flannel-vxlan")) == []
    before = cluster.node("n1").run(["ip", "-j", "link", "show", "cni0"]).stdout
    preview = cluster.preview(topology("flannel-host-gw"))
    assert cluster.spec.network.backend == "vxlan" and cluster.verify(probes=False).good
    done = cluster.apply(topology("flannel-host-gw"))
    assert preview and set(preview) <= set(done)
    assert any(text.startswith("- n1 vxlan flannel.1") for text in done)
    assert cluster.node("n1").run(["ip", "-j", "link", "show", "cni0"]).stdout != before, "its MTU"
    assert Cluster.attach(cluster.name).spec.network.backend == "host-gw"
    good(cluster)


EVERYTHING = """
grep -rs . /proc/sys/net | grep -v -e nf_conntrack_count -e stable_secret | sort
ip -br link | sed 's/@if[0-9]*//' | sort
ip -br addr | sed 's/@if[0-9]*//' | sort
ip route show table all | sort
ip neigh show nud permanent | sort
ip rule
bridge fdb | sort
nft list ruleset
ls -R /run
"""


def test_to_another_plugin_and_back_leaves_nothing(up: Callable[[ResolvedSpec], Cluster]) -> None:
    """Settings of a node included, which no device takes with it."""
    cluster = up(topology("flannel-vxlan"))

    def everything() -> list[str]:
        return cluster.node("n1").run(["sh", "-c", EVERYTHING]).stdout.decode().splitlines()

    before = everything()
    assert any("nf_conntrack_acct:0" in row for row in before)
    cluster.apply(topology("canal"))
    assert any("nf_conntrack_acct:1" in row for row in everything())
    good(cluster)
    cluster.apply(topology("flannel-vxlan"))
    assert everything() == before
    good(cluster)


def test_faults_stand_through_apply(up: Callable[[ResolvedSpec], Cluster]) -> None:
    cluster = up(topology("flannel-vxlan", nodes_count=3))
    cluster.fail("link", "n1")
    cluster.fail("interface", "n2:flannel.1")
    cluster.fail("node", "n3")
    done = cluster.apply(topology("flannel-host-gw"))
    assert [str(fault) for fault in cluster.facts().faults] == ["link n1"]
    assert "- fault: interface n2:flannel.1: gone" in done and "- fault: node n3: gone" in done
    good(cluster)
    cluster.heal("link", "n1")
    good(cluster)


def test_refused_spec_changes_nothing(
    up: Callable[[ResolvedSpec], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = up(topology("flannel-vxlan"))
    cluster.fail("link", "n1")
    before = cluster.observed()
    with pytest.raises(SpecError):
        cluster.apply(topology("two-racks", network_backend="host-gw"))
    with monkeypatch.context() as few:
        few.setattr("emulator.doctor.resource.getrlimit", lambda _: (100, 100))
        with pytest.raises(Unsupported, match="open files"):
            cluster.apply(topology("flannel-vxlan", nodes_count=3))
    assert cluster.observed() == before
    assert [str(fault) for fault in cluster.facts().faults] == ["link n1"]
    assert cluster.spec.network.backend == "vxlan"
    good(cluster)


def test_apply_that_the_kernel_refuses_goes_back(up: Callable[[ResolvedSpec], Cluster]) -> None:
    cluster = up(topology("flannel-host-gw", nodes_count=3))
    cluster.fail("link", "n1-p1")
    # a namespace takes no second device of the same VNI and port
    in_the_way = "ip link add other type vxlan id 1 dstport 8472 dev eth0 local 192.168.50.13"
    assert cluster.node("n3").run(in_the_way.split()).returncode == 0
    with pytest.raises(PodwireError) as refused:
        cluster.apply(topology("flannel-vxlan", nodes_count=4))
    text = str(refused.value)
    assert "n3 vxlan flannel.1" in text and "EEXIST" in text and "as it was before" in text
    assert cluster.spec.network.backend == "host-gw"
    assert [str(fault) for fault in cluster.facts().faults] == ["link n1-p1"]
    report = cluster.verify()
    assert report.deviations
    assert all(text.startswith("extra: n3") and "other" in text for text in report.deviations)
    assert report.differences == ()
    cluster.node("n3").run(["ip", "link", "del", "other"])
    good(cluster)
    cluster.apply(topology("flannel-vxlan", nodes_count=4))
    good(cluster)


def test_lab_that_cannot_go_back_says_so(
    up: Callable[[ResolvedSpec], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses twice: in the middle of the change, and of the way back."""
    real = Kernel.apply
    refusals = iter([False, True, True])

    def apply(
        self: Kernel, ops: Sequence[Op], progress: Callable[[int, int], None] | None = None
    ) -> None:
        refuse = next(refusals, False)
        real(self, ops[: len(ops) // 2] if refuse else ops, progress)
        if refuse:
            raise KernelRefused("refused on purpose")

    monkeypatch.setattr(Kernel, "apply", apply)
    cluster = up(topology("flannel-vxlan"))  # the supervisor is a copy of this process
    with pytest.raises(PodwireError, match="refused on purpose") as refused:
        cluster.apply(topology("flannel-host-gw"))
    assert "podwire verify says how it stands" in str(refused.value)
    assert not cluster.verify(probes=False).good
    # it is of use all the same: told what is wrong, and mended by what is asked next
    cluster.apply(topology("flannel-vxlan"))
    good(cluster)


def test_pods_that_come_and_go_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same a thousand times: python -m experiments.bring_up.changing pods."""
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    first, last, _ = changing.pods(150)
    assert first[:-1] == last[:-1]
    assert last.memory_kib < first.memory_kib + 2_000
