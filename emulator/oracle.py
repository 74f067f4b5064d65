"""What the network model should show: a prediction that knows nothing of the plan.

The oracle reasons from the resolved spec, the addresses and the faults alone: who stands
on which bridge, which hops route, who rewrites a source. It never sees a route, a rule
or a device of the compiler, so that an error there cannot hide here.

Two rules of flannel differ between its iptables and its nftables form: the comparison of
the mark, and whether a node's packets to remote pods are masqueraded. Neither changes a
value here (probes are unmarked; the node's packets already carry the address that
masquerading would give), so only the reason differs.

(Over 300 lines: what is asked and what is expected of it; a family of plugins more, and each
gets a room of its own.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Literal, NamedTuple

from emulator.faults import BRIDGES, Fault
from emulator.ipam import Addressing
from emulator.spec.resolved import ResolvedSpec
from emulator.wires import Wires

Kind = Literal[
    "pod-pod", "node-own-pod", "node-remote-pod", "pod-own-node", "pod-remote-node", "pod-host"
]
Outcome = Literal["delivered", "lost", "refused", "not-probed"]

FIRST_TTL = 64
VXLAN_BYTES = 50
GATEWAY = "169.254.1.1"
"""What Calico's pods take for their gateway."""
LARGEST_PACKET = 65_535
"""An IPv4 packet cannot be longer, though the device's MTU is one byte more."""


class Probe(NamedTuple):
    """A datagram from ``client`` to ``address``, meant for ``server`` (names in the lab)."""

    kind: Kind
    client: str
    server: str
    address: str

    def __str__(self) -> str:
        words = self.kind.split("-")
        return f"{words[0]} {self.client} -> {words[-1]} {self.server}"


class Expectation(NamedTuple):
    """What a probe should find.

    ``by`` is the network namespace that answers: the pod's, or the node's for a
    hostNetwork pod. ``source`` is the client's address as the server sees it, ``own`` as
    the client does; ``ttl`` is what is left at the server of 64, ``mtu`` the largest IP
    packet that passes, in bytes. They are empty and zero unless the outcome is
    ``delivered``. ``reason`` is a sentence.
    """

    outcome: Outcome
    by: str
    source: str
    own: str
    ttl: int
    mtu: int
    reason: str


Matrix = dict[Probe, Expectation]


class Leg(NamedTuple):
    """The way of packets between two nodes, both directions.

    The packet itself meets no router of the underlay: it is tunnelled, or the nodes share
    a segment. ``source`` is what the first node takes as its own address on that way;
    ``broken`` says why nothing passes, or is empty.
    """

    source: str
    words: str
    broken: str


def probes(spec: ResolvedSpec, addressing: Addressing) -> Iterator[Probe]:
    """Every probe of the network model: n·(n-1) pod pairs, pods and nodes, pods and hosts.

    Between a node and a hostNetwork pod there is nothing to probe that the pairs of pods
    do not hold.
    """
    own = [p for p in spec.pods if not p.host_network]
    bridged = bool(BRIDGES.get(spec.network.plugin))
    named = [(p.id, addressing.pod[p.id]) for p in spec.pods]
    for client, _ in named:
        for server, address in named:
            if client != server:
                yield Probe("pod-pod", client, server, address)
    for pod in own:
        address = addressing.pod[pod.id]
        for node in spec.nodes:
            if node.name == pod.node:
                here = (addressing.gateway if bridged else addressing.node)[node.name]
                yield Probe("node-own-pod", node.name, pod.id, address)
                yield Probe("pod-own-node", pod.id, node.name, here)
            else:
                yield Probe("node-remote-pod", node.name, pod.id, address)
                yield Probe("pod-remote-node", pod.id, node.name, addressing.node[node.name])
    for pod in spec.pods:
        for host in spec.hosts:
            yield Probe("pod-host", pod.id, host.name, addressing.host[host.name])


def predict(
    spec: ResolvedSpec,
    addressing: Addressing,
    faults: Iterable[Fault] = (),
    among: Iterable[Probe] | None = None,
) -> Matrix:
    """The expectation of every probe, or of those ``among`` them that are asked for."""
    oracle = Oracle(spec, addressing, faults)
    wanted = probes(spec, addressing) if among is None else among
    return {probe: oracle.expect(probe) for probe in wanted}


