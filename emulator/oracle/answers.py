"""Every probe of the network model, and the expectation of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from emulator.family import IPV4, family
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.oracle.asked import Expectation, Matrix, Probe
from emulator.oracle.chance import Chances
from emulator.oracle.model import model
from emulator.spec.resolved import ResolvedSpec
from emulator.wires import Wires

FIRST_TTL = 64
LARGEST_PACKET = 65_535
"""An IPv4 packet cannot be longer, though the device's MTU is one byte more."""


def probes(spec: ResolvedSpec, addressing: Addressing) -> Iterator[Probe]:
    """Every probe of the network model: n·(n-1) pod pairs, pods and nodes, pods and hosts, each
    in every family.

    Between a node and a hostNetwork pod there is nothing to probe that the pairs of pods
    do not hold.
    """
    for at in addressing.families:
        yield from _probes(spec, at)


def _probes(spec: ResolvedSpec, addressing: Addressing) -> Iterator[Probe]:
    own = [p for p in spec.pods if not p.host_network]
    bridged = bool(model(spec.network.plugin).bridge_of(spec.network))
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
    standing = tuple(faults)
    oracles = {at.family: Oracle(spec, at, standing) for at in addressing.families}
    wanted = probes(spec, addressing) if among is None else among
    return {probe: oracles[family(probe.address)].expect(probe) for probe in wanted}


