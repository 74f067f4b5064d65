"""kube-router: pods on bridges; nodes of one subnet tell each other by BGP whose pods are where.

What a node has been told lasts as long as its daemons can hear that it is over. A dead one hears
nothing: what its node knew then, it goes on using.
"""

from __future__ import annotations

from functools import cache

from emulator.family import IPV4, Family
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.oracle import model
from emulator.oracle.model import Leg
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.wires import Wires


class Model(model.Model):
    """Each node is the gateway to its pods, for those that have heard of them."""

    bridge = "kube-bridge"

    def __init__(self, spec: ResolvedSpec, at: Addressing, wires: Wires) -> None:
        super().__init__(spec, at, wires)
        option = spec.network.option
        self.masquerade = bool(option("enablePodEgress"))
        self._tunnels = bool(option("enableOverlay"))
        self._everywhere = option("overlayType") == "full"
        self._told_routers = self.by_routers = bool(option("peerRouters"))
        names = [node.name for node in spec.nodes]
        count = int(option("rrServers"))
        self._reflectors, self._clients = names[:count], names[count:] if count else []
        self._unknown = cache(self._why_unknown)

    @classmethod
    def daemons(cls, network: Network, which: Family = IPV4) -> tuple[str, ...]:
        """GoBGP, and what stands between it and the kernel."""
        return ("gobgpd", "watcher")

    def leg(self, near: str, far: str) -> Leg:
        """Over the segment, or by routers that have been told; each direction for itself."""
        there, back = self._unknown(near, far), self._unknown(far, near)
        node = self.at.node[near]
        words = f"{far} told {near} by BGP that it is the gateway to its pods: two routed hops"
        same = self.same_segment(near, far)
        out = home = self._told_routers and not same
        if same and there and self._router_knows(far):
            out, there = True, ""
        if same and back and self._router_knows(near):
            home, back = True, ""
        if out:
            words = f"{far} told its routers by BGP of its pods, and {near} leaves it to them"
        routers, cut = self.wires.between(near, far, out, home)
        _, node_cut = self.wires.between(near, far, out, False)
        return Leg(node, words, cut or there or back, 2 + routers, node_broken=node_cut or there)

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
        if self._tunnels and (self._everywhere or not self.same_segment(node, origin)):
            return f"kube-router would reach {origin} from {node} by a tunnel"
        if not self.same_segment(node, origin):
            if self._told_routers:
                dead = self.wires.dead(origin, "gobgpd")
                return f"{dead}, so its routers have forgotten its pods" if dead else ""
            return (
                f"{origin} is in another subnet than {node}, where kube-router leaves the way to "
                "its pods to the fabric, which knows none"
            )
        deaf = [Fault("daemon", f"{node}:{name}") for name in self.daemons(self.spec.network)]
        return _Talk(self.wires.before(*deaf), self._reflectors, self._clients).gap(node, origin)


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
