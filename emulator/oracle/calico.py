"""Calico: pods with addresses out of blocks, and VXLAN, IPIP or BGP between the nodes.

By BGP a node has a route to another one's pods if it has heard of them. Behind a router that is
not enough: the packet goes there, and a router that has not heard of them knows no way on. On top
of any of them WireGuard may encrypt, from node to node.
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_address, ip_network

from emulator.family import IPV4, IPV6, Family
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.oracle.model import Leg
from emulator.oracle.routed import RoutedPods
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires

WIREGUARD_BYTES = 60
WIREGUARD_BYTES_IPV6 = 80
VXLAN_BYTES = 50
VXLAN_BYTES_IPV6 = 70
IPIP_BYTES = 20
ROUTERS_DAEMON = "bird"


class Model(RoutedPods):
    """Pods are routed on their node, and travel as the backend says."""

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        network = spec.network
        modes = (network.option("vxlanMode"), network.option("ipipMode"))
        self._cross_subnet = "CrossSubnet" in modes
        self._mesh = bool(network.option("nodeToNodeMeshEnabled"))
        self._reflectors = network.names("routeReflectors")
        self._fabric = bool(network.option("peerWithRouters"))
        self._tunnel, self._daemon = _tunnel(network, at.family), _daemon(at.family)
        outgoing = "natOutgoingIPv6" if at.family is IPV6 else "natOutgoing"
        self.masquerade = self.masquerade_to_nodes = bool(network.option(outgoing))
        self._cipher = _cipher(network, at.family)
        taken = [0]  # of all pods, whatever the family, by the narrowest tunnel
        if network.backend == "ipip":
            taken.append(IPIP_BYTES)
        elif network.backend == "vxlan":
            taken.append(VXLAN_BYTES_IPV6 if spec.ipv6 else VXLAN_BYTES)
        if _cipher(network, IPV4):
            taken.append(WIREGUARD_BYTES)
        if _cipher(network, IPV6):
            taken.append(WIREGUARD_BYTES_IPV6)
        self.pod_mtu -= max(taken)

    @classmethod
    def devices(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """The tunnel, if any, and WireGuard's device."""
        return tuple(filter(None, (_tunnel(network, which), _cipher(network, which))))

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """BIRD, where there is no tunnel."""
        return () if _tunnel(network, which) else (_daemon(which),)

    def near_pods(self, node: str) -> str:
        """The tunnel's address is of the pool, and so is that of WireGuard's device, which is the
        younger one."""
        if self._tunnel and not self.wires.down(node, self._tunnel):
            return self.at.tunnel[node]
        there = self._cipher and not self.wires.down(node, self._cipher)
        return self.at.wireguard[node] if there else ""

    def leg(self, near: str, far: str) -> Leg:
        """Encrypted, whatever the backend.

        Where the device of a node is down, it sends by the backend's routes, if it has any, and to
        it nothing comes back but what is for its own address in the underlay, which is never
        encrypted.
        """
        down = self.wires.down
        here, there = (self._cipher and down(n, self._cipher) for n in (near, far))
        if not self._cipher or (here and there):
            return self._plain(near, far)
        if here:
            plain = self._plain(near, far)
            own = plain.source == self.at.node[near]
            return plain._replace(broken=here, node_broken=plain.from_node if own else here)
        _, cut = self.wires.between(near, far)
        words = f"{near} and {far} encrypt it, two hops by {self._cipher}, the underlay's hidden"
        return Leg(self.at.wireguard[near], words, there or cut)

    def to_node(self, near: str, node: str) -> Leg | None:
        """A node encrypts what it answers to a pod that it sees as itself, under an address that is
        allowed to nobody; where its device is down it answers by the backend's routes, and nothing
        has to come back to it."""
        if not self._cipher:
            return None
        if self.wires.down(node, self._cipher):
            plain = self._plain(node, near)
            words = f"{node} does not encrypt its answer: {self._cipher} is down"
            return Leg(self.at.node[near], words, "", node_broken=plain.from_node)
        words = f"{node} encrypts its answer, and {near} takes nothing so from a node's own address"
        return Leg(self.at.node[near], words, words)

    def _plain(self, near: str, far: str) -> Leg:
        """By the backend."""
        if not self._tunnel:
            return self._by_bgp(near, far)
        _, broken = self.wires.between(near, far)
        if self._cross_subnet and self.same_segment(near, far):
            words = f"CrossSubnet: {far} is in the same subnet, so no tunnel: two routed hops"
            return Leg(self.at.node[near], words, broken)
        tunnel, down = self._tunnel, self.wires.down
        broken = down(near, tunnel) or down(far, tunnel) or broken
        words = f"{near} and {far} route it through {tunnel}: two hops, the underlay's hidden"
        return Leg(self.at.tunnel[near], words, broken)

    def leg_of(self, leg: Leg, near: str, far: str, own: str, address: str) -> Leg:
        """A reflector tells nobody of an address in a block of its own that another node has
        borrowed, so packets come to the reflector by its block, and it sends them on."""
        sender, answerer = self._owner(near, far, address), self._owner(far, near, own)
        if self._cipher and not all(self.wires.down(n, self._cipher) for n in (near, far)):
            return leg  # Felix has heard who has it
        if not (sender or answerer):
            return leg
        there = self._lost_by_way(near, sender, far)
        back = self._lost_by_way(far, answerer, near)
        words, hops = leg.words, leg.hops
        if sender:
            hops = 3
            words = f"{sender} owns the block, reflects routes, and tells nobody that {far} has it"
        return Leg(leg.source, words, there or back, hops, node_broken=there)

    def _lost_by_way(self, near: str, owner: str, far: str) -> str:
        ways = ((near, owner), (owner, far)) if owner else ((near, far),)
        for one, other in ways:
            routers, cut = self.wires.between(one, other)
            if why := cut or self._lost(one, other, routers):
                return why
        return ""

    def _owner(self, near: str, far: str, address: str) -> str:
        """The reflector to which a node sends what is for an address of ``far`` that is borrowed
        from it; empty where the node has been told who has it."""
        owner = self._reflected.get(address, "")
        if not owner or near in self._reflectors:
            return ""
        wires = self.wires.before(Fault("daemon", f"{near}:{self._daemon}"))
        told = any(
            not (self._session(wires, near, other) or self._session(wires, other, far))
            for other in self._reflectors
            if other not in (owner, far)
        )
        return "" if told or far in self._reflectors else owner

    @cached_property
    def _reflected(self) -> dict[str, str]:
        """The owner of each borrowed address, where that is a reflector."""
        return {
            address: owner
            for owner in self._reflectors
            for block in map(ip_network, self.at.blocks[owner])
            for address in self.at.borrowed
            if ip_address(address) in block
        }

    def back_from_host(self, host: str, near: str, address: str) -> str:
        """Routers that speak BGP with the nodes know the way: the host's, whose kernel goes on to
        know it when its daemon has died."""
        first, *_ = self._rack(host) or [""]
        wires = self.wires.before(Fault("daemon", f"{first}:{ROUTERS_DAEMON}"))
        if self._fabric and self._heard(near, wires) and not wires.dead(near, self._daemon):
            return ""
        return super().back_from_host(host, near, address)

    def _by_bgp(self, near: str, far: str) -> Leg:
        routers, cut = self.wires.between(near, far)
        node = self.at.node[near]
        if self._fabric:
            # the routers name themselves as the next hop, also within a rack
            hops = max(1, routers) + 2
            words = f"the routers know each block by BGP: {hops} routed hops, no tunnel"
        else:
            hops = 2
            words = f"{near} has heard of the blocks of {far} by BGP: two routed hops, no tunnel"
        there = cut or self._lost(near, far, routers)
        back = self._lost(far, near, routers)
        return Leg(node, words, there or back, hops, node_broken=there)

    def _lost(self, near: str, far: str, routers: int) -> str:
        """Why packets of a node do not come to the pods of another one; empty when they do."""
        if self._fabric:
            return self._unknown(near, far)
        if self._cipher:
            return f"{near} leaves {far} to WireGuard, and has no other route to its blocks"
        why = self._untold(near, far)
        if not why and routers:
            why = (
                f"{near} has heard of the blocks of {far} and sends to its router, which has not, "
                "since it has no BGP session with the nodes"
            )
        return why

    def _untold(self, near: str, far: str) -> str:
        """Why a node has no route to the blocks of another one; empty when it has."""
        wires = self.wires.before(Fault("daemon", f"{near}:{self._daemon}"))
        if dead := wires.dead(far, self._daemon):
            return f"{dead}, and {near} has no route to its blocks any more"
        if self._mesh:
            return self._session(wires, near, far)
        if not self._reflectors:
            return f"{near} and {far} have no BGP session: no mesh, no reflector, no router"
        if near in self._reflectors:
            return self._session(wires, near, far)
        found = ""
        for reflector in self._reflectors:
            legs = [(near, reflector)] + [(reflector, far)] * (reflector != far)
            why = next(filter(None, (self._session(wires, *leg) for leg in legs)), "")
            if not why:
                return ""
            found = found or why
        return f"{near} hears nothing of {far} by a reflector: {found}"

    def _session(self, wires: Wires, one: str, other: str) -> str:
        dead = wires.dead(one, self._daemon) or wires.dead(other, self._daemon)
        why = dead or wires.between(one, other)[1]
        return why and f"no BGP session between {one} and {other}: {why}"

    def _rack(self, node: str) -> list[str]:
        """The routers of a node's or outside host's segment."""
        segment = self.wires.segment[node]
        return [router.name for router in self.spec.routers if segment in router.segments]

    def _heard(self, node: str, wires: Wires) -> list[str]:
        """Those of them that it has a session with."""
        dead, dark, segment = wires.dead, wires.dark, wires.segment[node]
        return [r for r in self._rack(node) if not (dead(r, ROUTERS_DAEMON) or dark(r, segment))]

    def _unknown(self, near: str, far: str) -> str:
        """Why the routers have no way to the blocks of a node; empty when they have.

        Where a node hears of no router any more, its default route leads to the first one: that
        one's table decides, and it goes by what it knew when its daemon died.
        """
        wires = self.wires
        if not self._heard(near, wires):
            first, *_ = self._rack(near) or [""]
            if not first or (dark := wires.dark(first, wires.segment[near])):
                return f"{near} has no router: {dark if first else 'none is in its segment'}"
            wires = wires.before(Fault("daemon", f"{first}:{ROUTERS_DAEMON}"))
        if dead := wires.dead(far, self._daemon):
            return f"{dead}, and no router has a route to its blocks any more"
        if self.same_segment(near, far):
            return ""
        silent = [wires.dead(router, ROUTERS_DAEMON) for router in self._rack(far)]
        if all(silent):
            return f"no router says where the blocks of {far} are: {silent[0] if silent else ''}"
        return ""


def _tunnel(network: Network, which: Family) -> str:
    """Empty where there is none."""
    if network.backend == "ipip":
        return "" if which is IPV6 else "tunl0"
    if network.backend == "bgp":
        return ""
    return "vxlan-v6.calico" if which is IPV6 else "vxlan.calico"


def _cipher(network: Network, which: Family) -> str:
    """The device that encrypts; empty where there is none."""
    if which is IPV6:
        return "wg-v6.cali" if network.option("wireguardEnabledV6") else ""
    return "wireguard.cali" if network.option("wireguardEnabled") else ""


def _daemon(which: Family) -> str:
    return "bird6" if which is IPV6 else "bird"
