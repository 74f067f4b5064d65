"""A kernel with modules, as if it were the user's own machine, with a firewall as Docker sets it.

In the guest of bench ``vm``, whose own namespaces stand for the laptop's.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_state import changes, host_state

from emulator import Cluster
from emulator.spec import load_text

pytestmark = pytest.mark.full_kernel

ALWAYS_UNASKED = "br_netfilter"
"""It hooks every bridge of the machine, so it comes with consent alone."""
SPEC = """
apiVersion: podwire/v1
kind: Cluster
metadata: {name: guest-of-a-laptop}
spec:
  network: {plugin: %s}
  underlay: {segments: {rack: {cidr: 192.168.50.0/24}, rack-b: {cidr: 192.168.60.0/24}},
             routers: {core: {segments: [rack, rack-b]}}}
  nodes: {count: 2, spread: [rack, rack-b]}
  pods: {perNode: 1}
"""


def run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def modules() -> set[str]:
    return {row.split()[0] for row in Path("/proc/modules").read_text().splitlines()}


@pytest.fixture
def laptop() -> Iterator[None]:
    """Without br_netfilter; a bridge with an address, and nothing is forwarded but for it."""
    if ALWAYS_UNASKED in modules():
        run("modprobe", "-r", ALWAYS_UNASKED)
    run("ip", "link", "add", "docker0", "type", "bridge")
    run("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
    run("iptables", "-P", "FORWARD", "DROP")
    run("iptables", "-A", "FORWARD", "-i", "docker0", "-j", "ACCEPT")
    yield
    run("iptables", "-F", "FORWARD")
    run("iptables", "-P", "FORWARD", "ACCEPT")
    run("ip", "link", "del", "docker0")
    run("modprobe", ALWAYS_UNASKED)


def test_labs_load_what_they_need_and_change_nothing(
    laptop: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    assert os.geteuid() == 0
    before: dict[str, str] = {}
    for plugin in ("{plugin: flannel, backend: ipip}", "{plugin: calico}"):
        text = SPEC.replace("{plugin: %s}", plugin)
        # the first lab's modules bring settings with them: compared is from the second look on
        for _ in range(2):
            before = host_state(())
            with Cluster(load_text(text, "laptop.yaml")) as cluster:
                report = cluster.verify()
                assert not report.deviations and not report.differences, plugin
        assert changes(before, host_state(())) == []
    assert ALWAYS_UNASKED not in modules()
    assert {"ipip", "vxlan"} <= modules()
    assert "-P FORWARD DROP" in run("iptables", "-S", "FORWARD")
