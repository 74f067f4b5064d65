"""A packet's way through a plan, by its routes, neighbours and cables alone: no kernel needed.

It follows all equal paths at once. Nothing is rewritten on the way; who answers ARP is whoever
holds the address in the layer-2 domain, and a node for the gateway of pods that have no bridge
(where it has a default route, as proxy ARP needs it).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from emulator.plan import Plan
from emulator.plan.resources import Addr, Fdb, Hop, Interface, Neigh, Route, Veth, Vxlan

GATEWAY = "169.254.1.1"
LOST: tuple[str, int] = ("", 0)

End = tuple[str, str]
Prefix = IPv4Network | IPv6Network


class Walk:
    """The ways of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._addrs: dict[str, dict[str, list[Prefix]]] = defaultdict(dict)
        self._up: set[End] = set()
        self._ports: dict[End, list[str]] = defaultdict(list)
        self._master: dict[End, str] = {}
        self._peer: dict[End, End] = {}
        self._routes: dict[str, list[tuple[Prefix, Route]]] = defaultdict(list)
        self._neighbours: dict[tuple[str, str, str], str] = {}
        self._behind: dict[tuple[str, str, str], str] = {}
        self._tunnels: set[End] = set()
        for r in (entry.resource for entry in plan):
            if type(r) is Addr:
                address = r.address.partition("/")[0]
                networks = self._addrs[r.ns].setdefault(address, [])
                networks.append(ip_network(r.address, strict=False))
                connected = Route(r.ns, str(networks[-1]), "", r.dev, scope="link")
                self._routes[r.ns].append((networks[-1], connected))
            elif type(r) is Interface:
                self._up |= {(r.ns, r.name)} if r.up else set()
                if r.master:
                    self._master[r.ns, r.name] = r.master
                    self._ports[r.ns, r.master].append(r.name)
            elif type(r) is Veth:
                self._peer[r.ns, r.name] = (r.peer_ns, r.peer)
                self._peer[r.peer_ns, r.peer] = (r.ns, r.name)
            elif type(r) is Route:
                dst = "0.0.0.0/0" if r.dst == "default" else r.dst
                self._routes[r.ns].append((ip_network(dst), r))
            elif type(r) is Neigh:
                self._neighbours[r.ns, r.dev, r.address] = r.lladdr
            elif type(r) is Fdb:
                self._behind[r.ns, r.dev, r.lladdr] = r.dst
            elif type(r) is Vxlan:
                self._tunnels.add((r.ns, r.name))

    def ends(self, ns: str, address: str, ttl: int = 64) -> set[tuple[str, int]]:
        """Where packets from ``ns`` to an address can end, with the TTL left; LOST among them."""
        if ttl < 50:
            return {LOST}
        if address in self._addrs[ns]:
            return {(ns, ttl)}
        found: set[tuple[str, int]] = set()
        for hop in self._hops(ns, address):
            if not self._carrier((ns, hop.dev)):
                continue
            for there in self._across(ns, hop.dev, hop.via or address):
                local = address in self._addrs[there]
                found |= self.ends(there, address, ttl - (not local)) if there else {LOST}
        return found or {LOST}

    def _hops(self, ns: str, address: str) -> tuple[Hop, ...]:
        number = ip_address(address)
        fitting = [
            (-net.prefixlen, route.metric, index)
            for index, (net, route) in enumerate(self._routes[ns])
            if number in net and self._usable(route)
        ]
        if not fitting:
            return ()
        route = self._routes[ns][min(fitting)[2]][1]
        if route.type != "unicast":
            return ()
        return route.next_hops

    def _usable(self, route: Route) -> bool:
        return route.type != "unicast" or any(
            (route.ns, hop.dev) in self._up for hop in route.next_hops
        )

    def _carrier(self, end: End) -> bool:
        peer = self._peer.get(end)
        return end in self._up and (peer is None or peer in self._up)

    def _across(self, ns: str, dev: str, target: str) -> Iterator[str]:
        """The namespaces that answer for an address beyond a device; empty text if none does."""
        if (ns, dev) in self._tunnels:
            mac = self._neighbours.get((ns, dev, target), "")
            far = self._behind.get((ns, dev, mac), "")
            for there, _ in self.ends(ns, far) if far else {LOST}:
                yield there if (there, dev) in self._up else ""
            return
        found = [there for there in self._domain((ns, dev), set()) if self._answers(there, target)]
        yield from [there for there, _ in found] or [""]

    def _domain(self, end: End, seen: set[End]) -> Iterator[End]:
        peer = self._peer.get(end)
        if peer is None or peer in seen or end not in self._up or peer not in self._up:
            return
        seen |= {end, peer}
        master = self._master.get(peer)
        if master is None:
            yield peer
            return
        for port in self._ports[peer[0], master]:
            if port != peer[1] and (peer[0], port) in self._up:
                yield from self._domain((peer[0], port), seen)

    def _answers(self, there: End, target: str) -> bool:
        if target in self._addrs[there[0]]:
            return True
        if target != GATEWAY or not there[1].startswith("cali"):
            return False
        return any(hop.dev != there[1] for hop in self._hops(there[0], target))
