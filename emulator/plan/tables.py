"""A plan sorted by kind, for those who look at it as a whole."""

from __future__ import annotations

from emulator.plan.ovs import OvsDatapath, OvsVport, OvsVxlan
from emulator.plan.plan import Plan
from emulator.plan.resources import (
    Addr,
    Bridge,
    Cutter,
    Dummy,
    Fdb,
    Geneve,
    Htb,
    Interface,
    Neigh,
    Netem,
    Netns,
    Qdisc,
    Route,
    Sysctl,
    TcClass,
    TcFilter,
    Tun,
    Tunnel,
    Veth,
    Vxlan,
    Wireguard,
    WireguardPeer,
)

End = tuple[str, str]
"""(namespace, interface)."""

_ON_DEVICE = (Neigh, Fdb, WireguardPeer, Cutter, Qdisc, Netem, Htb, TcClass, TcFilter)


class Tables:
    """The plan by kind, keyed by (namespace, interface) where that makes sense."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.namespaces: set[str] = set()
        self.bridges: set[End] = set()
        self.veths: list[Veth] = []
        self.vxlans: list[Vxlan] = []
        self.tunnels: list[Tunnel | Geneve] = []
        self.tuns: set[End] = set()
        self.datapaths: set[End] = set()
        self.vports: list[OvsVxlan | OvsVport] = []
        self.interfaces: dict[End, Interface] = {}
        self.addrs: list[Addr] = []
        self.routes: list[Route] = []
        self.wireguards: list[Wireguard] = []
        self.on_device: list[
            Neigh | Fdb | WireguardPeer | Cutter | Qdisc | Netem | Htb | TcClass | TcFilter
        ] = []
        self.sysctls: list[Sysctl] = []
        for entry in plan:
            r = entry.resource
            if type(r) is Sysctl:
                self.sysctls.append(r)
            elif type(r) is Interface:
                self.interfaces[r.ns, r.name] = r
            elif type(r) is Route:
                self.routes.append(r)
            elif type(r) is Addr:
                self.addrs.append(r)
            elif type(r) is Veth:
                self.veths.append(r)
            elif type(r) is Netns:
                self.namespaces.add(r.ns)
            elif isinstance(r, _ON_DEVICE):
                self.on_device.append(r)
            elif type(r) is Bridge:
                self.bridges.add((r.ns, r.name))
            elif type(r) is Vxlan:
                self.vxlans.append(r)
            elif type(r) is Tunnel or type(r) is Geneve:
                self.tunnels.append(r)
            elif type(r) is Tun or type(r) is Dummy:
                self.tuns.add((r.ns, r.name))
            elif type(r) is Wireguard:
                self.wireguards.append(r)
            elif type(r) is OvsDatapath:
                self.datapaths.add((r.ns, r.name))
            elif type(r) is OvsVxlan or type(r) is OvsVport:
                self.vports.append(r)
        self.devices: set[End] = {(ns, "lo") for ns in self.namespaces} | self.bridges | self.tuns
        for pair in self.veths:
            self.devices.add((pair.ns, pair.name))
            self.devices.add((pair.peer_ns, pair.peer))
        self.devices.update((r.ns, r.name) for r in (*self.vxlans, *self.tunnels, *self.wireguards))
        self.devices |= self.datapaths
        self.devices.update((r.ns, r.name) for r in self.vports if type(r) is OvsVxlan)


class Domains:
    """Which interfaces hear each other's frames: ends of a cable, ports of a bridge."""

    def __init__(self, t: Tables) -> None:
        self._parent: dict[End, End] = {}
        for pair in t.veths:
            self._join((pair.ns, pair.name), (pair.peer_ns, pair.peer))
        for config in t.interfaces.values():
            if config.master:
                self._join((config.ns, config.name), (config.ns, config.master))
        for port in t.vports:
            dev = port.dev if type(port) is OvsVport else port.name  # type: ignore[union-attr]
            self._join((port.ns, dev), (port.ns, port.datapath))

    def of(self, end: End) -> End:
        while (up := self._parent.get(end, end)) != end:
            end = up
        return end

    def _join(self, one: End, other: End) -> None:
        self._parent[self.of(other)] = self.of(one)