class Oracle:
    """Answers for one spec under one set of faults. Knows plugins none, host, flannel, canal.

    ValueError for another plugin.
    """

    def __init__(
        self, spec: ResolvedSpec, addressing: Addressing, faults: Iterable[Fault] = ()
    ) -> None:
        plugin = spec.network.plugin
        if plugin not in BRIDGES:
            raise ValueError(f"no predictions for plugin {plugin}")
        options = dict(spec.network.options)
        self._plugin = plugin
        self._backend = spec.network.backend
        self._direct = bool(options.get("directRouting", False))
        flannel = plugin in ("flannel", "canal")
        self._bridge = BRIDGES[plugin]
        self._routed = plugin == "canal"
        self._masquerade = flannel and bool(options.get("ipMasq", True))
        self._rules = "nftables" if options.get("enableNFTables", False) else "iptables"
        self._tunnel = f"flannel.{options.get('vni', 1)}"
        self._mtu = spec.links.mtu
        over = VXLAN_BYTES if flannel and self._backend == "vxlan" else 0
        self._pod_mtu = spec.links.mtu - over

        self._at = addressing
        self._wires = Wires(spec, faults)
        self._hosts = {h.name for h in spec.hosts}
        self._home = {p.id: p.node for p in spec.pods} | {n.name: n.name for n in spec.nodes}
        """The node of a pod, and a node's own name."""
        self._own = {p.id for p in spec.pods if not p.host_network}
        """Pods with a network namespace of their own."""
        self._holder = {(p.node, addressing.pod[p.id]): p.id for p in spec.pods[::-1]}
        silent = dict(self._without_gateway(spec)) if self._routed else {}
        self._cut = {
            pod: self._wires.cut_off(pod) or silent.get(self._home[pod], "") for pod in self._own
        }
        self._leg = cache(self._find_leg)

    def _without_gateway(self, spec: ResolvedSpec) -> Iterator[tuple[str, str]]:
        """Nodes whose pods find no gateway, and why: a default route of the node must lead away
        from them, or the kernel answers no ARP in its place."""
        with_router = {segment for router in spec.routers for segment in router.segments}
        for node in spec.nodes:
            why = self._wires.down(node.name, node.interface)
            if node.segment not in with_router:
                why = f"no router stands on {node.segment}"
            if why:
                yield (
                    node.name,
                    f"{why}, so {node.name} has no default route, and without one proxy ARP does "
                    f"not answer for {GATEWAY}, the gateway of its pods",
                )

    def expect(self, probe: Probe) -> Expectation:
        """The expectation of one probe. KeyError for a name that the spec does not have."""
        client, server = probe.client, probe.server
        if server in self._hosts:
            return self._to_outside(client, server)
        if server not in self._own:
            return self._to_node(client, self._home[server])
        if self._plugin != "none":
            return self._to_pod(client, server)
        return self._to_whoever_holds(client, server, probe.address)

    def _to_pod(self, client: str, server: str) -> Expectation:
        near, far = self._home[client], self._home[server]
        is_pod = client in self._own
        broken = (self._cut[client] if is_pod else "") or self._cut[server]
        source = self._at.pod[client] if is_pod else self._here(near)
        bridge = self._bridge
        hops = 0
        if near == far:
            broken = broken or self._wires.down(near, bridge)
            if is_pod and self._routed:
                hops, words = 1, f"{near} routes between its pods: one hop, no rewriting"
            elif is_pod:
                words = f"both are ports of {bridge} on {near}: bridged, no hop, no rewriting"
            elif self._routed:
                words = f"{near} has no address towards its pods and speaks as itself"
            else:
                words = f"{near} stands on {bridge} as the gateway of its pods and speaks as it"
        else:
            leg = self._leg(near, far)
            broken = broken or self._wires.down(far, bridge) or leg.broken
            if is_pod:
                broken = broken or self._wires.down(near, bridge)
                hops, words = 2, leg.words
            else:
                hops, source = 1, leg.source
                words = f"{leg.words}; {near} takes the address of the device that it leaves by"
                if leg.source == self._at.node[near] and self._masquerade:
                    words += (
                        ", and masquerading gives the same"
                        if self._rules == "iptables"
                        else ", and the nftables rules leave it alone"
                    )
        if broken:
            return _lost(broken)
        ttl = FIRST_TTL - hops
        return Expectation("delivered", server, source, source, ttl, self._pod_mtu, words)

    def _here(self, node: str) -> str:
        """A node's address as its own pods see it."""
        return (self._at.gateway if self._bridge else self._at.node)[node]

    def _to_node(self, client: str, node: str) -> Expectation:
        near = self._home[client]
        is_pod = client in self._own
        if near == node:
            if not is_pod:
                shared = f"{client} lives in the network of {node}: there is nothing between them"
                return Expectation("not-probed", "", "", "", 0, 0, shared)
            where = f"is the gateway on {self._bridge}" if self._bridge else "routes for its pods"
            words = f"{node} {where}: local delivery, before any masquerading"
            return self._from_pod(client, node, self._at.pod[client], 0, "", words)
        routers, broken = self._wires.between(near, node)
        if not is_pod:
            return self._underlay(near, node, routers, broken)
        if self._masquerade:
            words = f"{node}'s address is no pod's, so {near} masquerades it with its own address"
            return self._from_pod(client, node, self._at.node[near], 1 + routers, broken, words)
        back = self._leg(node, near)
        if not broken and back.broken:
            broken = f"{node} gets it, but the answer finds no way: {back.broken}"
        words = f"nothing masquerades, and {node} has a route back to the pods of {near}"
        return self._from_pod(client, node, self._at.pod[client], 1 + routers, broken, words)

    def _to_outside(self, client: str, host: str) -> Expectation:
        near = self._home[client]
        routers, broken = self._wires.between(near, host)
        if client not in self._own:
            return self._underlay(near, host, routers, broken)
        if not self._masquerade and not broken:
            address = self._at.pod[client]
            broken = f"{host} sees {address}, a pod address, and knows no route back to it"
        words = f"it leaves the pod network, so {near} masquerades it with its own address"
        return self._from_pod(client, host, self._at.node[near], 1 + routers, broken, words)

    def _to_whoever_holds(self, client: str, server: str, address: str) -> Expectation:
        """Without a pod network an address means whoever holds it on the client's node."""
        near = self._home[client]
        if client in self._own and address == self._at.pod[client]:
            words = "" if client == server else f", and {server} has the same one on its own node"
            words = f"{address} is {client}'s own address{words}: it talks to itself"
            ttl = FIRST_TTL
            return Expectation("delivered", client, address, address, ttl, LARGEST_PACKET, words)
        holder = self._holder.get((near, address))
        if holder is None:
            return _lost(f"nobody on the bridge of {near} has {address}: no answer to ARP")
        found = self._to_pod(client, holder)
        if holder == server or found.outcome != "delivered":
            return found
        return found._replace(
            reason=f"{holder} holds {address} on the bridge of {near}; {server}, which was "
            f"meant, has the same address on {self._home[server]}"
        )

    def _from_pod(
        self, client: str, by: str, source: str, hops: int, broken: str, words: str
    ) -> Expectation:
        broken = self._cut[client] or self._wires.down(self._home[client], self._bridge) or broken
        if broken:
            return _lost(broken)
        own, ttl = self._at.pod[client], FIRST_TTL - hops
        return Expectation("delivered", by, source, own, ttl, self._pod_mtu, words)

    def _underlay(self, near: str, far: str, routers: int, broken: str) -> Expectation:
        if broken:
            return _lost(broken)
        passing = f" through {routers} router{'s'[: routers > 1]}" if routers else ""
        words = f"underlay only{passing}: {near} speaks as itself"
        own, ttl = self._at.node[near], FIRST_TTL - routers
        return Expectation("delivered", far, own, own, ttl, self._mtu, words)

    def _find_leg(self, near: str, far: str) -> Leg:
        """How pods of ``near`` reach pods of ``far``, another node."""
        if self._plugin == "none":
            return Leg("", "", f"nothing joins the pods of {near} to those of {far}")
        _, broken = self._wires.between(near, far)
        same_segment = self._wires.segment[near] == self._wires.segment[far]
        node = self._at.node[near]
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
        broken = (
            self._wires.down(near, self._tunnel) or self._wires.down(far, self._tunnel) or broken
        )
        words = f"{near} and {far} route it through {self._tunnel}: two hops, the underlay's hidden"
        tunnel_address = self._at.node_subnet[near].partition("/")[0]
        return Leg(tunnel_address, words, broken)


def _lost(reason: str) -> Expectation:
    return Expectation("lost", "", "", "", 0, 0, reason)
