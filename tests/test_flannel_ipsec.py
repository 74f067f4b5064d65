"""flannel's ipsec in a running lab: what passes, what an ear beside it hears, and who may die."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from callers import ROOT
from clear_text import overheard
from waiting import until

from emulator import Cluster
from emulator.errors import PodwireError
from emulator.patience import patient
from emulator.spec import load

pytestmark = pytest.mark.full_kernel

SPEC = ROOT / "topologies" / "flannel-ipsec.yaml"
FEW = {"spec.pods.perNode": 1}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODWIRE_RUN", str(tmp_path_factory.mktemp("run")))
        with Cluster(load(SPEC, FEW), "ipsec") as found:
            yield found


def good(cluster: Cluster) -> None:
    report = cluster.verify(wait_s=60.0)
    assert not report.deviations and not report.differences, report


def words(cluster: Cluster, node: str, *argv: str) -> str:
    """With one space wherever ``ip -o`` has more, or a backslash for the end of a line."""
    text = cluster.node(node).run(argv).stdout.decode()
    return "\n".join(" ".join(row.replace("\\", " ").split()) for row in text.splitlines())


def spis(cluster: Cluster, node: str) -> set[str]:
    rows = words(cluster, node, "ip", "-o", "xfrm", "state").splitlines()
    return {row.partition(" spi ")[2].split()[0] for row in rows if " aead " in row}


def test_its_life(cluster: Cluster) -> None:
    good(cluster)
    for node in ("n1", "n2"):
        policies = words(cluster, node, "ip", "-o", "xfrm", "policy").splitlines()
        ours = [row for row in policies if " dir " in row and "10.244." in row]
        assert sorted(row.partition(" dir ")[2].split()[0] for row in ours) == ["fwd", "in", "out"]
        assert all("reqid 11 mode tunnel" in row for row in ours)
        assert len(spis(cluster, node)) >= 2

    found = overheard(cluster, "n1-p1", "n2-p1")
    assert (found.said, found.clear) == (1000, 0)
    assert found.kinds["esp"] >= 2000 and set(found.kinds) <= {"esp", "udp 500", "udp 4500"}

    # a new key is no deviation
    before = spis(cluster, "n1")
    words(cluster, "n1", "swanctl", "--rekey", "--child", "10.244.1.0/24-10.244.2.0/24")
    until(lambda: spis(cluster, "n1") - before, "another SPI", patient(20.0))
    good(cluster)

    # and a daemon that has died takes no key with it
    cluster.fail("daemon", "n1:charon")
    good(cluster)
    cluster.heal()
    good(cluster)

    cluster.apply(load(SPEC, {**FEW, "spec.network.backend": "host-gw"}))
    good(cluster)
    assert not spis(cluster, "n1")
    assert "10.244" not in words(cluster, "n1", "ip", "xfrm", "policy")
    assert overheard(cluster, "n1-p1", "n2-p1").clear == 1000, "the ear can hear"


def test_what_charon_refuses_is_told_with_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    monkeypatch.setattr("emulator.datapath.ipsec._IKE", "aes256-sha256-modp4097")
    with pytest.raises(PodwireError, match=r"charon refuses connection .*proposal"):
        Cluster(load(SPEC, FEW), "refused").up()
