"""A kernel made of dictionaries with the two verbs of the real one, and as strict.

It refuses what the real one refuses, with the same errno, and moves what the real one
moves by itself: cascades of removal, a bridge's MTU, the MTU that a VXLAN device is born
with. Both run the same scenarios (tests/substrate). Where the real one is slow to act it
is as unkind as it can be: the far end of a pair whose namespace was let go stays for good.
(Over 300 lines: each rule of a kernel stands on the state that another one changes.)
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_interface
from typing import TypeVar

from emulator.errors import KernelRefused, Problem
from emulator.family import IPV4, IPV6, LEAST_MTU_B, Family, family
from emulator.plan import Op
from emulator.plan.ovs import OvsDatapath, OvsVport, OvsVxlan
from emulator.plan.resources import (
    BELOW_CUTTER,
    Addr,
    Bridge,
    Cutter,
    Dummy,
    Fdb,
    File,
    Foreign,
    Fou,
    Geneve,
    Htb,
    Interface,
    Key,
    Neigh,
    Netem,
    Netns,
    NftTable,
    Qdisc,
    Resource,
    Route,
    Rule,
    Sysctl,
    TcClass,
    TcFilter,
    Tun,
    Tunnel,
    Veth,
    Vxlan,
    Wireguard,
    WireguardPeer,
    multipath,
    veth,
)
from emulator.plan.resources import BORN as BORN_TUNNELS
from emulator.plan.text import line
from emulator.plan.xfrm import XfrmPolicy, XfrmState

_SHAPERS = (Cutter, Qdisc, Netem, Htb, TcClass, TcFilter)
_ROWS = (Addr, Neigh, Fdb, Route, Rule, *_SHAPERS)

_MADE = (
    *(Bridge, Veth, Vxlan, Tun, Tunnel, Geneve, Dummy, Wireguard),
    *(OvsDatapath, OvsVxlan),
)
"""What is a device."""

BORN = {"accept_ra": "1", "rp_filter": "2", "send_redirects": "1"}
"""Settings of a fresh namespace that are not 0, as on a machine whose distribution is wary."""

_IP_TUNNEL_MOST = 65515
_GENEVE_MOST = 65490
"""The largest MTU of such devices."""

End = tuple[str, str]
T = TypeVar("T", bound=Resource)


@dataclasses.dataclass
class _Device:
    kind: str
    config: Interface
    made: Resource | None = None
    peer: End | None = None
    mtu_asked: bool = False
    mac_asked: bool = False
    """Of a bridge: whether MTU and MAC address were set, or else follow its ports."""


class _Space:
    """One network namespace."""

    def __init__(self, ns: str) -> None:
        self.ns = ns
        self.devices: dict[str, _Device] = {"lo": _Device("lo", Interface(ns, "lo", False, 65536))}
        self.tables: dict[Key, Resource] = {}
        self.sysctls: dict[str, str] = {}

    def load(self, device: str) -> None:
        name = next(name for name, of in BORN_TUNNELS.items() if of == device)
        any_mode = device == "ipip"
        made = Tunnel(
            self.ns,
            name,
            device,  # type: ignore[arg-type]
            pmtudisc=device == "ip6tnl",
            any_mode=any_mode,
        )
        config = Interface(self.ns, name, False, 1480)
        self.devices.setdefault(name, _Device("tunnel", config, made))

    def idle(self, name: str) -> bool:
        """Whether it came with its module, and nobody has taken it."""
        device = self.devices[name]
        addressed = any(type(r) is Addr and r.dev == name for r in self.tables.values())
        born = type(device.made) is Tunnel and device.made.fallback
        return born and not device.config.up and not addressed


class FakeKernel:
    """See the head of this file. ``bridge_filter``: whether br_netfilter is there."""

    def __init__(self, bridge_filter: bool = False) -> None:
        self.spaces: dict[str, _Space] = {}
        self.bridge_filter = bridge_filter
        self.loaded: set[str] = set()
        self._drawn = 0

    # --- what the tests do behind the plan's back --------------------------------------

    def by_hand(self, *resources: Resource) -> None:
        """Somebody adds state of his own; a ``Foreign`` device is a dummy interface."""
        for r in resources:
            space = self.spaces[r.ns]
            if type(r) is Foreign:
                space.devices[r.name] = _Device("foreign", Interface(r.ns, r.name, True, 1500), r)
            else:
                space.tables[r.key] = r

    # --- apply -------------------------------------------------------------------------

    def apply(self, ops: Sequence[Op]) -> None:
        """Carry out operations in the order of the real kernel's room. KernelRefused."""
        for op in ops:
            if op.action == "delete":
                self._delete(op.resource)
        makes = [op for op in ops if op.action != "delete"]
        configs = {(r.ns, r.name): r for op in makes if type(r := op.resource) is Interface}
        for op in makes:
            if type(r := op.resource) is Netns:
                if r.ns in self.spaces:
                    raise _refused(r, errno.EEXIST)
                self.spaces[r.ns] = space = _Space(r.ns)
                for device in self.loaded:
                    space.load(device)
        born: dict[End, Interface] = {}
        for kind in (Bridge, Dummy, Veth, Fou, Vxlan, Tunnel, Geneve, Tun, Wireguard):
            for op in makes:
                if type(op.resource) is kind and op.action == "create":
                    self._create(op.resource, configs, born)
        for kind in (OvsDatapath, OvsVxlan, OvsVport):
            for op in makes:
                if type(op.resource) is kind:
                    self._open_vswitch(op.resource, born)
        rest: dict[str, list[Op]] = {}
        for op in makes:
            rest.setdefault(op.resource.ns, []).append(op)
        for ops_of_one in rest.values():
            self._configure(ops_of_one, born)

    def _configure(self, ops: list[Op], born: Mapping[End, Interface]) -> None:
        for op in ops:
            if type(r := op.resource) is Wireguard:
                self._wireguard(r)
        for op in ops:
            if type(r := op.resource) is WireguardPeer:
                self._peer(r)
        for op in ops:
            if type(r := op.resource) is Interface:
                self._device(r, r.name)
                known = born.get((r.ns, r.name), self.spaces[r.ns].devices[r.name].config)
                made = self._device(r, r.name).made
                if r.name not in BORN_TUNNELS and type(made) not in (OvsDatapath, OvsVxlan):
                    # of a device that was just born MTU and MAC address are taken as given
                    known = known._replace(mtu=r.mtu, mac=r.mac)
                self._interface(r, op.before if type(op.before) is Interface else known)
        for op in ops:
            if type(op.resource) in _ROWS:
                self._row(op)
        for op in ops:
            if type(op.resource) in (XfrmPolicy, XfrmState):
                self._protect(op)
        for op in ops:
            if type(op.resource) is Sysctl:
                self._sysctl(op.resource)
        for op in ops:
            if type(r := op.resource) in (NftTable, File):
                self._space(r).tables[r.key] = r

    def _space(self, r: Resource, ns: str = "") -> _Space:
        found = self.spaces.get(ns or r.ns)
        if found is None:
            raise _refused(r, errno.ENOENT)
        return found

    def _device(self, r: Resource, name: str, number: int = errno.ENODEV) -> _Device:
        found = self._space(r).devices.get(name)
        if found is None:
            raise _refused(r, number)
        return found

    # --- devices -----------------------------------------------------------------------

    def _create(
        self, r: Resource, configs: Mapping[End, Interface], born: dict[End, Interface]
    ) -> None:
        if type(r) is Veth:
            ends: list[End] = [(r.ns, r.name), (r.peer_ns, r.peer)]
            for ns, name in ends:
                self._free(r, ns, name)
            for (ns, name), peer in zip(ends, reversed(ends), strict=True):
                config = self._newborn(r, ns, name, configs, 65535)
                self._space(r, ns).devices[name] = _Device("veth", config, None, peer)
                born[ns, name] = config
            near = ends[1] if (far := configs.get(ends[1])) and far.master else ends[0]
            if (config := configs.get(near)) and config.master:
                self._enslave(config, config.master)
                born[near] = born[near]._replace(master=config.master)
            return
        if type(r) is Fou:
            if r.key in self._space(r).tables:
                raise _refused(r, errno.EADDRINUSE)
            self._space(r).tables[r.key] = r
            return
        if type(r) is Tunnel:
            self._load(r.device)
            if r.fallback:  # which is there, whatever somebody set it to before
                config = self._space(r).devices[r.name].config
                born[r.ns, r.name] = config._replace(up=False, mtu=1480)
                return
        assert isinstance(r, Bridge | Vxlan | Tun | Tunnel | Geneve | Dummy | Wireguard)
        self._free(r, r.ns, r.name)
        config = self._newborn(r, r.ns, r.name, configs, 2**31)
        config = config._replace(mtu=min(config.mtu, _most(r)))
        if type(r) is Tunnel or type(r) is Geneve:
            for device in self._space(r).devices.values():
                made = device.made
                if made and made.kind == r.kind and _both_ends(made) == _both_ends(r):
                    raise _refused(r, errno.EEXIST if type(r) is Tunnel else errno.EBUSY)
        if type(r) is Vxlan:
            parent = self._device(r, r.parent)
            for device in self._space(r).devices.values():
                if type(o := device.made) is Vxlan and _socket(o) == _socket(r):
                    raise _refused(r, errno.EEXIST)
            room = parent.config.mtu - _overhead(r)
            config = config._replace(mtu=min(config.mtu, room))
            if configs.get((r.ns, r.name)) is None:
                config = config._replace(mtu=room)
        asked = bool((given := configs.get((r.ns, r.name))) and given.mac)
        self._space(r).devices[r.name] = _Device(r.kind, config, r, mac_asked=asked)
        born[r.ns, r.name] = config

    def _open_vswitch(self, r: Resource, born: dict[End, Interface]) -> None:
        space = self._space(r)
        if type(r) is OvsVport:
            datapath = self._device(r, r.datapath)
            port = self._device(r, r.dev)
            if datapath.kind != "ovs-datapath" or port.kind == "bridge":
                raise _refused(r, errno.ENODEV if port.kind != "bridge" else errno.EINVAL)
            if r.key in space.tables or port.config.master:
                raise _refused(r, errno.EBUSY if port.config.master else errno.EEXIST)
            space.tables[r.key] = r
            return
        assert isinstance(r, OvsDatapath | OvsVxlan)
        if type(r) is OvsVxlan:
            self._device(r, r.datapath)
            others = (device.made for device in space.devices.values())
            if any(type(o) is OvsVxlan and o.port == r.port for o in others):
                raise _refused(r, errno.EEXIST)
        self._free(r, r.ns, r.name)
        self._drawn += 1
        mac = f"02:ff:ff:ff:ff:{self._drawn % 256:02x}"
        mtu, up = (1500, False) if type(r) is OvsDatapath else (65535, True)
        config = Interface(r.ns, r.name, up, mtu, mac)
        space.devices[r.name] = _Device(r.kind, config, r)
        born[r.ns, r.name] = config

    def _load(self, device: str) -> None:
        """A module brings a device into every namespace, there and still to come."""
        self.loaded.add(device)
        for space in self.spaces.values():
            space.load(device)

    def _free(self, r: Resource, ns: str, name: str) -> None:
        space = self._space(r, ns)
        if len(name) > 15:
            raise _refused(r, errno.ERANGE)
        if name in space.devices:
            raise _refused(r, errno.EEXIST)

    def _newborn(
        self, r: Resource, ns: str, name: str, configs: Mapping[End, Interface], most: int
    ) -> Interface:
        """What creation leaves: MTU and MAC address as asked, everything else by default."""
        config = configs.get((ns, name))
        if config and not 68 <= config.mtu <= most:
            raise _refused(r, errno.EINVAL)
        self._drawn += 1
        no_mac = r.kind in ("tun", "tunnel", "wireguard")
        drawn = "" if no_mac else f"02:ff:ff:ff:ff:{self._drawn % 256:02x}"
        mac = config.mac if config and config.mac else drawn
        gro = r.kind != "veth"
        mtu = 1420 if r.kind == "wireguard" else 1500
        return Interface(ns, name, False, config.mtu if config else mtu, mac, gro=gro)

    def _interface(self, want: Interface, known: Interface) -> None:
        """Do what differs between the value that the sender knows and the wanted one."""
        device = self._device(want, want.name)
        have = device.config
        if want.mtu != known.mtu:
            self._mtu(want, device)
        if want.mac and want.mac != known.mac:
            device.config = device.config._replace(mac=want.mac)
            device.mac_asked = True
            self._drop(want.ns, lambda r: type(r) is Neigh and r.dev == want.name)
        if want.master != known.master:
            device.config = device.config._replace(master="", hairpin=False)
            if have.master:
                self._follow_ports(want.ns, have.master)
            if want.master:
                self._enslave(want, want.master)
        if want.master and want.hairpin != (known.hairpin and want.master == known.master):
            device.config = device.config._replace(hairpin=want.hairpin)
        offloads = {"tso": want.tso, "gso": want.gso, "gro": want.gro, "tx": want.tx}
        device.config = device.config._replace(promisc=want.promisc)
        device.config = device.config._replace(**offloads)
        if want.up and not device.config.up and type(device.made) is Wireguard:
            self._listen(want, device.made)
        if want.up != device.config.up:
            device.config = device.config._replace(up=want.up)
            if not want.up:
                self._flush(want.ns, want.name, IPV4)
                self._ipv6_down(want.ns, want.name)

    def _mtu(self, want: Interface, device: _Device) -> None:
        made = device.made
        most = 65535
        if type(made) is Vxlan:
            most = self._device(want, made.parent).config.mtu - _overhead(made)
        elif made:
            most = _most(made)
        if device.kind != "lo" and not 68 <= want.mtu <= most:
            raise _refused(want, errno.EINVAL)
        device.config = device.config._replace(mtu=want.mtu)
        device.mtu_asked = True
        if want.mtu < LEAST_MTU_B:
            self._ipv6_down(want.ns, want.name, whatever=True)
        if device.config.master:
            self._follow_ports(want.ns, device.config.master)

    def _enslave(self, port: Interface, master: str) -> None:
        space = self._space(port)
        bridge = space.devices.get(master)
        if bridge is None:
            raise _refused(port, errno.EINVAL)
        if bridge.kind != "bridge":
            raise _refused(port, errno.EOPNOTSUPP)
        if sum(d.config.master == master for d in space.devices.values()) >= 1023:
            raise _refused(port, errno.EXFULL)
        device = space.devices[port.name]
        device.config = device.config._replace(master=master)
        self._follow_ports(port.ns, master)

    def _follow_ports(self, ns: str, name: str) -> None:
        bridge = self.spaces[ns].devices.get(name)
        if bridge is None or (bridge.mtu_asked and bridge.mac_asked):
            return
        ports = [d.config for d in self.spaces[ns].devices.values() if d.config.master == name]
        if not bridge.mtu_asked:
            mtu = min((port.mtu for port in ports), default=1500)
            bridge.config = bridge.config._replace(mtu=mtu)
        if not bridge.mac_asked:
            mac = min((port.mac for port in ports), default="")
            bridge.config = bridge.config._replace(mac=mac)

    # --- WireGuard ---------------------------------------------------------------------

    def _wireguard(self, r: Wireguard) -> None:
        device = self._device(r, r.name)
        if device.config.up:
            self._listen(r, r)
        device.made = r
        self._drop(
            r.ns,
            lambda o: type(o) is WireguardPeer and (o.dev, o.public_key) == (r.name, r.public_key),
        )

    def _listen(self, asked: Resource, r: Wireguard) -> None:
        for name, other in self._space(r).devices.items():
            taken = type(o := other.made) is Wireguard and o.port == r.port
            if name != r.name and other.config.up and taken:
                raise _refused(asked, errno.EADDRINUSE)

    def _peer(self, r: WireguardPeer) -> None:
        """Made or changed; a prefix is one peer's, and goes to the last that asks for it. A device
        is no peer of its own."""
        device = self._device(r, r.dev)
        if type(device.made) is not Wireguard:
            raise _refused(r, errno.EOPNOTSUPP)
        if device.made.public_key == r.public_key:
            return
        tables = self._space(r).tables
        for other in self._rows(r.ns, WireguardPeer):
            left = tuple(p for p in other.allowed_ips if p not in r.allowed_ips)
            if other.dev == r.dev and other.public_key != r.public_key:
                tables[other.key] = other._replace(allowed_ips=left)
        tables[r.key] = r

    # --- tables ------------------------------------------------------------------------

    def _row(self, op: Op) -> None:
        r = op.resource
        tables = self._space(r).tables
        if type(r) is Route:
            self._route(r)
            metric = 0 if family(r.dst) is IPV4 else 256
            connected = (r.metric, r.table) == (metric, 254) and r.dst in self._connected(r.ns)
            if op.action == "create" and (r.key in tables or connected):
                raise _refused(r, errno.EEXIST)
        elif type(r) is not Rule:
            device = self._device(r, r.dev)  # type: ignore[union-attr]
            if type(r) is Fdb and device.kind != "vxlan":
                return  # another table than this one, which nobody reads
            if type(r) is Fdb and family(r.dst) is not family(device.made.local):  # type: ignore[union-attr]
                raise _refused(r, errno.EAFNOSUPPORT)
            if type(r) is Addr and family(r.address) is IPV6 and device.config.mtu < LEAST_MTU_B:
                raise _refused(r, errno.EINVAL)
        if type(r) in (TcClass, TcFilter) and not self._root(r.ns, r.dev):  # type: ignore[union-attr]
            raise _refused(r, errno.ENOENT if type(r) is TcClass else errno.EINVAL)
        if type(r) in (Qdisc, Netem) and r.parent:  # type: ignore[union-attr]
            above = tables.get((r.ns, "netem", r.dev))
            below = {f"{above.handle}1"} if type(above) is Netem else set()
            below |= {BELOW_CUTTER} if (r.ns, "cutter", r.dev) in tables else set()  # type: ignore[union-attr]
            if r.parent not in below:  # type: ignore[union-attr]
                raise _refused(r, errno.ENOENT)
        if type(r) in (Addr, Neigh, Fdb, Rule, TcFilter) and r.key in tables:
            raise _refused(r, errno.EEXIST)
        tables[r.key] = r

    def _root(self, ns: str, dev: str) -> bool:
        return type(self.spaces[ns].tables.get((ns, "qdisc", dev))) is Htb

    def _route(self, r: Route) -> None:
        for hop in r.hops:
            self._route(r._replace(via=hop.via, dev=hop.dev, hops=()))
        if not r.dev:
            return
        own = family(r.dst)
        looked_up = bool(r.via) and not r.onlink
        unreached = errno.ENETUNREACH if own is IPV4 else errno.EHOSTUNREACH
        absent = errno.ENETUNREACH if looked_up and own is IPV4 else errno.ENODEV
        device = self._device(r, r.dev, absent)
        addresses = [a.address.partition("/")[0] for a in self._rows(r.ns, Addr)]
        if own is IPV6 and (r.via in addresses or (r.src and r.src not in addresses)):
            raise _refused(r, errno.EINVAL)
        if own is IPV6 and r.via.startswith("fe80:"):
            looked_up = False
        if not looked_up:
            if not device.config.up:
                raise _refused(r, errno.ENETDOWN)
            return
        reached = [_network(a.address) for a in self._rows(r.ns, Addr) if a.dev == r.dev]
        reached += [
            _network(o.dst)
            for o in self._rows(r.ns, Route)
            if o.dev == r.dev and not o.via and o.dst != "default"
        ]
        if not device.config.up or not any(_number(r.via) & m == base for base, m in reached):
            raise _refused(r, unreached)

    def _connected(self, ns: str) -> set[str]:
        devices = self.spaces[ns].devices
        found = set()
        for a in self._rows(ns, Addr):
            network = ip_interface(a.address).network
            if network.num_addresses > 1 and devices[a.dev].config.up:
                found.add(str(network))
        return found

    def _protect(self, op: Op) -> None:
        r, tables = op.resource, self._space(op.resource).tables
        if type(r) is XfrmState:
            good = len(r.secret) in (40, 56, 72) and r.icv_bit in (64, 96, 128)
            if not good or (r.esn and not r.replay_window):
                raise _refused(r, errno.EINVAL)
            for o in self._rows(r.ns, XfrmState):  # one without a mark is found whatever the mark
                if (o.dst, o.spi, o.mark) == (r.dst, r.spi, r.mark & r.mask & o.mask):
                    raise _refused(r, errno.EEXIST)
        if r.key in tables and op.action == "create":
            raise _refused(r, errno.EEXIST)
        tables[r.key] = r

    def _rows(self, ns: str, kind: type[T]) -> list[T]:
        return [r for r in self.spaces[ns].tables.values() if type(r) is kind]

    def _sysctl(self, r: Sysctl) -> None:
        if self._setting(r) is None:
            if r.if_present:
                return
            parts = r.name.split("/")
            raise _refused(r, errno.ENODEV if parts[1:3] == ["ipv4", "conf"] else errno.ENOENT)
        self._space(r).sysctls[r.name] = r.value

    def _setting(self, r: Sysctl) -> str | None:
        """The value; None where the kernel has no such setting."""
        space = self._space(r)
        parts = r.name.split("/")
        if parts[1] == "bridge" and not self.bridge_filter:
            return None
        if parts[2] == "conf" and parts[3] not in ("all", "default", *space.devices):
            return None
        own = space.devices.get(parts[3]) if parts[2] == "conf" else None
        if parts[1:3] == ["ipv6", "conf"] and own and own.config.mtu < LEAST_MTU_B:
            return None
        return space.sysctls.get(r.name, BORN.get(parts[-1], "0"))

    # --- removal -----------------------------------------------------------------------

    def _delete(self, r: Resource) -> None:
        space = self._space(r)
        if type(r) is Netns:
            del self.spaces[r.ns]
        elif isinstance(r, _MADE):
            self._device(r, r.name)
            if type(r) is Tunnel and r.fallback:
                self._give_back(r)
                return
            self._remove_device(r.ns, r.name)  # type: ignore[union-attr]
        elif type(r) is Sysctl:
            space.sysctls.pop(r.name, None)
        elif type(r) is File:
            space.tables.pop(r.key, None)
        elif type(r) is WireguardPeer:
            self._device(r, r.dev)
            space.tables.pop(r.key, None)
        elif r.key in space.tables:
            if type(r) is TcClass and any(
                (f.dev, f.minor) == (r.dev, r.minor) for f in self._rows(r.ns, TcFilter)
            ):
                raise _refused(r, errno.EBUSY)
            del space.tables[r.key]
            if type(r) is Cutter:
                self._drop(r.ns, lambda o: type(o) in (Netem, Qdisc) and o.dev == r.dev)
            if type(r) is Netem:
                self._drop(r.ns, lambda o: type(o) is Qdisc and o.dev == r.dev)
            if type(r) is Htb:
                self._drop(r.ns, lambda o: type(o) in (TcClass, TcFilter) and o.dev == r.dev)
            if type(r) is Addr and family(r.address) is IPV4:
                left = [a for a in self._rows(r.ns, Addr) if a.dev == r.dev]
                if not any(family(a.address) is IPV4 for a in left):
                    self._flush(r.ns, r.dev, IPV4)
        else:
            if type(r) in (Addr, Neigh, Fdb, *_SHAPERS):
                self._device(r, r.dev)  # type: ignore[union-attr]
            missing = {
                Addr: errno.EADDRNOTAVAIL,
                Route: errno.ESRCH,
                OvsVport: errno.ENODEV,
                NftTable: errno.EINVAL,
                Fou: errno.EINVAL,
                Qdisc: errno.EINVAL,
                Netem: errno.EINVAL,
                Cutter: errno.EINVAL,
                Htb: errno.EINVAL,
                XfrmState: errno.ESRCH,
                TcFilter: errno.ENOENT if self._root(r.ns, getattr(r, "dev", "")) else errno.EINVAL,
            }
            raise _refused(r, missing.get(type(r), errno.ENOENT))

    def _give_back(self, r: Tunnel) -> None:
        """A fallback stays; who does not want it any more leaves it down and without address."""
        device = self._device(r, r.name)
        device.config = device.config._replace(up=False)
        self._drop(r.ns, lambda o: getattr(o, "dev", None) == r.name)

    def _remove_device(self, ns: str, name: str) -> None:
        space = self.spaces.get(ns)
        device = space.devices.pop(name, None) if space else None
        if space is None or device is None:
            return
        for r in [r for r in self._rows(ns, Route) if name in _ends(r)]:
            del space.tables[r.key]
            left = [hop for hop in r.hops if hop.dev != name]
            if left and family(r.dst) is IPV6:  # to IPv6 its next hops are routes
                space.tables[r.key] = multipath(r, left)
        self._drop(ns, lambda r: getattr(r, "dev", None) == name)
        for setting in [s for s in space.sysctls if f"/conf/{name}/" in s]:
            del space.sysctls[setting]
        self._drop(ns, lambda r: type(r) is OvsVport and r.datapath == name)
        for other in list(space.devices.values()):
            if type(other.made) is OvsVxlan and other.made.datapath == name:
                self._remove_device(ns, other.config.name)
            if other.config.master == name:
                other.config = other.config._replace(master="", hairpin=False)
            if type(other.made) is Vxlan and other.made.parent == name:
                self._remove_device(ns, other.config.name)
        if device.config.master:
            self._follow_ports(ns, device.config.master)
        if device.peer:
            self._remove_device(*device.peer)

    def _flush(self, ns: str, dev: str, which: Family) -> None:
        """A family goes off an interface: it is down, or has lost its last address of IPv4.
        One of several next hops by it is dead then, and a route goes with its last that lives."""
        devices = self.spaces[ns].devices
        with_address = {a.dev for a in self._rows(ns, Addr) if family(a.address) is IPV4}
        alive = {name for name, device in devices.items() if device.config.up}
        if which is IPV4:
            alive &= with_address

        def gone(r: Resource) -> bool:
            if type(r) is Route and r.hops:
                return family(r.dst) is which and not _ends(r) & alive
            if type(r) is Route:
                return r.dev == dev and family(r.dst) is which
            return type(r) is Neigh and r.dev == dev and family(r.address) is which

        self._drop(ns, gone)

    def _ipv6_down(self, ns: str, dev: str, whatever: bool = False) -> None:
        """IPv6 loses its addresses too, but those that a setting keeps where it is only down."""
        self._flush(ns, dev, IPV6)
        setting = self.spaces[ns].sysctls.get(f"net/ipv6/conf/{dev}/keep_addr_on_down", "0")
        keep = setting == "1" and not whatever

        def gone(r: Resource) -> bool:
            return (
                type(r) is Addr
                and r.dev == dev
                and family(r.address) is IPV6
                and not (keep and r.scope != "link")
            )

        self._drop(ns, gone)

    def _drop(self, ns: str, which: object) -> None:
        tables = self.spaces[ns].tables
        for key in [key for key, r in tables.items() if which(r)]:  # type: ignore[operator]
            del tables[key]

    # --- observe -----------------------------------------------------------------------

    def observe(self, known: Iterable[Resource]) -> dict[Key, Resource]:
        """All state as resources; ``known`` says which sysctls and files to read."""
        return {r.key: r for r in self._observe(known)}

    def _observe(self, known: Iterable[Resource]) -> Iterator[Resource]:
        for ns, space in self.spaces.items():
            yield Netns(ns)
            for name, device in space.devices.items():
                if space.idle(name):
                    continue
                yield device.config
                if device.peer:
                    far = self.spaces.get(device.peer[0])
                    if far is None or device.peer[1] not in far.devices:
                        yield Foreign(ns, "device", name, "veth with its peer outside the lab")
                    elif (ns, name) < device.peer:
                        yield veth(ns, name, *device.peer)
                elif device.made:
                    yield device.made
            for r in space.tables.values():
                if type(r) is Route and r.hops:
                    hops = (hop for hop in r.hops if space.devices[hop.dev].config.up)
                    yield multipath(r, hops)
                elif type(r) is not File:
                    yield r
        for r in known:
            if r.ns not in self.spaces:
                continue
            if type(r) is Sysctl:
                value = self._setting(r)
                if value is not None:
                    yield r._replace(value=value)
            elif type(r) is File and r.key in self.spaces[r.ns].tables:
                yield self.spaces[r.ns].tables[r.key]


