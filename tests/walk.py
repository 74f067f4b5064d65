"""A packet's way through a plan, by its routes, neighbours and cables alone: no kernel needed.

It follows all equal paths at once, through tables that rules send it to, and tunnels. Nothing is
rewritten on the way; who answers ARP is whoever holds the address in the layer-2 domain, and a node
for the gateway of pods that have no bridge, or by proxy ARP for whatever it has a route to by
another interface.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from emulator.plan import Plan
from emulator.plan.resources import (
    Addr,
    Fdb,
    Hop,
    Interface,
    Neigh,
    Route,
    Rule,
    Sysctl,
    Tunnel,
    Veth,
    Vxlan,
    WireguardPeer,
)

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
        self._in_ip: set[End] = set()
        self._far: dict[End, Tunnel] = {}
        self._peers: dict[End, list[WireguardPeer]] = defaultdict(list)
        self._rules: dict[str, list[Rule]] = defaultdict(list)
        self._answering: set[str] = set()
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
            elif type(r) is Tunnel:
                self._in_ip |= set() if r.remote else {(r.ns, r.name)}
                self._far |= {(r.ns, r.name): r} if r.remote else {}
            elif type(r) is WireguardPeer:
                self._peers[r.ns, r.dev].append(r)
            elif type(r) is Rule:
                self._rules[r.ns].append(r)
            elif type(r) is Sysctl and r[1:3] == ("net/ipv4/conf/all/proxy_arp", "1"):
                self._answering.add(r.ns)

    def ends(
        self, ns: str, address: str, ttl: int = 64, source: str = "", marked: bool = False
    ) -> set[tuple[str, int]]:
        """Where packets from ``ns`` to an address can end, with the TTL left; LOST among them.

        ``source``: their own address, of which rules ask; ``marked``: WireGuard has made them.
        """
        if ttl < 50:
            return {LOST}
        if address in self._addrs[ns]:
            return {(ns, ttl)}
        found: set[tuple[str, int]] = set()
        for hop in self._hops(ns, address, source, marked):
            if not self._carrier((ns, hop.dev)):
                continue
            for there in self._across(ns, hop.dev, hop.via or address):
                local = address in self._addrs[there]
                found |= self.ends(there, address, ttl - (not local), source) if there else {LOST}
        return found or {LOST}

    def _hops(
        self, ns: str, address: str, source: str = "", marked: bool = False
    ) -> tuple[Hop, ...]:
        number = ip_address(address)
        for table in self._tables(ns, number.version, source, marked):
            fitting = [
                (-net.prefixlen, route.metric, index)
                for index, (net, route) in enumerate(self._routes[ns])
                if route.table == table and number in net and self._usable(route)
            ]
            if fitting:
                route = self._routes[ns][min(fitting)[2]][1]
                if route.type == "throw":
                    continue
                return route.next_hops if route.type == "unicast" else ()
        return ()

    def _tables(self, ns: str, version: int, source: str, marked: bool) -> Iterator[int]:
        """The tables that are asked, main the last one."""
        for rule in sorted(self._rules[ns], key=lambda rule: rule.priority):
            of = rule.selector.removeprefix("from ")
            if of.startswith("not from all fwmark"):
                asked = not marked
            else:
                asked = of == "all" or bool(source and ip_address(source) in ip_network(of))
            if asked and rule.family == ("ip" if version == 4 else "ip6"):
                yield rule.table
        yield 254

    def _usable(self, route: Route) -> bool:
        return route.type != "unicast" or any(
            (route.ns, hop.dev) in self._up for hop in route.next_hops
        )

    def _carrier(self, end: End) -> bool:
        peer = self._peer.get(end)
        return end in self._up and (peer is None or peer in self._up)

    def _across(self, ns: str, dev: str, target: str) -> Iterator[str]:
        """The namespaces that answer for an address beyond a device; empty text if none does."""
        if (ns, dev) in self._tunnels | self._in_ip:
            mac = self._neighbours.get((ns, dev, target), "")
            far = self._behind.get((ns, dev, mac), "")
            if (ns, dev) in self._in_ip:  # the gateway is the other end
                far = target
            for there, _ in self.ends(ns, far) if far else {LOST}:
                yield there if (there, dev) in self._up else ""
            return
        if peers := self._peers.get((ns, dev)):
            number = ip_address(target)
            for peer in peers:
                if any(number in ip_network(prefix) for prefix in peer.allowed_ips):
                    host = peer.endpoint.rpartition(":")[0].strip("[]")
                    for there, _ in self.ends(ns, host, marked=True):
                        yield there if (there, dev) in self._up else ""
            return
        if tunnel := self._far.get((ns, dev)):
            for there, _ in self.ends(ns, tunnel.remote, source=tunnel.local):
                yield there if self._takes_in(there, tunnel) else ""
            return
        found = [there for there in self._domain((ns, dev), set()) if self._answers(there, target)]
        yield from [there for there, _ in found] or [""]

    def _takes_in(self, there: str, tunnel: Tunnel) -> bool:
        """Whether a namespace has the other end of a tunnel, and it is up."""
        return any(
            (other.local, other.remote) == (tunnel.remote, tunnel.local) and end in self._up
            for end, other in self._far.items()
            if end[0] == there
        )

    def _domain(self, end: End, seen: set[End]) -> Iterator[End]:
        if end in self._ports:
            yield from self._beyond(end, "", seen)
            return
        peer = self._peer.get(end)
        if peer is None or peer in seen or end not in self._up or peer not in self._up:
            return
        seen |= {end, peer}
        master = self._master.get(peer)
        if master is None:
            yield peer
            return
        if (peer[0], master) in self._up:
            yield peer[0], master
            yield from self._beyond((peer[0], master), peer[1], seen)

    def _beyond(self, bridge: End, entered: str, seen: set[End]) -> Iterator[End]:
        """Behind the other ports of a bridge."""
        for port in self._ports[bridge]:
            if port != entered and (bridge[0], port) in self._up:
                yield from self._domain((bridge[0], port), seen)

    def _answers(self, there: End, target: str) -> bool:
        if target in self._addrs[there[0]]:
            return True
        alone = target == GATEWAY and there[1].startswith("cali")
        if not alone and there[0] not in self._answering:
            return False
        return any(hop.dev != there[1] for hop in self._hops(there[0], target))
