"""What operations come to: messages for each namespace, packed in the right order.

Pure, so that it can be done while the namespaces themselves are being made.
(Over 300 lines: the order of kinds is one thing, and is read in one place.)
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from emulator.plan import Op
from emulator.plan.cascade import device_of
from emulator.plan.ovs import KINDS as OVS_KINDS
from emulator.plan.ovs import OvsDatapath, OvsVport, OvsVxlan
from emulator.plan.resources import (
    Addr,
    Attachment,
    Bridge,
    Cutter,
    Dummy,
    Fdb,
    File,
    Fou,
    Geneve,
    Htb,
    Interface,
    Neigh,
    Netem,
    Netns,
    NftTable,
    Process,
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
)
from emulator.plan.xfrm import XfrmPolicy, XfrmState
from emulator.substrate import encode, htb, netem, ovs, rtnl, shaper, tun, tunnel
from emulator.substrate.netlink import Batch, Message, pack
from emulator.substrate.stack import IPV6
from emulator.substrate.sysctl import Sysctls

End = tuple[str, str]
"""(namespace, interface)."""

Asked = tuple[Message, Resource]
"""A message, and the resource that it is for."""

_DEVICES = (Bridge, Dummy, Veth, Vxlan, Tunnel, Geneve, Wireguard)
"""In the order of their creation: a bridge before what is put into it."""


class Birth(NamedTuple):
    """What the creation of an interface sets: ``kind`` as the kernel names it, ``master``.

    ``mtu`` is what it is born with, or zero where it is born with the one that is wanted; so is its
    MAC address unless it is ``drawn`` by the kernel.
    """

    kind: str
    master: str = ""
    mtu: int = 0
    drawn: bool = False


class Devices(NamedTuple):
    """What is created from one namespace. ``asked``: the resource behind each message.

    ``homes``: for each batch, (offset in its buffer, namespace) wherever the descriptor of
    that namespace has to be written.
    """

    ns: str
    asked: list[Resource]
    batches: list[Batch]
    homes: list[list[tuple[int, str]]]


class Work(NamedTuple):
    """What is then done in one namespace: offloads, keys and peers, then the rest in this order.
    ``asked`` as above."""

    ns: str
    steps: int
    interfaces: list[tuple[Op, Interface]]
    asked: list[Resource]
    batches: list[Batch]
    wireguards: list[Wireguard | WireguardPeer]
    sysctls: list[Sysctl]
    tables: list[NftTable]
    files: list[File]
    xfrm: list[Op]


class Prepared(NamedTuple):
    """All of it. ``births``: of every interface that is created; ``ports``, which come first, and
    ``tuns`` are made by no message, and a tunnel that is a fallback is there already."""

    devices: list[Devices]
    ports: list[Fou]
    tuns: list[Tun]
    works: list[Work]
    births: Mapping[End, Birth]


def prepare(
    makes: Sequence[Op], index: encode.Index, sysctls: Sysctls, fresh: Collection[str]
) -> Prepared:
    """Everything but namespaces, processes and deletions. ``fresh``: the new namespaces."""
    configs = {(r.ns, r.name): r for op in makes if type(r := op.resource) is Interface}
    births: dict[End, Birth] = {}
    devices: dict[str, list[Resource]] = {}
    tunnels: dict[str, list[Resource]] = {}
    tuns: list[Tun] = []
    ports: list[Fou] = []
    rest: dict[str, list[Op]] = {}
    for op in makes:
        r = op.resource
        if type(r) is Veth:
            near, far = _ends(r, configs)
            births[near] = Birth("veth", _master(configs.get(near)))
            births[far] = Birth("veth")
            devices.setdefault(near[0], []).append(r)
        elif type(r) is Bridge or type(r) is Dummy:
            births[r.ns, r.name] = Birth(r.kind)
            devices.setdefault(r.ns, []).append(r)
        elif type(r) is Tunnel and r.fallback:
            births[r.ns, r.name] = Birth(r.device, mtu=tunnel.FALLBACK_MTU)
        elif type(r) is Tunnel:
            births[r.ns, r.name] = Birth(r.device)
            tunnels.setdefault(r.ns, []).append(r)
        elif type(r) is Vxlan or type(r) is Geneve:
            births[r.ns, r.name] = Birth(r.kind)
            tunnels.setdefault(r.ns, []).append(r)
        elif type(r) is Fou:
            ports.append(r)
        elif type(r) is Tun:
            births[r.ns, r.name] = Birth("tun", mtu=tun.BORN_MTU)
            tuns.append(r)
        elif type(r) is Wireguard and op.action == "create":
            births[r.ns, r.name] = Birth("wireguard")
            tunnels.setdefault(r.ns, []).append(r)
            rest.setdefault(r.ns, []).append(op)
        elif type(r) is OvsDatapath or type(r) is OvsVxlan:
            births[r.ns, r.name] = Birth(r.kind, mtu=ovs.BORN_MTU[r.kind], drawn=True)
        elif type(r) not in (Netns, Process, Attachment, OvsVport):
            rest.setdefault(r.ns, []).append(op)
    # tunnels last: the parent may be an end that another namespace makes
    groups = (*devices.items(), *tunnels.items())
    return Prepared(
        [_devices(ns, resources, index, configs) for ns, resources in groups],
        ports,
        tuns,
        [_work(ns, ops, index, births, sysctls, ns in fresh) for ns, ops in rest.items()],
        births,
    )


def split(makes: Sequence[Op]) -> tuple[list[Op], list[Op]]:
    """Operations, and those that come after them: what concerns interfaces of Open vSwitch, whose
    numbers are known only when they are there."""
    late = {(r.ns, r.name) for op in makes if isinstance(r := op.resource, OvsDatapath | OvsVxlan)}
    first: list[Op] = []
    then: list[Op] = []
    for op in makes:
        r = op.resource
        after = isinstance(r, OVS_KINDS) or (late and (r.ns, device_of(r)) in late)
        (then if after else first).append(op)
    return first, then


def _devices(
    ns: str, resources: list[Resource], index: encode.Index, configs: Mapping[End, Interface]
) -> Devices:
    resources.sort(key=lambda r: _DEVICES.index(type(r)))
    messages: list[Message] = []
    homes: list[str] = []
    for r in resources:
        home = ""
        if type(r) is Bridge:
            messages.append(encode.bridge(r, index, configs.get((ns, r.name))))
        elif type(r) is Vxlan:
            messages.append(encode.vxlan(r, index, configs.get((ns, r.name))))
        elif type(r) is Dummy:
            messages.append(tunnel.dummy(r, index, configs.get((ns, r.name))))
        elif type(r) is Tunnel:
            messages.append(tunnel.tunnel(r, index, configs.get((ns, r.name))))
        elif type(r) is Geneve:
            messages.append(tunnel.geneve(r, index, configs.get((ns, r.name))))
        elif type(r) is Wireguard:
            messages.append(encode.wireguard(r, index, configs.get((ns, r.name))))
        elif type(r) is Veth:
            near, far = _ends(r, configs)
            home = far[0]
            messages.append(encode.veth(near, far, index, configs))
        homes.append(home)
    batches = list(pack(messages))
    places = [(message.fd_at, home) for message, home in zip(messages, homes, strict=True)]
    return Devices(ns, resources, batches, [_places(batch, places) for batch in batches])


def _places(batch: Batch, places: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Offsets in the whole buffer, from those in the body of each message (0: none)."""
    out: list[tuple[int, str]] = []
    at = 0
    for fd_at, ns in places[batch.first : batch.first + batch.length]:
        if fd_at:
            out.append((at + 16 + fd_at, ns))
        at += int.from_bytes(batch.buffer[at : at + 4], sys.byteorder)
    return out


