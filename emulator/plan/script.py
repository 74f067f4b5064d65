"""A plan as a shell script: the same state by the commands that people type.

For reading first (what does a network plugin do to a node?), and runnable: as root in a
world of its own it builds what ``up`` builds. It is slow, for each line starts programs.
(Over 300 lines: it is a table, one function for each kind of resource.)
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from emulator.family import IPV6, family
from emulator.plan import xfrm
from emulator.plan.drawing import drawing, in_double_quotes, in_here_document
from emulator.plan.ovs import KINDS as OVS_KINDS
from emulator.plan.ovs import ovs_command
from emulator.plan.plan import Entry, Plan, natural
from emulator.plan.resources import (
    BORN,
    CUTTER_BIT,
    CUTTER_LIMIT_B,
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
    cutter_burst_b,
)
from emulator.plan.text import fou, line, netem, tunnel
from emulator.plan.xfrm import XfrmPolicy, XfrmState
from emulator.secrets import private_half, words

_OVERLAYS = ("vxlan", "tunnel", "geneve", "tun", "wireguard")
_ON_INTERFACE = ("peer", "addr", "cutter", "netem", "qdisc", "class", "filter")


_HEAD = """\
#!/bin/sh
# What 'up' builds, as the commands that build it.
#
# Needs root, and a world of its own, so that nothing of this machine is touched:
#
#     unshare --net --mount sh
#     mount -t tmpfs none /run
#     sh this-file
#
# Afterwards look around: ip netns; ip -n NAMESPACE route; ip netns exec NAMESPACE sh.
# Everything is gone when the shell that unshare started has ended.
set -eu
: "${FILES:=/run/podwire/files}"    # the nodes' own files go below this directory
"""


def script(plan: Plan) -> str:
    """The plan as a POSIX shell script with a section for each namespace.

    Needs ``ip``, ``bridge`` and ``tc`` (iproute2), ``sysctl``, and where the plan asks for
    them ``ethtool``, ``nft``, ``wg`` and ``ovs-dpctl``. Processes, and what a daemon is expected to
    write, are comments. The order of the text does not depend on the order of the plan.
    """
    sections: dict[str, list[Resource]] = {ns: [] for ns in plan.namespaces()}
    notes: dict[str, list[str]] = {}
    for entry in plan:
        if entry.owner == "applied":
            sections.setdefault(entry.resource.ns, []).append(entry.resource)
        else:
            notes.setdefault(entry.resource.ns, []).append(_note(entry))
    cables = _cables(plan, list(sections))
    drawn = sorted({word for found in sections.values() for r in found for word in _drawn(r)})
    out = [_HEAD]
    if drawn:
        out += [_title("keys of its own"), *drawing(drawn)]
    out.append(_title("network namespaces"))
    out += [f"ip netns add {ns}\n" for ns, found in sections.items() if Netns(ns) in found]
    for ns, found in sections.items():
        out.append(_title(ns))
        out += _section(ns, found, cables.get(ns, []))
        out += sorted(notes.get(ns, []))
    return "".join(out)


def _drawn(r: Resource) -> list[str]:
    if type(r) is XfrmState:
        return words(r.secret)
    if type(r) is File:
        return words(r.text)
    return words(line(r)) if type(r) is Wireguard or type(r) is WireguardPeer else []


def _title(text: str) -> str:
    return f"\n# {f' {text} ':=^76}\n"


def _note(entry: Entry) -> str:
    text = line(entry.resource).replace("\n", "\n#   ")
    return f"# {entry.owner}, not written here: {text}\n"


def _cables(plan: Plan, order: list[str]) -> dict[str, list[Veth]]:
    """The pairs to make in each section: where the first of their two namespaces stands."""
    rank = {ns: at for at, ns in enumerate(order)}
    found: dict[str, list[Veth]] = {}
    for entry in plan:
        r = entry.resource
        if type(r) is Veth and entry.owner == "applied":
            first = min(r.ns, r.peer_ns, key=lambda ns: rank.get(ns, len(rank)))
            found.setdefault(first, []).append(r)
    return found


def _section(ns: str, found: list[Resource], cables: list[Veth]) -> Iterator[str]:
    """One namespace: devices from the ground up, then tables, rules, settings, files."""
    by_kind: dict[str, list[Resource]] = {}
    for r in found:
        by_kind.setdefault(r.kind, []).append(r)

    def of(kind: str) -> list[Resource]:
        return sorted(by_kind.get(kind, ()), key=lambda r: natural(r.key[2]))

    yield from _part("bridges", map(_command, of("bridge")))
    yield from _part("devices that lead nowhere", map(_command, of("dummy")))
    yield from _part("datapaths of Open vSwitch", map(_command, of("ovs-datapath")))
    yield from _part("cables, with an end in this namespace", sorted(_cable(ns, r) for r in cables))
    ports = (*of("ovs-vxlan"), *of("ovs-vport"))
    yield from _part("ports of a datapath", map(_command, ports))
    yield from _part("ports that take packets out of packets", map(_command, of("fou")))
    tunnels = {r.key[2]: r for kind in _OVERLAYS for r in of(kind)}
    interfaces = [r for r in of("interface") if type(r) is Interface]
    # a bridge before its ports, and what stands on other interfaces after these
    bridges = {r.name for r in by_kind.get("bridge", ()) if type(r) is Bridge}
    interfaces.sort(key=lambda r: (r.name in tunnels, r.name not in bridges and r.name != "lo"))
    for r in interfaces:
        made = [_command(tunnels[r.name])] if r.name in tunnels else []
        on_it = [a for kind in _ON_INTERFACE for a in of(kind) if _dev(a) == r.name]
        yield from _part(r.name, [*made, *_interface(r), *map(_command, on_it)])
    yield from _part("permanent neighbours", map(_command, of("neigh")))
    yield from _part("where to send encapsulated frames", map(_command, of("fdb")))
    routes = [r for r in of("route") if type(r) is Route]
    routes.sort(
        key=lambda r: bool(r.via or r.hops)
    )  # a gateway may be reached by one of the others
    yield from _part("routes", map(_command, routes))
    yield from _part("routing rules", map(_command, of("rule")))
    yield from _part("IPsec states", map(_command, of("xfrm-state")))
    yield from _part("IPsec policies", map(_command, of("xfrm-policy")))
    yield from _part("packet filter", map(_command, of("nft")))
    # some are there once rules have loaded connection tracking
    yield from _part("kernel settings", _settings(ns, of("sysctl")))
    yield from _part("files", map(_command, of("file")))
    attached = map(_command, of("attachment"))
    yield from _part("attachments (by CNI binaries, not by this script)", attached)
    yield from _part("processes (started here by hand only)", map(_command, of("process")))


def _part(title: str, commands: Iterable[str]) -> Iterator[str]:
    rows = list(commands)
    if rows:
        yield f"\n# {title}\n"
        yield from rows


def _dev(r: Resource) -> str:
    return str(getattr(r, "dev", ""))


def _on(value: bool) -> str:
    return "on" if value else "off"


def _command(r: Resource) -> str:
    return _COMMANDS[type(r)](r)


def _cable(ns: str, r: Veth) -> str:
    name, peer_ns, peer = r.name, r.peer_ns, r.peer
    if ns != r.ns:
        name, peer_ns, peer = r.peer, r.ns, r.name
    where = f" netns {peer_ns}" if peer_ns != ns else ""
    return f"ip -n {ns} link add name {name} type veth peer name {peer}{where}\n"


def _vxlan(r: Vxlan) -> str:
    return (
        f"ip -n {r.ns} link add name {r.name} type vxlan id {r.vni} local {r.local}"
        f" dev {r.parent} dstport {r.port} {'learning' if r.learning else 'nolearning'}\n"
    )


def _tunnel(r: Tunnel) -> str:
    """The kernel may have made a fallback already, or make it when this loads its module."""
    if r.fallback:
        add = f"ip -n {r.ns} link add name {r.name} type {r.device} 2>/dev/null"
        return f"{add} || ip -n {r.ns} link show dev {r.name} >/dev/null\n"
    return f"ip -n {r.ns} link add name {r.name} type {tunnel(r)}\n"


def _wireguard(r: Wireguard) -> str:
    key, mark = private_half(r.public_key), f" fwmark {r.fwmark:#x}" if r.fwmark else ""
    wg = f"ip netns exec {r.ns} wg set {r.name}"
    return (
        f"ip -n {r.ns} link add name {r.name} type wireguard\n"
        f'echo "{in_double_quotes(key)}" | {wg} listen-port {r.port}{mark} private-key /dev/stdin\n'
    )


def _peer(r: WireguardPeer) -> str:
    wg = f'ip netns exec {r.ns} wg set {r.dev} peer "{in_double_quotes(r.public_key)}"'
    wg += f" endpoint {r.endpoint} allowed-ips {','.join(r.allowed_ips)}"
    wg += f" persistent-keepalive {r.keepalive_s}" if r.keepalive_s else ""
    if not r.shared_key:
        return f"{wg}\n"
    return f'echo "{in_double_quotes(r.shared_key)}" | {wg} preshared-key /dev/stdin\n'


def _interface(r: Interface) -> Iterator[str]:
    """Address generation goes off before the interface is up: later is too late."""
    at = f"ip -n {r.ns} link set dev {r.name}"
    if r.name != "lo":  # which is born as it should be, but for being down
        mac = f" address {r.mac}" if r.mac else ""
        master = f" master {r.master}" if r.master else ""
        # of a tunnel that the kernel made, IPv6 knows nothing until it is up
        none = "" if r.name in BORN else " addrgenmode none"
        yield f"{at} mtu {r.mtu}{mac}{master}{none}\n"
        offloads = f"tso {_on(r.tso)} gso {_on(r.gso)} gro {_on(r.gro)}"
        offloads += "" if r.tx else " tx off"
        yield f"ip netns exec {r.ns} ethtool -K {r.name} {offloads}\n"
    if r.hairpin:
        yield f"{at} type bridge_slave hairpin on\n"
    if r.promisc:
        yield f"{at} promisc on\n"
    if r.up:
        yield f"{at} up\n"


def _addr(r: Addr) -> str:
    six = family(r.address) is IPV6
    broadcast = " brd +" if not six and int(r.address.partition("/")[2]) < 31 else ""
    scope = "" if r.scope == "global" else f" scope {r.scope}"
    detection = " nodad" if six else ""
    return f"ip -n {r.ns} addr add {r.address}{broadcast} dev {r.dev}{scope}{detection}\n"


def _route(r: Route) -> str:
    six = family(r.dst) is IPV6
    ip = f"ip -n {r.ns} -6" if six else f"ip -n {r.ns}"
    text = f"{ip} route add {'' if r.type == 'unicast' else r.type + ' '}{r.dst}"
    chosen = "global" if six or r.via or not r.dev else "link"
    words = [
        ("via", r.via),
        ("dev", r.dev),
        ("proto", "" if r.proto == "boot" else r.proto),
        # left out where iproute2 chooses the same
        ("scope", "" if r.scope == chosen else r.scope),
        ("src", r.src),
        ("metric", r.metric),
        ("table", "" if r.table == 254 else r.table),
    ]
    text += "".join(f" {word} {value}" for word, value in words if value)
    text += "".join(f" nexthop via {via} dev {dev} weight {n}" for via, dev, n in r.hops)
    return f"{text}{' onlink' if r.onlink else ''}\n"


def _rule(r: Rule) -> str:
    ip = f"ip -n {r.ns} -6" if r.family == "ip6" else f"ip -n {r.ns}"
    return f"{ip} rule add {r.selector} priority {r.priority} table {r.table}\n"


def _place(parent: str) -> str:
    return f"parent {parent}" if parent else "root"


def _cutter(r: Cutter) -> str:
    how = f"rate {CUTTER_BIT}bit burst {cutter_burst_b(r)}b limit {CUTTER_LIMIT_B}b"
    return f"tc -n {r.ns} qdisc add dev {r.dev} root handle 9: tbf {how}\n"


def _qdisc(r: Qdisc) -> str:
    tc, rate = f"tc -n {r.ns}", f"rate {r.rate_bit}bit"
    place = _place(r.parent)
    if r.discipline == "tbf":
        shape = f"tbf {rate} burst {r.burst_b}b limit {r.limit_b}b"
        return f"{tc} qdisc add dev {r.dev} {place} handle 1: {shape}\n"
    limits = f"{rate} ceil {r.rate_bit}bit burst {r.burst_b}b cburst {r.burst_b}b"
    return (
        f"{tc} qdisc add dev {r.dev} {place} handle 1: htb default 1\n"
        f"{tc} class add dev {r.dev} parent 1: classid 1:1 htb {limits}\n"
        f"{tc} qdisc add dev {r.dev} parent 1:1 handle 2: bfifo limit {r.limit_b}b\n"
    )


def _class(r: TcClass) -> str:
    limits = f"rate {r.rate_bit}bit burst {r.burst_b}b cburst {r.burst_b}b"
    return f"tc -n {r.ns} class add dev {r.dev} parent 1: classid 1:{r.minor:x} htb {limits}\n"


def _filter(r: TcFilter) -> str:
    return (
        f"tc -n {r.ns} filter add dev {r.dev} protocol ip parent 1: prio 1"
        f" handle ::{r.node:x} u32 match ip {r.field} {r.address} flowid 1:{r.minor:x}\n"
    )


def _settings(ns: str, found: list[Resource]) -> Iterator[str]:
    """With slashes, for interface names may hold dots; -e is for settings this kernel lacks."""
    settings = [r for r in found if type(r) is Sysctl]
    for flags, optional in (("-qw", False), ("-eqw", True)):
        words = [shlex.quote(f"{r.name}={r.value}") for r in settings if r.if_present is optional]
        if words:
            between = " \\\n    " if len(words) > 1 else " "
            yield between.join([f"ip netns exec {ns} sysctl {flags}", *words]) + "\n"


def _nft(r: NftTable) -> str:
    return f"ip netns exec {r.ns} nft -f - {_here(r.text)}"


def _file(r: File) -> str:
    path = f"{r.ns}/{r.path.lstrip('/')}"
    folder = shlex.quote(str(PurePosixPath(path).parent))
    target = shlex.quote(path)
    keys = bool(words(r.text))
    if not r.text.endswith("\n") and keys:
        write = f'printf %s "{in_double_quotes(r.text)}" >"$FILES"/{target}\n'
    elif not r.text.endswith("\n"):  # which a here-document always does
        write = f'printf %s {shlex.quote(r.text)} >"$FILES"/{target}\n'
    else:
        write = f'cat >"$FILES"/{target} {_here(r.text, keys)}'
    return f'mkdir -p "$FILES"/{folder}\n{write}'


def _here(text: str, keys: bool = False) -> str:
    end = "EOF"
    while end in text.split("\n"):
        end += "F"
    return f"<<{end}\n{in_here_document(text)}{end}\n" if keys else f"<<'{end}'\n{text}{end}\n"


def _attachment(r: Attachment) -> str:
    return f"# {line(r)}\n#   made by running its binaries, each with the result of the last one\n"


def _process(r: Process) -> str:
    env = ["env", *(f"{name}={value}" for name, value in r.env)] if r.env else []
    command = shlex.join(["ip", "netns", "exec", r.ns, *env, *r.argv])
    text = f"{r.name}, restart {r.restart}:\n{command}"
    return "".join(f"# {row}\n" for row in text.split("\n"))


_COMMANDS: dict[type, Callable[..., str]] = {
    Addr: _addr,
    Attachment: _attachment,
    Bridge: lambda r: f"ip -n {r.ns} link add name {r.name} type bridge\n",
    Fdb: lambda r: (
        f"bridge -n {r.ns} fdb append {r.lladdr} dev {r.dev} dst {r.dst} self permanent\n"
    ),
    File: _file,
    Neigh: lambda r: (
        f"ip -n {r.ns} neigh add {r.address} lladdr {r.lladdr} dev {r.dev} nud permanent\n"
    ),
    NftTable: _nft,
    Process: _process,
    Cutter: _cutter,
    Qdisc: _qdisc,
    Netem: lambda r: (
        f"tc -n {r.ns} qdisc add dev {r.dev} {_place(r.parent)} handle {r.handle} "
        f"netem {netem(r)}\n"
    ),
    Htb: lambda r: f"tc -n {r.ns} qdisc add dev {r.dev} root handle 1: htb default {r.default:x}\n",
    TcClass: _class,
    TcFilter: _filter,
    Route: _route,
    Rule: _rule,
    Dummy: lambda r: f"ip -n {r.ns} link add name {r.name} type dummy\n",
    Fou: lambda r: f"ip -n {r.ns} fou add {fou(r)}\n",
    Geneve: lambda r: (
        f"ip -n {r.ns} link add name {r.name} type geneve id {r.vni} remote {r.remote}"
        f" dstport {r.port}\n"
    ),
    Tunnel: _tunnel,
    Tun: lambda r: f"ip -n {r.ns} tuntap add dev {r.name} mode tun\n",
    Vxlan: _vxlan,
    XfrmPolicy: xfrm.policy_command,
    XfrmState: xfrm.state_command,
    Wireguard: _wireguard,
    WireguardPeer: _peer,
    **dict.fromkeys(OVS_KINDS, ovs_command),
}