def _ends(r: Route) -> set[str]:
    return {hop.dev for hop in r.hops}


def _number(address: str) -> int:
    """With a bit on top for IPv6, so that the families do not meet."""
    own = ip_interface(address)
    return int(own) | (own.version == 6) << 128


def _network(prefix: str) -> tuple[int, int]:
    """Base and mask."""
    own = ip_interface(prefix)
    mask = int(own.netmask) | (own.version == 6) << 128
    return _number(str(own.ip)) & mask, mask


def _overhead(r: Vxlan) -> int:
    return 50 if family(r.local) is IPV4 else 70


def _most(r: Resource) -> int:
    """The largest MTU of a device."""
    return {Tunnel: _IP_TUNNEL_MOST, Geneve: _GENEVE_MOST}.get(type(r), 65535)


def _both_ends(r: Resource) -> tuple[object, ...]:
    if type(r) is Geneve:
        return r.vni, r.remote, r.port
    assert type(r) is Tunnel
    return r.device, r.local, r.remote


def _socket(r: Vxlan) -> tuple[int, int, Family]:
    return r.vni, r.port, family(r.local)


def _refused(r: Resource, number: int) -> KernelRefused:
    name = errno.errorcode[number]
    return KernelRefused(Problem(line(r).partition("\n")[0], f"{name} (fake)", "it accepted"))