def _ends(r: Veth, configs: Mapping[End, Interface]) -> tuple[End, End]:
    """A pair is made from the end that becomes a bridge port: one message does both."""
    one, two = (r.ns, r.name), (r.peer_ns, r.peer)
    return (two, one) if _master(configs.get(two)) else (one, two)


def _master(config: Interface | None) -> str:
    return config.master if config else ""


def _work(
    ns: str,
    ops: Sequence[Op],
    index: encode.Index,
    births: Mapping[End, Birth],
    sysctls: Sysctls,
    new: bool,
) -> Work:
    work = Work(ns, len(ops), [], [], [], [], [], [], [], [])
    inet: dict[str, dict[int, int]] = {}
    tables: list[Asked] = []
    for op in ops:
        r = op.resource
        if type(r) is Interface:
            work.interfaces.append((op, r))
        elif type(r) is Sysctl:
            if new and sysctls.born_with(r):
                continue
            number = _inet_setting(r.name)
            if number is None:
                work.sysctls.append(r)
            else:
                inet.setdefault(r.name.split("/")[3], {})[number] = int(r.value)
        elif type(r) is NftTable:
            work.tables.append(r)
        elif type(r) is File:
            work.files.append(r)
        elif type(r) in (XfrmPolicy, XfrmState):
            work.xfrm.append(op)
        elif type(r) is Wireguard or type(r) is WireguardPeer:
            work.wireguards.append(r)
        else:
            tables += [(message, r) for message in _messages(op, index)]
    links: list[Asked] = []
    for op, want in work.interfaces:
        have = _have(op, want, births.get((ns, want.name)))
        own = inet.pop(want.name, {})
        links += [(m, want) for m in encode.configure(want, have, index, own, IPV6)]
    for dev, settings in inet.items():
        have = Interface(ns, dev, True, 0)
        links += [(m, have) for m in encode.configure(have, have, index, settings, IPV6)]
    links += tables
    work.asked.extend(r for _, r in links)
    work.batches.extend(pack([m for m, _ in links]))
    return work


