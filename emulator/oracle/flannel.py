"""flannel: pods on bridges, and a backend between the nodes.

Two rules differ between its iptables and its nftables form: the comparison of the mark, and
whether a node's packets to remote pods are masqueraded. Neither changes a value here (probes
are unmarked; the node's packets already carry the address that masquerading would give), so
only the reason differs.
"""

from __future__ import annotations

from emulator.family import IPV4, IPV6, Family
from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires

VXLAN_BYTES = 50
"""What the pods are spared, in either family."""
VXLAN_BYTES_IPV6 = 70
"""What VXLAN over IPv6 takes."""
UDP_BYTES = 28
UDP_DEVICE = "flannel0"
DAEMON = "flanneld"


class Backend(model.Model):
    """The way between the nodes, for whatever stands on them."""

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        network = spec.network
        self._backend = network.backend
        self._direct = bool(network.option("directRouting"))
        self._tunnel = _tunnel(network, at.family)
        self._tunnel_mtu = 0
        self._rules = "nftables" if network.option("enableNFTables") else "iptables"
        self.masquerade = self.masquerade_to_nodes = bool(network.option("ipMasq"))
        if self._backend == "vxlan":
            self.pod_mtu -= VXLAN_BYTES
            if at.family is IPV6:
                self._tunnel_mtu = spec.links.mtu - VXLAN_BYTES_IPV6
        elif self._backend == "udp":
            self._tunnel = UDP_DEVICE
            self.pod_mtu -= UDP_BYTES

    @classmethod
    def devices(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The bridge, if any, and the tunnel."""
        tunnel = {"vxlan": (_tunnel(network, which),), "udp": (UDP_DEVICE,)}
        return super().devices(network, which) + tunnel.get(network.backend, ())

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The one whose end is felt: under ``udp`` every packet passes through it."""
        return (DAEMON,) if network.backend == "udp" else ()

    def leg(self, near: str, far: str) -> Leg:
        """By the backend."""
        _, broken = self.wires.between(near, far)
        node = self.at.node[near]
        same_segment = self.same_segment(near, far)
        if self._backend == "alloc":
            words = (
                f"flannel's alloc leaves the way from {near} to the pods of {far} to the underlay"
            )
            return Leg(node, words, broken or f"{words}, which has no route to them")
        if self._backend == "host-gw":
            words = f"{far} is the gateway to its pods on the shared segment: two routed hops"
            if not same_segment:
                broken = f"host-gw has no route from {near} to {far}, which is behind a router"
            return Leg(node, words, broken)
        if self._direct and same_segment:
            words = f"directRouting: {far} is on the same segment, so no tunnel: two routed hops"
            return Leg(node, words, broken)
        tunnel, down = self._tunnel, self.wires.down
        broken = down(near, tunnel) or down(far, tunnel) or broken
        address = self.tunnel_address(near)
        if self._backend == "udp":
            dead = self.wires.dead
            broken = dead(near, DAEMON) or dead(far, DAEMON) or broken
            words = (
                f"{near} and {far} route it through {tunnel}, and {DAEMON} of both counts as a "
                "router: four hops, the underlay's hidden"
            )
            return Leg(address, words, broken, hops=4)
        words = f"{near} and {far} route it through {tunnel}: two hops, the underlay's hidden"
        return Leg(address, words, broken, mtu=self._tunnel_mtu)

    def tunnel_address(self, node: str) -> str:
        """Of the device of ``vxlan`` and ``udp``."""
        return self.at.node_subnet[node].partition("/")[0]

    def has_tunnel(self, node: str) -> bool:
        """Whether there is such a device, and it is up."""
        return self._backend in ("vxlan", "udp") and not self.wires.down(node, self._tunnel)

    def also_outside(self, near: str) -> str:
        """Rule 6 of the iptables form."""
        if not self.masquerade:
            return ""
        if self._rules == "iptables":
            return ", and masquerading gives the same"
        return ", and the nftables rules leave it alone"


def _tunnel(network: Network, which: Family) -> str:
    return f"flannel{'-v6' if which is IPV6 else ''}.{network.option('vni')}"


class Model(Backend):
    """flannel's own pods."""

    bridge = "cni0"
