"""Weave's sleeve with and without a password: what can be overheard, and bytes on the wire."""

from __future__ import annotations

from pathlib import Path

import pytest
from callers import ROOT
from clear_text import overheard

from emulator import Cluster
from emulator.spec import load

pytestmark = pytest.mark.kernel

FRAME_B = 14 + 14 + 84
"""An echo request of ping in a frame, behind two names and a length."""
GROUPS = {"0", "2"}
"""MLD and IGMP: kernels tell multicast routers of their groups, there as everywhere."""


@pytest.mark.parametrize(("name", "head_b"), [("sleeve", 6), ("sleeve-encrypted", 30)])
def test_sleeve(name: str, head_b: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster(load(ROOT / f"topologies/weave-{name}.yaml"), "weave") as cluster:
        report = cluster.verify()
        assert report.good, (report.deviations, report.differences)

        heard = overheard(cluster, "n1-p1", "n2-p1")
        assert heard.kinds.keys() - GROUPS == {"udp 6783"}
        assert heard.clear == (0 if "encrypted" in name else heard.said)

        node, count = cluster.node("n1"), 300
        before = node.counters("eth0")
        assert cluster.pod("n1-p1").ping("n2-p1", count, 0.01).received == count
        after = node.counters("eth0")
        packets = after["tx_packets"] - before["tx_packets"]
        sent = after["tx_bytes"] - before["tx_bytes"]
        # veth counts what is behind the Ethernet header; frames that wait together share a
        # datagram; now and then it is asked, on the underlay too, who is where
        asked = sent - packets * (28 + head_b) - count * FRAME_B
        assert -6 * head_b <= asked <= 12 * FRAME_B
