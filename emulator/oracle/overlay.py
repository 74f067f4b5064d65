"""Pods on bridges and a tunnel between the nodes, without rules: nothing is rewritten."""

from __future__ import annotations

from emulator.datapath.naming import towards
from emulator.family import IPV4, IPV6, Family
from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires

BYTES = {"vxlan": (50, 70), "geneve": (50, 70), "ipip": (20, 20)}
"""What a tunnel takes over IPv4, and over IPv6."""


class Model(model.Model):
    """Each node knows which subnet every other one has."""

    bridge = "cni0"

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        self._each = spec.network.backend == "geneve"
        self._six = at.family is IPV6
        self.pod_mtu -= BYTES[spec.network.backend][spec.ipv6]

    @classmethod
    def devices(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The bridge, and a device for all peers."""
        own = () if network.backend == "geneve" else (_device(which),)
        return super().devices(network, which) + own

    @classmethod
    def devices_towards(cls, network: Network, peer: str, which: Family = IPV4) -> tuple[str, ...]:
        """Of Geneve one for each peer."""
        return (towards("gnv", peer, which is IPV6),) if network.backend == "geneve" else ()

    def leg(self, near: str, far: str) -> Leg:
        """Through the devices of both."""
        _, broken = self.wires.between(near, far)
        there, back = self._name(far), self._name(near)
        broken = self.wires.down(near, there) or self.wires.down(far, back) or broken
        words = f"{near} and {far} route it through {there}: two hops, the underlay's hidden"
        return Leg(self.at.node_subnet[near].partition("/")[0], words, broken)

    def _name(self, peer: str) -> str:
        return towards("gnv", peer, self._six) if self._each else _device(self.at.family)


def _device(which: Family) -> str:
    return "overlay-v6" if which is IPV6 else "overlay"
