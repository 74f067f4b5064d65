"""What must be true of every plan, whichever room made it. Pure.

A violation is a fault of a room, or of a spec that no room can carry out: found here it
names the resources; found by the kernel it would be an errno in the middle of ``up``.
One pass over the plan (100 nodes with 100 pods are 140,000 resources), then small tables.
(Over 300 lines: a list of rules, each with its words.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from socket import AF_INET6, inet_aton, inet_pton

from emulator.errors import Problem
from emulator.family import LEAST_MTU_B, family
from emulator.plan.cascade import interface_of
from emulator.plan.ovs import OvsVport
from emulator.plan.plan import Plan
from emulator.plan.resources import (
    Fdb,
    Geneve,
    Htb,
    Interface,
    Resource,
    TcClass,
    TcFilter,
    Tunnel,
    Vxlan,
    WireguardPeer,
)
from emulator.plan.tables import Domains, End, Tables
from emulator.plan.text import line

MAX_NAME = 15
"""Characters of an interface name (IFNAMSIZ less the zero)."""

_NAME = re.compile(r"(?!\.\.?$)[^\s/:]{1,15}").fullmatch

MAX_PORTS = 1023
"""Ports of a bridge: 10 bits of port number, of which zero means none."""

VXLAN_OVERHEAD_B = {"IPv4": 50, "IPv6": 70}
"""By the family of the outer packets."""

_DEVICE = "a device of its namespace"


def check(plan: Plan) -> list[Problem]:
    """Every violation; empty for a plan that the kernel can hold."""
    tables = Tables(plan)
    return [
        problem
        for rule in (
            _devices,
            _ports,
            _things_on_devices,
            _gateways,
            _ipv6,
            _hardware_addresses,
            _pairs,
            _tunnels,
            _one_of_each,
            _peers,
            _datapaths,
            _classes,
        )
        for problem in rule(tables)
    ]


def told(problems: Sequence[Problem], most: int = 20) -> list[Problem | str]:
    """As many as a person reads, and how many more there are: one fault can break a thousand."""
    more = len(problems) - most
    return [*problems[:most], *([f"and {more} more"] if more > 0 else [])]


def _problem(t: Tables, r: Resource, found: str, expected: str, hint: str = "") -> Problem:
    """A violation at a resource, with the room and the line of the spec that asked for it."""
    entry = t.plan.entries.get(r.key)
    source = f" (from {entry.source})" if entry else ""
    return Problem(f"plan: {line(r).partition(chr(10))[0]}{source}", found, expected, hint)


def _devices(t: Tables) -> Iterator[Problem]:
    """Devices and configurations belong together, in a namespace of the plan, well named."""
    used = {key[0] for key in t.plan.entries} | {ns for ns, _ in t.devices}
    for ns in sorted(used - t.namespaces):
        first = next(
            e.resource
            for e in t.plan
            if ns in (e.resource.ns, getattr(e.resource, "peer_ns", None))
        )
        yield _problem(t, first, f"no namespace {ns}", "a netns of that name in the plan")
    for end, config in t.interfaces.items():
        if end not in t.devices:
            yield _problem(t, config, f"no device {end[1]} in {end[0]}", "a device to configure")
    for ns, name in sorted(t.devices - t.interfaces.keys()):
        yield Problem(
            f"plan: {ns} device {name}", "no configuration", "an interface of that name in the plan"
        )
    bad = {name for name in {end[1] for end in t.devices} if not _NAME(name)}
    for ns, name in sorted(end for end in t.devices if end[1] in bad) if bad else ():
        yield Problem(
            f"plan: {ns} device {name}",
            f"a name of {len(name)} characters",
            f"1 to {MAX_NAME} characters without slash, colon or space",
        )


def _ports(t: Tables) -> Iterator[Problem]:
    """Masters are bridges of the same namespace, with no more ports than a bridge takes."""
    ports: dict[End, int] = {}
    for config in t.interfaces.values():
        if config.master:
            end = (config.ns, config.master)
            ports[end] = ports.get(end, 0) + 1
            if end not in t.bridges:
                yield _problem(t, config, f"no bridge {config.master}", "a bridge of its namespace")
    for (ns, name), count in ports.items():
        if count > MAX_PORTS:
            yield Problem(
                f"plan: {ns} bridge {name}",
                f"{count} ports",
                f"at most {MAX_PORTS}",
                "use more nodes with fewer pods each, or more segments",
            )


def _things_on_devices(t: Tables) -> Iterator[Problem]:
    """What stands on a device finds it there, and finds it up where the kernel asks for that."""
    for r in (*t.addrs, *t.on_device):
        if (r.ns, r.dev) not in t.devices:
            yield _problem(t, r, f"no device {r.dev} in {r.ns}", _DEVICE)
    vxlans = {(r.ns, r.name) for r in t.vxlans}
    for r in t.on_device:
        if type(r) is Fdb and (r.ns, r.dev) not in vxlans:
            yield _problem(t, r, f"{r.dev} is no VXLAN device", "a VXLAN device")
    for route in t.routes:
        for out in {hop.dev for hop in route.next_hops} - {""}:
            config = t.interfaces.get((route.ns, out))
            if config is None:
                yield _problem(t, route, f"no device {out} in {route.ns}", "a device to leave by")
            elif not config.up:
                yield _problem(t, route, f"{out} is down", "an interface that is up")
    interfaces: dict[str, str] = {}
    for sysctl in t.sysctls:
        name = sysctl.name
        dev = interfaces.get(name)
        if dev is None:
            dev = interfaces[name] = interface_of(sysctl)
        if dev and (sysctl.ns, dev) not in t.devices:
            yield _problem(t, sysctl, f"no device {dev} in {sysctl.ns}", _DEVICE)


def _gateways(t: Tables) -> Iterator[Problem]:
    """A gateway is a neighbour: in a network of the interface, unless the route says onlink."""
    number = _Numbers()
    networks: dict[End, set[tuple[int, int]]] = {}
    own: set[tuple[str, str]] = set()
    for ns, dev, prefix, _ in t.addrs:
        address, _, length = prefix.partition("/")
        mask = (_MASKS6 if ":" in address else _MASKS)[int(length)]
        networks.setdefault((ns, dev), set()).add((number[address] & mask, mask))
        own.add((ns, address))
    for route in t.routes:
        if route.dev and not route.via and route.dst != "default":
            address, _, length = route.dst.partition("/")
            mask = (_MASKS6 if ":" in address else _MASKS)[int(length)]
            networks.setdefault((route.ns, route.dev), set()).add((number[address] & mask, mask))
    for route in t.routes:
        for via, dev, _ in route.next_hops:
            if not via:
                continue
            if (route.ns, via) in own:
                yield _problem(t, route, "a gateway of its own", "an address of a neighbour")
            if route.onlink or (route.ns, dev) not in t.devices or via[:5] == "fe80:":
                continue
            value = number[via]
            for base, mask in networks.get((route.ns, dev), ()):
                if value & mask == base:
                    break
            else:
                yield _problem(
                    t,
                    route,
                    f"gateway {via} in no network of {dev}",
                    "a gateway that is reached directly, or onlink",
                )


_MASKS = [0xFFFFFFFF << (32 - length) & 0xFFFFFFFF for length in range(33)]
_MASKS6 = [((1 << length + 1) - 1) << (128 - length) for length in range(129)]


class _Numbers(dict[str, int]):
    """Addresses as numbers; most gateways occur many times. Those of IPv6 have a bit on top,
    so that the families do not meet."""

    def __missing__(self, address: str) -> int:
        if ":" in address:
            value = 1 << 128 | int.from_bytes(inet_pton(AF_INET6, address), "big")
        else:
            value = int.from_bytes(inet_aton(address), "big")
        self[address] = value
        return value


def _ipv6(t: Tables) -> Iterator[Problem]:
    """IPv6 stands on interfaces that are large enough for it, and its routes have one scope."""
    for r in t.addrs:
        config = t.interfaces.get((r.ns, r.dev)) if ":" in r.address else None
        if config and config.mtu < LEAST_MTU_B:
            yield _problem(
                t,
                r,
                f"MTU {config.mtu} of {r.dev}",
                f"at least {LEAST_MTU_B}: below, the kernel takes IPv6 off the interface",
                "use a larger MTU for the links",
            )
    for route in t.routes:
        if ":" in route.dst and route.scope != "global":
            yield _problem(
                t, route, f"scope {route.scope}", "scope global, which every route of IPv6 has"
            )


def _hardware_addresses(t: Tables) -> Iterator[Problem]:
    """No two interfaces of a layer-2 domain have one MAC address.

    Domains are looked at only where an address occurs twice in the lab, which routed
    plugins do on purpose.
    """
    holders: dict[str, Interface] = {}
    twice: dict[str, list[Interface]] = {}
    for config in t.interfaces.values():
        if config.mac and holders.setdefault(config.mac, config) is not config:
            twice.setdefault(config.mac, [holders[config.mac]]).append(config)
    if not twice:
        return
    domain = Domains(t)
    for mac, configs in twice.items():
        seen: dict[End, Interface] = {}
        for config in configs:
            other = seen.setdefault(domain.of((config.ns, config.name)), config)
            if other is not config:
                yield _problem(
                    t,
                    config,
                    f"the MAC address {mac} of {other.ns} {other.name}",
                    "an address of its own in the layer-2 domain",
                )


def _pairs(t: Tables) -> Iterator[Problem]:
    """Both ends of a cable have one MTU: a larger packet would be dropped without a word."""
    for pair in t.veths:
        near = t.interfaces.get((pair.ns, pair.name))
        far = t.interfaces.get((pair.peer_ns, pair.peer))
        if near and far and near.mtu != far.mtu:
            yield _problem(
                t, pair, f"MTU {near.mtu} at one end and {far.mtu} at the other", "the same at both"
            )


def _tunnels(t: Tables) -> Iterator[Problem]:
    """VXLAN: a parent in the same namespace, room for the header, no second one of its number."""
    taken: dict[tuple[str, int, int, str], Vxlan] = {}
    for r in t.vxlans:
        outer = family(r.local).name
        overhead = VXLAN_OVERHEAD_B[outer]
        first = taken.setdefault((r.ns, r.vni, r.port, outer), r)
        if first is not r:
            yield _problem(
                t,
                r,
                f"VNI {r.vni} on port {r.port}, which {first.name} has",
                "another VNI or port: a namespace takes each pair once",
            )
        parent = t.interfaces.get((r.ns, r.parent))
        config = t.interfaces.get((r.ns, r.name))
        if parent is None:
            yield _problem(t, r, f"no interface {r.parent} in {r.ns}", "its parent")
        elif config and config.mtu > parent.mtu - overhead:
            yield _problem(
                t,
                config,
                f"MTU {config.mtu} over {r.parent} with {parent.mtu}",
                f"at most {parent.mtu - overhead}: VXLAN over {outer} adds {overhead} bytes",
            )


def _one_of_each(t: Tables) -> Iterator[Problem]:
    """What comes in says which tunnel it is for: a namespace takes two ends, or a number and
    the other end, once."""
    taken: dict[tuple[str, ...], Tunnel | Geneve] = {}
    for r in t.tunnels:
        ends: tuple[str, ...]
        if isinstance(r, Tunnel):
            ends = (r.ns, r.device, r.local, r.remote, r.parent)
            if r.parent and (r.ns, r.parent) not in t.devices:
                yield _problem(t, r, f"no device {r.parent} in {r.ns}", _DEVICE)
            if r.ttl and not r.pmtudisc:
                yield _problem(
                    t, r, f"ttl {r.ttl} without pmtudisc", "either, as the kernel has it"
                )
            if not r.local and not r.remote and not r.fallback:
                yield _problem(
                    t,
                    r,
                    "a tunnel from any address to any",
                    "the one that the kernel has of each kind, such as tunl0",
                )
        else:
            ends = (r.ns, "geneve", str(r.vni), str(r.port), r.remote)
        first = taken.setdefault(ends, r)
        if first is not r:
            yield _problem(
                t, r, f"the ends of {first.name}", "ends that no other tunnel of its kind has"
            )


def _peers(t: Tables) -> Iterator[Problem]:
    """WireGuard: peers of a WireGuard device, no address that two of one device have, no port
    that two devices listen on."""
    devices = {(r.ns, r.name) for r in t.wireguards}
    ports: dict[tuple[str, int], str] = {}
    for device in t.wireguards:
        first = ports.setdefault((device.ns, device.port), device.name)
        if first != device.name:
            found, expected = f"port {device.port}, which {first} has", "a port of its own"
            yield _problem(t, device, found, expected)
    taken: dict[tuple[str, str, str], WireguardPeer] = {}
    for r in t.on_device:
        if type(r) is not WireguardPeer:
            continue
        if (r.ns, r.dev) not in devices:
            yield _problem(t, r, f"{r.dev} is no WireGuard device", "a WireGuard device")
        for prefix in r.allowed_ips:
            holder = taken.setdefault((r.ns, r.dev, prefix), r)
            if holder is not r:
                yield _problem(
                    t,
                    r,
                    f"{prefix}, which is allowed to {holder.public_key}",
                    "prefixes of its own: the kernel gives each to the last that asks",
                )


def _datapaths(t: Tables) -> Iterator[Problem]:
    """Ports belong to a datapath of their namespace; one that is an interface is there, and is no
    port of a bridge as well."""
    for r in t.vports:
        if (r.ns, r.datapath) not in t.datapaths:
            yield _problem(t, r, f"no datapath {r.datapath} in {r.ns}", "one of its namespace")
        if type(r) is not OvsVport:
            continue
        config = t.interfaces.get((r.ns, r.dev))
        if (r.ns, r.dev) not in t.devices:
            yield _problem(t, r, f"no device {r.dev} in {r.ns}", _DEVICE)
        elif config and config.master:
            yield _problem(t, r, f"a port of {config.master}", "an interface that is no port yet")


def _classes(t: Tables) -> Iterator[Problem]:
    """A class hangs below a root of its interface, a filter leads to a class."""
    roots = {(r.ns, r.dev) for r in t.on_device if type(r) is Htb}
    classes = {(r.ns, r.dev, r.minor) for r in t.on_device if type(r) is TcClass}
    for r in t.on_device:
        if (type(r) is TcClass or type(r) is TcFilter) and (r.ns, r.dev) not in roots:
            yield _problem(t, r, f"no htb with classes on {r.dev}", "one as its root qdisc")
        elif type(r) is TcFilter and (r.ns, r.dev, r.minor) not in classes:
            yield _problem(t, r, f"no class 1:{r.minor:x} on {r.dev}", "a class for its packets")
