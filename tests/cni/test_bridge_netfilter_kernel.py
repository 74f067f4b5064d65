"""Why nodes show their bridges' frames to iptables: answers that stay on a bridge."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_specs import small_spec
from waiting import until

from emulator import Cluster

pytestmark = pytest.mark.kernel

SERVICE = "10.96.0.1"
SERVE = """
import socket
with socket.create_server(("", 80)) as server:
    while True:
        server.accept()[0].close()
"""
ASK = f"import socket; socket.create_connection(('{SERVICE}', 80), 2)"


@pytest.mark.parametrize("plugin", ["flannel", "kubenet"])
def test_an_answer_on_the_same_bridge_would_not_be_translated_back(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request of a pod to a service whose pod is its neighbour is routed, the answer is not."""
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    spec = small_spec(plugin, "vxlan" if plugin == "flannel" else "", pods_per_node=2)
    with Cluster(spec) as cluster:
        node, server = cluster.node("n1"), cluster.pod("n1-p2")
        rules = f"""
            table ip service {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat;
                    ip daddr {SERVICE} dnat to {server.ip}
                }}
            }}"""
        assert node.run(["nft", rules]).returncode == 0
        serving = server.start(["python3", "-SEc", SERVE])
        until(lambda: server.listening("tcp", 80), "the server listens")

        def answered() -> bool:
            return cluster.pod("n1-p1").run(["python3", "-SEc", ASK]).returncode == 0

        setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
        there = Path(setting).exists()
        assert answered() == there, "the kernel of a real node has br_netfilter"
        if there:
            assert node.run(["sh", "-c", f"echo 0 >{setting}"]).returncode == 0
            assert not answered()
        serving.kill()
