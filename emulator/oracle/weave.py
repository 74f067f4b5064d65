"""Weave Net: one layer-2 segment for the pods of all nodes, and each node with an address in it."""

from __future__ import annotations

from emulator.family import IPV4, Family
from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires

SLEEVE_BYTES = 62
"""IP and UDP (28), the sender's name (6), of each frame two names and a length (14), Ethernet."""

SEALED_BYTES = 24
"""Encryption adds a number (8) and a code (16)."""

ROUTER = "weaver"
LARGEST_MTU = 65535
DEVICES = {
    "fastdp": ("weave", "vethwe-bridge", "vethwe-datapath", "datapath", "vxlan-6784"),
    "sleeve": ("weave", "vethwe-bridge", "vethwe-pcap"),
}
"""What stands on a node for frames to others, the cable of a pod excepted."""
_PASSED_BY = ("datapath",)
"""The datapath's own interface: frames go from port to port whether or not it is up."""


class Model(model.Model):
    """Nothing is routed between pods, wherever they are."""

    bridge = "weave"
    one_segment = True

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        self._backend = spec.network.backend
        self._sleeve = self._backend == "sleeve"
        self.pod_mtu = LARGEST_MTU if self._sleeve else int(spec.network.option("mtu"))
        self.masquerade = self.masquerade_to_nodes = True

    @classmethod
    def devices(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The bridge and what frames pass on their way to other nodes."""
        return DEVICES[network.backend]

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The router: it carries frames itself, or says what becomes of them."""
        return (ROUTER,)

    def leg(self, near: str, far: str) -> Leg:
        """Bridged on both nodes and in between."""
        _, broken = self.wires.between(near, far)
        how, mtu = "vxlan-6784", 0
        if self.spec.network.option("encryption"):
            how = f"{how} within ESP"
        if self._sleeve:
            how, mtu = f"{ROUTER}, a process", self.spec.links.mtu - SLEEVE_BYTES
            if self.spec.network.option("encryption"):
                how, mtu = f"{how} that encrypts", mtu - SEALED_BYTES
        broken = self.wires.dead(near, ROUTER) or self.wires.dead(far, ROUTER) or broken
        for device in DEVICES[self._backend]:
            if device in _PASSED_BY:
                continue
            broken = self.wires.down(near, device) or self.wires.down(far, device) or broken
        words = f"{near} and {far} are one segment, joined by {how}: no hop, the underlay's hidden"
        return Leg(self.at.gateway[near], words, broken, hops=0, mtu=mtu)