def _have(op: Op, want: Interface, birth: Birth | None) -> Interface:
    """What the kernel will hold, offloads aside: the observed value, or what creation leaves."""
    if type(op.before) is Interface:
        return op.before
    if want.name == "lo":
        return want._replace(up=False)
    born = want._replace(up=False, master="", hairpin=False, promisc=False)
    if birth is None:
        return born
    mac = "" if birth.drawn else want.mac
    return born._replace(mtu=birth.mtu or want.mtu, master=birth.master, mac=mac)


def _messages(op: Op, index: encode.Index) -> Iterable[Message]:
    r = op.resource
    if type(r) is Route:
        return (encode.route(r, index, op.action),)
    if type(r) is Neigh:
        return (encode.neigh(r, index, True),)
    if type(r) is Fdb:
        return (encode.fdb(r, index, True),)
    if type(r) is Addr:
        return (encode.addr(r, index, True),)
    if type(r) is Rule:
        return (encode.rule(r, index, True),)
    if type(r) is Cutter:
        return (shaper.cutter(r, index, True),)
    if type(r) is Netem:
        return (netem.message(r, index, True),)
    if type(r) is Htb:
        return (htb.root(r, index, True),)
    if type(r) is TcClass:
        return (htb.class_(r, index, True),)
    if type(r) is TcFilter:
        return (htb.filter_(r, index, True),)
    return shaper.qdisc(r, index, True) if type(r) is Qdisc else ()


def _inet_setting(name: str) -> int | None:
    """The number of ``net/ipv4/conf/<interface>/<setting>`` where a link message can set it."""
    parts = name.split("/")
    if len(parts) != 5 or parts[:3] != ["net", "ipv4", "conf"] or parts[3] in ("all", "default"):
        return None
    return rtnl.INET_DEVCONF.get(parts[4])
