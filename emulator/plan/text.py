"""Every resource as one stable line: what ``plan.txt``, diffs and goldens are made of."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from typing import Any

from emulator.plan.resources import (
    Addr,
    Attachment,
    Bridge,
    Fdb,
    File,
    Foreign,
    Htb,
    Interface,
    Neigh,
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
    Veth,
    Vxlan,
)


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


def _qdisc(r: Qdisc) -> str:
    queue = f"limit {r.limit_b}b" if r.discipline == "tbf" else f"limit {r.limit_p}p"
    return f"{r.ns} qdisc {r.dev} {r.discipline} rate {r.rate_bit}bit burst {r.burst_b}b {queue}"


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
    Interface: _interface,
    Addr: lambda r: f"{r.ns} addr {r.dev} {r.address} scope {r.scope}",
    Route: _route,
    Rule: lambda r: f"{r.ns} rule {r.key[2]} table {r.table}",
    Neigh: lambda r: f"{r.ns} neigh {r.dev} {r.address} lladdr {r.lladdr} permanent",
    Fdb: lambda r: f"{r.ns} fdb {r.dev} {r.lladdr} dst {r.dst} self permanent",
    Qdisc: _qdisc,
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
    Foreign: lambda r: f"{r.ns} foreign {r.what} {r.name} {r.text}",
}
