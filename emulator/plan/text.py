"""Every resource as one stable line: what ``plan.txt``, diffs and goldens are made of."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from typing import Any

from emulator.plan import xfrm
from emulator.plan.ovs import KINDS as OVS_KINDS
from emulator.plan.ovs import ovs_line
from emulator.plan.resources import (
    Addr,
    Attachment,
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
from emulator.plan.xfrm import XfrmPolicy, XfrmSa, XfrmState


def line(resource: Resource) -> str:
    """``<namespace> <kind> <identity and attributes>`` in the words of iproute2."""
    return _LINES[type(resource)](resource)


def _interface(r: Interface) -> str:
    text = f"{r.ns} interface {r.name} {'up' if r.up else 'down'} mtu {r.mtu}"
    if r.mac:
        text += f" mac {r.mac}"
    if r.master:
        text += f" master {r.master} hairpin {'on' if r.hairpin else 'off'}"
    return (
        f"{text} tso {'on' if r.tso else 'off'} gso {'on' if r.gso else 'off'}"
        f" gro {'on' if r.gro else 'off'}{'' if r.tx else ' tx off'}"
        f"{' promisc on' if r.promisc else ''}"
    )


def tunnel(r: Tunnel) -> str:
    """The attributes of a tunnel as ``ip link add … type`` takes them, its kind first."""
    local, remote = r.local or "any", r.remote or "any"
    dev = f" dev {r.parent}" if r.parent else ""
    if r.device == "ip6tnl":
        limit = "none" if r.encaplimit < 0 else r.encaplimit
        mode = "any" if r.any_mode else "ip6ip6"
        text = f"ip6tnl mode {mode} local {local} remote {remote}{dev} hoplimit {r.ttl}"
        text += f" encaplimit {limit}"
    else:
        mode = "any" if r.any_mode else {"ipip": "ipip", "sit": "ip6ip"}[r.device]
        text = f"{r.device} mode {mode} local {local} remote {remote}{dev}"
        text += f" ttl {r.ttl or 'inherit'}"
        text += f" tos {r.tos if r.tos != 1 else 'inherit'}" if r.tos else ""
        text += " pmtudisc" if r.pmtudisc else " nopmtudisc"
    if r.encap != "none":
        six = "6" if r.device == "ip6tnl" else ""
        text += f" encap {r.encap} encap-sport {r.sport or 'auto'} encap-dport {r.dport}"
        text += f" {'' if r.csum else 'no'}encap-csum{six}"
    return text


def fou(r: Fou) -> str:
    """A listener as ``ip fou add`` takes it."""
    six = " -6" if r.family == "ip6" else ""
    return f"port {r.port} {f'ipproto {r.protocol}' if r.type == 'fou' else 'gue'}{six}"


def _route(r: Route) -> str:
    text = f"{r.ns} route {'' if r.type == 'unicast' else r.type + ' '}{r.dst}"
    if r.via:
        text += f" via {r.via}"
    if r.dev:
        text += f" dev {r.dev}"
    for via, dev, weight in r.hops:
        text += f" nexthop via {via} dev {dev} weight {weight}"
    text += f" proto {r.proto} scope {r.scope}"
    if r.src:
        text += f" src {r.src}"
    if r.metric:
        text += f" metric {r.metric}"
    if r.table != 254:
        text += f" table {r.table}"
    return text + " onlink" if r.onlink else text


def _wireguard(r: Wireguard) -> str:
    mark = f" fwmark {r.fwmark:#x}" if r.fwmark else ""
    return f"{r.ns} wireguard {r.name} key of {r.public_key} listen {r.port}{mark}"


def _peer(r: WireguardPeer) -> str:
    text = f"{r.ns} peer {r.dev} {r.public_key} endpoint {r.endpoint}"
    text += f" allowed {','.join(r.allowed_ips)}"
    if r.shared_key:
        text += f" shared {r.shared_key}"
    return f"{text} keepalive {r.keepalive_s}s" if r.keepalive_s else text


def _qdisc(r: Qdisc) -> str:
    text = f"{r.ns} qdisc {r.dev} {r.discipline} rate {r.rate_bit}bit burst {r.burst_b}b"
    text += f" limit {r.limit_b}b"
    return text + _below(r.parent)


def _below(parent: str) -> str:
    return f" parent {parent}" if parent else ""


def netem(r: Netem) -> str:
    """What a netem does, in the words of ``tc``."""
    words = [f"limit {r.limit_p}"]
    if r.delay_us:
        words.append(f"delay {_us(r.delay_us)}")
        if r.jitter_us:
            words.append(f"{_us(r.jitter_us)}")
            words += [f"distribution {r.distribution}"] if r.distribution != "uniform" else []
    if r.gilbert_ppb != (0, 0):
        begin, end = map(_percent, r.gilbert_ppb)
        words.append(f"loss gemodel {begin} {end}")
    elif r.loss_ppb:
        words.append(f"loss {_percent(r.loss_ppb)}")
    if r.duplicate_ppb:
        words.append(f"duplicate {_percent(r.duplicate_ppb)}")
    if r.reorder_ppb:
        words.append(f"reorder {_percent(r.reorder_ppb)} gap {r.gap}")
    if r.corrupt_ppb:
        words.append(f"corrupt {_percent(r.corrupt_ppb)}")
    return " ".join(words)


def _us(us: int) -> str:
    return f"{us / 1000:g}ms" if us % 10 == 0 and us < 10**8 else f"{us}us"


def _percent(ppb: int) -> str:
    whole, rest = divmod(ppb, 10**7)
    return f"{whole}.{rest:07d}".rstrip("0").rstrip(".") + "%"


def _nft(r: NftTable) -> str:
    body = "\n".join(f"    {row}" for row in r.text.rstrip("\n").split("\n"))
    return f"{r.ns} nft {r.family} {r.name}\n{body}"


def _file(r: File) -> str:
    body = "\n".join(f"    {row}" for row in r.text.rstrip("\n").split("\n"))
    return f"{r.ns} file {r.path}\n{body}"


def _attachment(r: Attachment) -> str:
    digest = hashlib.sha256(r.conflist.encode()).hexdigest()[:12]
    text = f"{r.ns} attachment {r.pod} {r.interface} network {r.network} conflist {digest}"
    text += f" path {':'.join(r.path)} timeout {r.timeout_s}s"
    if r.args:
        text += f" args {';'.join(f'{key}={value}' for key, value in r.args)}"
    if r.capabilities != "{}":
        text += f" capabilities {r.capabilities}"
    return text if r.whole else text + " (begun, not whole)"


def _process(r: Process) -> str:
    env = "".join(f"{name}={shlex.quote(value)} " for name, value in r.env)
    what = "daemon" if r.role == "daemon" else "process"
    files = "".join(f" reads {path}" for path in r.reads)
    files += "".join(f" holds {device}" for device in r.holds)
    return f"{r.ns} {what} {r.name} restart {r.restart}{files}: {env}{shlex.join(r.argv)}"


_LINES: dict[type[Any], Callable[[Any], str]] = {
    Netns: lambda r: f"{r.ns} netns",
    Bridge: lambda r: f"{r.ns} bridge {r.name}",
    Veth: lambda r: f"{r.ns} veth {r.name} peer {r.peer_ns} {r.peer}",
    Vxlan: lambda r: (
        f"{r.ns} vxlan {r.name} id {r.vni} local {r.local} dev {r.parent} dstport {r.port} "
        f"{'learning' if r.learning else 'nolearning'}"
    ),
    Tun: lambda r: f"{r.ns} tun {r.name}",
    Tunnel: lambda r: f"{r.ns} tunnel {r.name} {tunnel(r)}",
    Geneve: lambda r: f"{r.ns} geneve {r.name} id {r.vni} remote {r.remote} dstport {r.port}",
    Dummy: lambda r: f"{r.ns} dummy {r.name}",
    Fou: lambda r: f"{r.ns} fou {fou(r)}",
    Wireguard: _wireguard,
    WireguardPeer: _peer,
    **dict.fromkeys(OVS_KINDS, ovs_line),
    Interface: _interface,
    Addr: lambda r: f"{r.ns} addr {r.dev} {r.address} scope {r.scope}",
    Route: _route,
    Rule: lambda r: f"{r.ns} rule {r.key[2]} table {r.table}",
    Neigh: lambda r: f"{r.ns} neigh {r.dev} {r.address} lladdr {r.lladdr} permanent",
    Fdb: lambda r: f"{r.ns} fdb {r.dev} {r.lladdr} dst {r.dst} self permanent",
    Qdisc: _qdisc,
    Cutter: lambda r: f"{r.ns} cutter {r.dev} frames of {r.frame_b}b",
    Netem: lambda r: f"{r.ns} netem {r.dev} {r.handle} {netem(r)}{_below(r.parent)}",
    Htb: lambda r: f"{r.ns} qdisc {r.dev} htb default {r.default:#x}",
    TcClass: lambda r: (
        f"{r.ns} class {r.dev} 1:{r.minor:x} htb rate {r.rate_bit}bit burst {r.burst_b}b"
    ),
    TcFilter: lambda r: (
        f"{r.ns} filter {r.dev} 800::{r.node:x} u32 match ip {r.field} {r.address}"
        f" flowid 1:{r.minor:x}"
    ),
    Sysctl: lambda r: (
        f"{r.ns} sysctl {r.name} = {r.value}{' (if present)' if r.if_present else ''}"
    ),
    NftTable: _nft,
    File: _file,
    Attachment: _attachment,
    Process: _process,
    XfrmPolicy: xfrm.policy_line,
    XfrmState: xfrm.state_line,
    XfrmSa: xfrm.sa_line,
    Foreign: lambda r: f"{r.ns} foreign {r.what} {r.name} {r.text}",
}
