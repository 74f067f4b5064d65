"""Reading the state of namespaces back into the same resources that a plan is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from emulator.plan.ovs import OvsDatapath, OvsVport, OvsVxlan
from emulator.plan.resources import (
    Bridge,
    File,
    Foreign,
    Htb,
    Interface,
    Key,
    Netns,
    NftTable,
    Resource,
    Sysctl,
    Tun,
    Vxlan,
    Wireguard,
    WireguardPeer,
)
from emulator.plan.xfrm import XfrmSa, XfrmState
from emulator.secrets import Secrets, words
from emulator.substrate import (
    decode,
    encode,
    ethtool,
    fou,
    htb,
    nft,
    rtnl,
    shaper,
    tun,
    tunnel,
    wireguard,
    xfrm,
)
from emulator.substrate.namespaces import Namespaces
from emulator.substrate.netlink import Netlink, attr_u32
from emulator.substrate.pairs import pairs
from emulator.substrate.sysctl import Sysctls

_OVS = "openvswitch"


class Observer:
    """Observes the namespaces of one lab."""

    def __init__(self, spaces: Namespaces, sysctls: Sysctls, secrets: Secrets) -> None:
        self.spaces = spaces
        self._sysctls = sysctls
        self._secrets = secrets
        self._wireguards = wireguard.Controls(secrets)

    def observe(
        self, known: Iterable[Resource], only: Collection[str] | None = None
    ) -> Iterator[Resource]:
        """Every resource of every namespace, or of ``only`` these.

        ``known`` says which sysctls and files to read, and what keys are called.

        A table of nftables that is one of ``known`` in the words of another version of nft is
        that one.
        """
        known = list(known)
        asked: dict[str, list[Resource]] = {}
        worded: dict[Key, NftTable] = {}
        keys: list[Resource] = []
        for r in known:
            if type(r) in (Sysctl, File):
                asked.setdefault(r.ns, []).append(r)
            elif type(r) is NftTable:
                worded[r.key] = r
            elif type(r) in (Wireguard, WireguardPeer):
                keys.append(r)
        protected = xfrm.registered()
        secured = {r.key: r for r in known if type(r) is XfrmState or type(r) is XfrmSa}
        veths: dict[str, list[decode.Link]] = {}
        with_ports = fou.present()
        for ns in self.spaces.fds if only is None else only:
            yield Netns(ns)
            socket = self.spaces.socket(ns)
            link_body = encode.ifinfo(0) + attr_u32(
                rtnl.IFLA_EXT_MASK, rtnl.RTEXT_FILTER_SKIP_STATS
            )
            links = list(decode.links(socket.dump(rtnl.RTM_GETLINK, link_body)))
            links = self._taken(socket, links)
            names = {link.number: link.name for link in links}
            for link in links:
                self.spaces.learn(ns, link.name, link.number)
                if link.kind == "veth":
                    veths.setdefault(ns, []).append(link)
                yield from self._observe_link(ns, link, names, socket)
            yield from self._observe_tables(ns, socket, links, names)
            if tunnels := [link.name for link in links if link.kind == "wireguard"]:
                yield from self._wireguards.read(ns, tunnels, keys)
            for (family, name), text in nft.tables().items():
                found = NftTable(ns, family, name, text)
                wanted = worded.get(found.key, found)
                same = wanted.text == text or nft.normal(wanted.text) == text
                yield wanted if same else found
            if protected:
                with self.spaces.other_socket(ns, xfrm.PROTOCOL) as other:
                    yield from xfrm.observe(ns, other, secured, self._secrets.reveal)
            if with_ports:
                yield from fou.ports(ns, with_ports)
            for r in asked.get(ns, ()):
                there = self._observe_asked(r)
                if there is not None:
                    yield there
        yield from pairs(veths, self._numbers)

    @staticmethod
    def _taken(socket: Netlink, links: list[decode.Link]) -> list[decode.Link]:
        """All links but tunnels that came with their module and that nobody has taken."""
        idle = {link.number for link in links if tunnel.born(link)}
        if idle:
            idle -= decode.with_address(socket.dump(rtnl.RTM_GETADDR, bytes(8)))
        return [link for link in links if link.number not in idle]

    def _numbers(self, ns: str, others: Sequence[str]) -> dict[str, int]:
        """The numbers by which ``ns`` knows other namespaces of the lab, those it knows."""
        messages = [encode.namespace_number(self.spaces.fds[other]) for other in others]
        answers = self.spaces.socket(ns).ask(messages)
        found = zip(others, map(decode.namespace_number, answers), strict=True)
        return {other: number for other, number in found if number >= 0}

    def _observe_link(
        self, ns: str, link: decode.Link, names: Mapping[int, str], socket: Netlink
    ) -> Iterator[Resource]:
        master = names.get(link.master, "")
        flows = link.kind == "vxlan" and link.slave == _OVS
        if link.slave == _OVS and not flows:
            yield OvsVport(ns, link.name, master)
        if link.kind == "bridge":
            yield Bridge(ns, link.name)
        elif link.kind == "openvswitch":
            yield OvsDatapath(ns, link.name)
        elif flows:
            yield OvsVxlan(ns, link.name, master, decode.vxlan_port(link))
        elif link.kind == "vxlan":
            yield _vxlan(ns, link, names)
        elif link.kind == "tun" and link.data.get(rtnl.IFLA_TUN_TYPE) == bytes([tun.IFF_TUN]):
            yield Tun(ns, link.name)
        elif found := tunnel.read(ns, link, names):
            yield found
        elif link.kind not in ("veth", "wireguard") and link.name != "lo":
            yield Foreign(ns, "device", link.name, link.kind or "device")
        yield Interface(
            ns,
            link.name,
            link.up,
            link.mtu,
            link.mac,
            master if link.slave != _OVS else "",
            link.hairpin,
            *ethtool.requested(socket.socket, link.name),
            link.promisc,
        )

    @staticmethod
    def _observe_tables(
        ns: str, socket: Netlink, links: list[decode.Link], names: Mapping[int, str]
    ) -> Iterator[Resource]:
        every = bytes(12)  # no family named: all that there are
        yield from decode.addrs(ns, socket.dump(rtnl.RTM_GETADDR, bytes(8)), names)
        yield from decode.neighbours(ns, socket.dump(rtnl.RTM_GETNEIGH, every), names)
        down = {link.number for link in links if not link.up}
        yield from decode.routes(ns, socket.dump(rtnl.RTM_GETROUTE, every), names, down)
        yield from decode.rules(ns, socket.dump(rtnl.RTM_GETRULE, every))
        vxlans = {link.number: link.name for link in links if link.kind == "vxlan"}
        if vxlans:
            bridge = bytes([rtnl.AF_BRIDGE]) + bytes(11)
            yield from decode.forwarding(ns, socket.dump(rtnl.RTM_GETNEIGH, bridge), vxlans)

        def classes() -> Iterator[tuple[int, bytes]]:
            # a class dump is per interface
            for link in links:
                head = bytes(4) + link.number.to_bytes(4, "little") + bytes(12)
                yield from socket.dump(rtnl.RTM_GETTCLASS, head)

        roots = list(socket.dump(rtnl.RTM_GETQDISC, bytes(20)))
        numbers = {link.name: link.number for link in links}
        for r in shaper.read(ns, roots, classes(), names):
            yield r
            if type(r) is Htb:
                dump = socket.dump(rtnl.RTM_GETTFILTER, htb.filters_of(numbers[r.dev]))
                yield from htb.read_filters(ns, r.dev, dump)

    def _observe_asked(self, r: Resource) -> Resource | None:
        if type(r) is Sysctl:
            value = self._sysctls.read(r.name)
            return None if value is None else r._replace(value=value)
        assert type(r) is File
        try:
            text = self.spaces.file(r.ns, r.path).read_text()
        except FileNotFoundError:
            return None
        return r._replace(text=self._secrets.hide(text, words(r.text)))


def _vxlan(ns: str, link: decode.Link, names: Mapping[int, str]) -> Vxlan:
    data = link.data
    local = data.get(rtnl.IFLA_VXLAN_LOCAL) or data.get(rtnl.IFLA_VXLAN_LOCAL6)
    return Vxlan(
        ns,
        link.name,
        int.from_bytes(data[rtnl.IFLA_VXLAN_ID][:4], "little"),
        names.get(int.from_bytes(data.get(rtnl.IFLA_VXLAN_LINK, b"")[:4], "little"), ""),
        decode.address(local) if local else "",
        decode.vxlan_port(link),
        data.get(rtnl.IFLA_VXLAN_LEARNING, b"\0")[:1] == b"\1",
    )
