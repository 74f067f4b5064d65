"""What the machine was before a lab, it is while the lab runs, and after."""

from __future__ import annotations

import pytest
from callers import ROOT, Caller
from host_state import changes, host_state

pytestmark = pytest.mark.kernel

PROCESSES = str(ROOT / "topologies/manifests.yaml")
OVERLAY = str(ROOT / "topologies/flannel-vxlan.yaml")
ROUTED = str(ROOT / "topologies/flannel-host-gw.yaml")


def test_machine_stays_as_it_is(either: Caller) -> None:
    before = host_state()
    either.podwire("up", PROCESSES, "--name", "one")
    either.podwire("up", OVERLAY, "--name", "two")
    during = host_state()
    assert changes(before, during) == []
    two = ("--lab", "two")
    either.podwire(
        "exec", *two, "n1", "--", "sh", "-c",
        "set -e; echo x > /tmp/x; echo x > /run/x; echo x > /var/lib/x; echo x > /var/tmp/x;"
        "sysctl -qw net.ipv4.conf.all.forwarding=0; ip link add dummy-br type bridge;"
        "nft add table ip x; ip route add 203.0.113.0/24 dev lo; hostname changed",
    )  # fmt: skip
    refused = either.podwire("exec", *two, "n1", "--", "touch", "/etc/x", code=1)
    assert "Read-only file system" in refused.stderr
    either.podwire("exec", *two, "n1", "--", "touch", "/usr/local/x", "/home/x", "/root/x", code=1)
    for path in ("/proc/sys/vm/swappiness", "/sys/kernel/mm/transparent_hugepage/enabled"):
        same = f"old=$(cat {path}); echo $old > {path}"
        assert either.podwire("exec", *two, "n1", "--", "sh", "-c", same, code=None).returncode
    either.podwire("cli", *two, stdin="nodes\nn1-p1 touch /tmp/y\nexit\n")
    either.podwire(
        "capture", *two, "n1:eth0", "--seconds", "0.2", "-w", str(either.home / "x.pcap")
    )
    either.podwire("verify", *two, code=1)  # by the bridge and the others that were made by hand
    either.podwire("fail", *two, "node", "n2")
    either.podwire("apply", *two, ROUTED)
    assert changes(before, host_state()) == []
    either.podwire("down", "--all")
    assert either.left() == []
    assert changes(before, host_state()) == []
