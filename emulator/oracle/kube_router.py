"""kube-router: pods on bridges; nodes tell each other by BGP whose pods are where.

Within a subnet they are each other's gateways, and a tunnel leads to any other node; or the fabric
does. A tunnel takes of every packet what its header takes, and pods are not spared for it.
What a node has been told lasts as long as its daemons can hear that it is over. A dead one hears
nothing: what its node knew then, it goes on using.
"""

from __future__ import annotations

from functools import cache

from emulator.family import IPV4, IPV6, Family
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires

IPIP_BYTES = 20
IP6TNL_BYTES = 48
"""IPv6 and the option that limits how often a packet is tunnelled."""
GUE_BYTES = 12
"""UDP and the header of GUE."""


class Model(model.Model):
    """Each node is the gateway to its pods, for those that have heard of them."""

    bridge = "kube-bridge"

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        option = spec.network.option
        self.masquerade = bool(option("enablePodEgress"))
        self._overlay = bool(option("enableOverlay"))
        header = IP6TNL_BYTES if at.family is IPV6 else IPIP_BYTES
        header += GUE_BYTES if option("overlayEncap") == "fou" else 0
        self._tunnel_mtu = spec.links.mtu - header
        self._everywhere = option("overlayType") == "full"
        self._told_routers = bool(option("peerRouters"))
        names = [node.name for node in spec.nodes]
        count = int(option("rrServers"))
        self._reflectors, self._clients = names[:count], names[count:] if count else []
        self._nodes = set(names)
        self._unknown = cache(self._why_unknown)

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """GoBGP, and what stands between it and the kernel."""
        return ("gobgpd", "watcher")

    def by_routers(self, near: str, far: str) -> bool:
        """What neither a route to a neighbour nor a tunnel takes, where routers have been told."""
        if far not in self._nodes:
            return self._told_routers
        return "routers" in (self._way(near, far)[0], self._way(far, near)[0])

    def leg(self, near: str, far: str) -> Leg:
        """Over the segment, by a tunnel, or by routers that have been told; each direction for
        itself."""
        (out, there), (home, back) = self._way(near, far), self._way(far, near)
        routers, cut = self.wires.between(near, far, out == "routers", home == "routers")
        _, node_cut = self.wires.between(near, far, out == "routers", False)
        words, hops, mtu = _WORDS[out].format(near=near, far=far), 2 + routers, 0
        if out == "tunnel":
            hops, mtu = 2, self._tunnel_mtu
        return Leg(self.at.node[near], words, cut or there or back, hops, mtu, node_cut or there)

    def to_node(self, near: str, far: str) -> Leg | None:
        """Pods' packets for a node take the tunnel to it, though its own to theirs need none."""
        out, there = self._way(near, far)
        if out != "tunnel" or there:
            return None
        words = f"{near} sends what its pods have for {far} itself by the tunnel to it"
        cut = self.wires.between(near, far)[1]
        return Leg(self.at.node[near], words, cut, 1, self._tunnel_mtu)

    def _way(self, near: str, far: str) -> tuple[str, str]:
        """By what a node sends to the pods of another one, and why nothing of it arrives or
        empty."""
        same, why = self.same_segment(near, far), self._unknown(near, far)
        tunnel = self._overlay and (self._everywhere or not same)
        if not (tunnel or same) and self._told_routers:
            return "routers", why
        if why and (tunnel or same) and self._router_knows(far):
            return "routers", ""
        return "tunnel" if tunnel else "segment", why

    def _router_knows(self, origin: str) -> bool:
        """Whether the router of a node's segment has died while it still knew the node's pods.

        Who has no route to them any more leaves them to that router.
        """
        if not self._told_routers:
            return False
        segment = self.wires.segment[origin]
        first = next((r.name for r in self.spec.routers if segment in r.segments), "")
        if not self.wires.dead(first, "bird"):
            return False
        then = self.wires.before(Fault("daemon", f"{first}:bird"))
        return not (then.dead(origin, "gobgpd") or then.cut_off(origin))

    def _why_unknown(self, node: str, origin: str) -> str:
        """Why a node has no route to the pods of another one; empty when it has."""
        if not (self._overlay or self.same_segment(node, origin)):
            if self._told_routers:
                dead = self.wires.dead(origin, "gobgpd")
                return f"{dead}, so its routers have forgotten its pods" if dead else ""
            return (
                f"{origin} is in another subnet than {node}, where kube-router leaves the way to "
                "its pods to the fabric, which knows none"
            )
        deaf = [Fault("daemon", f"{node}:{name}") for name in self.daemons(self.spec.network)]
        return _Talk(self.wires.before(*deaf), self._reflectors, self._clients).gap(node, origin)


_WORDS = {
    "segment": "{far} told {near} by BGP that it is the gateway to its pods: two routed hops",
    "tunnel": "{far} told {near} by BGP of its pods, and {near} sends to them by a tunnel to it: "
    "two hops, the underlay's hidden",
    "routers": "{far} told its routers by BGP of its pods, and {near} leaves it to them",
}


class _Talk:
    """Who hears of whom."""

    def __init__(self, wires: Wires, reflectors: list[str], clients: list[str]) -> None:
        self._wires, self._reflectors, self._clients = wires, reflectors, clients

    def gap(self, node: str, origin: str) -> str:
        """Why a node does not hear of the pods of another one; empty when it does."""
        why = self._silence(node, origin)
        if node not in self._clients or not why:
            return why
        # from a reflector, which has it from the other node or, of a client, from its like
        firsts = {one for one in self._reflectors if not self._silence(one, origin)} - {origin}
        chains = {(last, first) for first in firsts for last in self._reflectors}
        for last, first in chains:
            passed = last == first or (origin in self._clients and not self._silence(last, first))
            if passed and not self._silence(node, last):
                return ""
        if origin in self._clients:
            return f"no route reflector tells {node} of the pods of {origin}"
        return why

    def _silence(self, one: str, other: str) -> str:
        """Why there is no session between two nodes."""
        if {one, other} <= set(self._clients):
            return f"{one} and {other} are clients of route reflectors and do not talk"
        for name in (other, one):
            if why := self._wires.dead(name, "gobgpd"):
                return f"{why}, so {one} and {other} have no session"
        if why := self._wires.between(one, other)[1]:
            return f"{why}, so the session of {one} and {other} has run out"
        return ""
