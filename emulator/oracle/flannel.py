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
IPIP_BYTES = 20
IPIP_DEVICE = "flannel.ipip"
UDP_BYTES = 28
WIREGUARD_BYTES = 80
"""What flannel spares for WireGuard, whatever carries it."""
UDP_DEVICE = "flannel0"
ESP_BYTES = 77
"""What pods are spared for ESP; in UDP it is as much as a UDP header more."""
ESP_IN_UDP_BYTES = 85
KEY_DAEMON = "charon"
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
        elif self._backend == "ipip":
            self.pod_mtu -= IPIP_BYTES
        elif self._backend == "udp":
            self.pod_mtu -= UDP_BYTES
        elif self._backend == "ipsec":
            self.pod_mtu -= ESP_IN_UDP_BYTES if network.option("udpEncap") else ESP_BYTES
        elif self._backend == "wireguard":
            self.pod_mtu -= WIREGUARD_BYTES

    @classmethod
    def devices(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The bridge, if any, and the tunnel."""
        tunnel = _tunnel(network, which)
        return super().devices(network, which) + ((tunnel,) if tunnel else ())

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """Under ``udp`` every packet passes through it; under ``ipsec`` it has the keys."""
        return {"udp": (DAEMON,), "ipsec": (KEY_DAEMON,)}.get(network.backend, ())

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
        if self._backend == "ipsec":
            return self._protected(near, far, broken)
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

    def _protected(self, near: str, far: str, broken: str) -> Leg:
        """By ESP, whichever route a packet is on, if it is on one. Keys outlive the daemons that
        have negotiated them."""
        routeless = next((n for n in (near, far) if not self.wires.has_default(n)), "")
        if routeless and not broken:
            broken = (
                f"{routeless} has no route that leads to pods of other nodes, not even a default "
                "one: what is on no route is dropped before a policy is asked"
            )
        words = f"policies of {near} and {far} take it into ESP: two hops, the underlay's hidden"
        bare = (
            f"no policy takes what {near} itself sends: it goes bare to a router, which does not "
            f"know the pods of {far}"
        )
        return Leg(self.at.node[near], words, broken, node_broken=broken or bare)

    def tunnel_address(self, node: str) -> str:
        """Of the device of a backend that has one."""
        return self.at.node_subnet[node].partition("/")[0]

    def has_tunnel(self, node: str) -> bool:
        """Whether there is such a device, and it is up."""
        return bool(self._tunnel) and not self.wires.down(node, self._tunnel)

    def also_outside(self, near: str) -> str:
        """Rule 6 of the iptables form."""
        if not self.masquerade:
            return ""
        if self._rules == "iptables":
            return ", and masquerading gives the same"
        return ", and the nftables rules leave it alone"


def _tunnel(network: Network, which: Family) -> str:
    """The device between nodes; empty where there is none."""
    if network.backend == "udp":
        return UDP_DEVICE
    if network.backend == "ipip":
        return IPIP_DEVICE
    if network.backend == "wireguard":
        own = which is IPV6 and network.option("mode") == "separate"
        return "flannel-wg-v6" if own else "flannel-wg"
    if network.backend != "vxlan":
        return ""
    return f"flannel{'-v6' if which is IPV6 else ''}.{network.option('vni')}"


class Model(Backend):
    """flannel's own pods."""

    bridge = "cni0"