class Oracle:
    """Answers for one spec in one family under one set of faults.

    ValueError for an unknown plugin.
    """

    def __init__(
        self, spec: ResolvedSpec, addressing: Addressing, faults: Iterable[Fault] = ()
    ) -> None:
        self._plugin = spec.network.plugin
        self._mtu = spec.links.mtu
        self._at = addressing
        found = model(self._plugin)
        listener, *_ = (*found.daemons(spec.network, addressing.family), "bird")
        self._wires = Wires(spec, faults, listener)
        self._model = found(spec, addressing, self._wires)
        self._uplink = {n.name: n.interface for n in spec.nodes}
        self._hosts = {h.name for h in spec.hosts}
        self._home = {p.id: p.node for p in spec.pods} | {n.name: n.name for n in spec.nodes}
        """The node of a pod, and a node's own name."""
        self._own = {p.id for p in spec.pods if not p.host_network}
        """Pods with a network namespace of their own."""
        self._holder = {(p.node, addressing.pod[p.id]): p.id for p in spec.pods[::-1]}
        self._cut_off = cache(self._model.cut_off)
        self._cable = {pod: self._wires.cut_off(pod) for pod in self._own}
        self._leg = cache(self._model.leg)
        self._doubt = cache(Chances(spec).doubt)

    def expect(self, probe: Probe) -> Expectation:
        """The expectation of one probe. KeyError for a name that the spec does not have."""
        found = self._expect(probe)
        near, far = self._home[probe.client], self._home.get(found.by, found.by)
        if found.outcome != "delivered" or near == far:
            return found
        by_routers = self._model.by_routers(near, far)
        to_pod = by_routers and probe.server in self._own
        own = probe.client in self._own and found.source == self._at.pod[probe.client]
        doubt = self._wires.doubt(near, far, to_pod, by_routers and own)
        if not doubt and (chance := self._doubt(near, far)):
            return found._replace(outcome="by-chance", reason=chance)
        return found._replace(outcome="by-hash", reason=doubt) if doubt else found

    def _expect(self, probe: Probe) -> Expectation:
        client, server = probe.client, probe.server
        if not probe.address:
            words = f"{server} has no IPv4 address that anybody knows of"
            return Expectation("not-probed", "", "", "", 0, 0, words)
        if self._model.unknown and (client in self._own or server in self._own):
            return Expectation("not-predicted", "", "", "", 0, 0, self._model.unknown)
        if server in self._hosts:
            return self._to_outside(client, server)
        if server not in self._own:
            return self._to_node(client, self._home[server], probe.address)
        if self._model.everywhere_the_same:
            return self._to_whoever_holds(client, server, probe.address)
        return self._to_pod(client, server)

    def _to_pod(self, client: str, server: str) -> Expectation:
        near, far = self._home[client], self._home[server]
        is_pod = client in self._own
        broken = self._cut(client) if is_pod else ""
        broken = broken or self._cut(server)
        pod_mtu, bridge = self._model.pod_mtu, self._model.bridge
        source = self._at.pod[client] if is_pod else self._model.here(near)
        hops, mtu = 0, pod_mtu
        if near == far:
            if is_pod and self._model.routed:
                hops, words = 1, f"{near} routes between its pods: one hop, no rewriting"
            elif is_pod:
                words = f"both are ports of {bridge} on {near}: bridged, no hop, no rewriting"
            elif self._model.routed and source == self._at.gateway.get(near):
                words = (
                    f"{near} is the gateway of its pods on each of their cables, and speaks as it"
                )
            elif self._model.routed:
                words = f"{near} has no address towards its pods and speaks as "
                own = source == self._at.node[near]
                words += "itself" if own else f"{source}, which suits them better than its own"
            else:
                words = f"{near} stands on {bridge} as the gateway of its pods and speaks as it"
        else:
            pods = (source if is_pod else "", self._at.pod[server])
            leg = self._model.leg_of(self._leg(near, far), near, far, *pods)
            broken = broken or (leg.broken if is_pod else leg.from_node)
            hops, words, mtu = leg.hops, leg.words, min(leg.mtu or pod_mtu, pod_mtu)
            if not is_pod:
                hops, source = max(0, hops - 1), leg.source
                words += f"; {near} takes the address of the device that it leaves by"
                if leg.source == self._at.node[near]:
                    words += self._model.also_outside(near)
        if broken:
            return _lost(broken)
        ttl = FIRST_TTL - hops
        return Expectation("delivered", server, source, source, ttl, mtu, words)

    def _cut(self, pod: str) -> str:
        """Why nothing passes between a pod and its node; empty when all is well."""
        return self._cable[pod] or self._cut_off(self._home[pod])

    def _to_node(self, client: str, node: str, address: str) -> Expectation:
        near = self._home[client]
        is_pod = client in self._own
        if near == node:
            if not is_pod:
                shared = f"{client} lives in the network of {node}: there is nothing between them"
                return Expectation("not-probed", "", "", "", 0, 0, shared)
            bridge = self._model.bridge
            where = f"is the gateway on {bridge}" if bridge else "routes for its pods"
            words = f"{node} {where}: local delivery, before any masquerading"
            gone = self._gone(node) if address == self._at.node[node] else ""
            return self._from_pod(client, node, self._at.pod[client], 0, gone, words)
        routers, broken = self._wires.between(near, node)
        if not is_pod:
            return self._underlay(near, node, routers, broken)
        if self._model.hides_from_node(node):
            words = f"{node}'s address is no pod's, so {near} masquerades it with its own address"
            return self._from_pod(client, node, self._at.node[near], 1 + routers, broken, words)
        back = self._model.leg_of(self._leg(node, near), node, near, "", self._at.pod[client])
        way = self._model.to_node(near, node)
        lost = back.from_node if way is None or way.node_broken is None else way.node_broken
        if not broken and lost:
            broken = f"{node} gets it, but the answer finds no way: {lost}"
        words = f"nothing masquerades, and {node} has a way back to the pods of {near}"
        hops, mtu = 1 + routers, 0
        if way:
            broken, hops, mtu = broken or way.broken, way.hops, way.mtu
            words = f"{way.words}; {words}"
        return self._from_pod(client, node, self._at.pod[client], hops, broken, words, mtu)

    def _gone(self, node: str) -> str:
        """Why a node has no address on its uplink any more; empty when it has."""
        if self._at.family is IPV4:
            return ""  # which stays on an interface that is down
        down = self._wires.down(node, self._uplink[node])
        return f"{down}, and the addresses of IPv6 with it" if down else ""

    def _to_outside(self, client: str, host: str) -> Expectation:
        near = self._home[client]
        routers, broken = self._wires.between(near, host)
        if client not in self._own:
            return self._underlay(near, host, routers, broken)
        if not self._model.hides_from_host(host):
            own = self._at.pod[client]
            broken = broken or self._model.back_from_host(host, near, own)
            words = f"nothing masquerades, and {host} has a way back to the pods of {near}"
            return self._from_pod(client, host, own, 1 + routers, broken, words)
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
            asked = "ARP" if self._at.family is IPV4 else "a neighbour solicitation"
            return _lost(f"nobody on the bridge of {near} has {address}: no answer to {asked}")
        found = self._to_pod(client, holder)
        if holder == server or found.outcome != "delivered":
            return found
        return found._replace(
            reason=f"{holder} holds {address} on the bridge of {near}; {server}, which was "
            f"meant, has the same address on {self._home[server]}"
        )

    def _from_pod(
        self,
        client: str,
        by: str,
        source: str,
        hops: int,
        broken: str,
        words: str,
        way_mtu: int = 0,
    ) -> Expectation:
        broken = self._cut(client) or broken
        if broken:
            return _lost(broken)
        own, ttl = self._at.pod[client], FIRST_TTL - hops
        mtu = self._model.pod_mtu
        if by != self._home[client]:  # over the underlay, whatever the pods themselves could send
            mtu = min(mtu, way_mtu or self._mtu)
        return Expectation("delivered", by, source, own, ttl, mtu, words)

    def _underlay(self, near: str, far: str, routers: int, broken: str) -> Expectation:
        if broken:
            return _lost(broken)
        passing = f" through {routers} router{'s'[: routers > 1]}" if routers else ""
        words = f"underlay only{passing}: {near} speaks as itself"
        own, ttl = self._at.node[near], FIRST_TTL - routers
        return Expectation("delivered", far, own, own, ttl, self._mtu, words)


def _lost(reason: str) -> Expectation:
    return Expectation("lost", "", "", "", 0, 0, reason)
