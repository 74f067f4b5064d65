"""What the kernel removes by itself together with something that is removed."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

from emulator.family import IPV4, family
from emulator.plan.ovs import OvsVport, OvsVxlan
from emulator.plan.resources import (
    Addr,
    Cutter,
    Htb,
    Interface,
    Key,
    Neigh,
    Netem,
    Qdisc,
    Resource,
    Route,
    Sysctl,
    TcClass,
    TcFilter,
    Veth,
    Vxlan,
)

_BY_NAME = ("netns", "process")


class Removal(NamedTuple):
    """``named`` is to be removed by name, ``gone`` goes with it; ``devices`` are all
    (namespace, device) that are there no more afterwards."""

    named: Set[Key]
    gone: Set[Key]
    devices: Set[tuple[str, str]]


def cascade(doomed: Set[Key], observed: Mapping[Key, Resource]) -> Removal:
    """The consequences of removing ``doomed``: devices go with their namespace, both ends of
    a pair together, a VXLAN device with its parent, ports with their datapath, addresses, routes
    and tables with their device, routes and neighbours with the last address of theirs (of IPv4
    alone: those of IPv6 outlive it), classes and filters with their root qdisc, a
    shaper with the netem above it, both with the cutter above them.

    A pair between a namespace that goes and one that stays is named all the same: the
    kernel takes a namespace apart some time after it was let go, and until then the end
    that stays would stand in the way of a new one. So is a process, which would keep its
    namespace alive.
    """
    if not doomed:
        return Removal(set(), set(), set())
    namespaces = {key[0] for key in doomed if key[1] == "netns"}
    named = {key for key in doomed if key[1] in _BY_NAME or key[0] not in namespaces}
    devices = {(key[0], key[2]) for key in named if key[1] == "device"}
    for key, r in observed.items():
        if type(r) is Veth:
            ends_gone = (r.ns in namespaces) + (r.peer_ns in namespaces)
            if ends_gone == 1:
                named.add(key)
            if ends_gone or key in named:
                devices |= {(r.ns, r.name), (r.peer_ns, r.peer)}
    for r in observed.values():
        if type(r) is Vxlan or type(r) is OvsVxlan:
            under = r.parent if type(r) is Vxlan else r.datapath  # type: ignore[union-attr]
            if (r.ns, under) in devices:
                devices.add((r.ns, r.name))
    bare = _without_address(named, observed)
    unshaped = {(o.ns, o.dev) for key, o in observed.items() if key in named and type(o) is Htb}
    calm = {(o.ns, o.dev) for key, o in observed.items() if key in named and type(o) is Netem}
    whole = {(o.ns, o.dev) for key, o in observed.items() if key in named and type(o) is Cutter}
    gone: set[Key] = set()
    for key, r in observed.items():
        if key[1] in _BY_NAME or (key[1] == "device" and key in named):
            continue
        if key[0] in namespaces:
            gone.add(key)
        elif key[1] == "device":
            if (key[0], key[2]) in devices:
                gone.add(key)
        else:
            at = (key[0], device_of(r))
            if (
                at in devices
                or (at in bare and _needs_address(r))
                or (at in unshaped and type(r) in (TcClass, TcFilter))
                or (at in calm and type(r) is Qdisc and r.parent)
                or (at in whole and type(r) in (Netem, Qdisc))
                or _port_of(r, devices)
            ):
                gone.add(key)
            elif type(r) is Route and r.hops and (devices or bare):
                ends = {(r.ns, hop.dev) for hop in r.hops}
                # a device takes a route of IPv4 along, an address only its own next hop
                taken = ends & devices if _needs_address(r) else ends <= devices
                if taken or (ends <= bare and _needs_address(r)):
                    gone.add(key)
    return Removal(named - gone, gone, devices)


def _port_of(r: Resource, devices: Set[tuple[str, str]]) -> bool:
    """Whether it is a port of a datapath among these."""
    return isinstance(r, OvsVxlan | OvsVport) and (r.ns, r.datapath) in devices


def _needs_address(r: Resource) -> bool:
    if type(r) is Route:
        return family(r.dst) is IPV4
    return type(r) is Neigh and family(r.address) is IPV4


def device_of(r: Resource) -> str:
    """The interface that a resource stands on, or empty."""
    if type(r) is Interface:
        return r.name
    return interface_of(r) if type(r) is Sysctl else str(getattr(r, "dev", ""))


def interface_of(r: Sysctl) -> str:
    """The interface of ``net/ipv4/conf/<interface>/…`` and its like, or empty."""
    parts = r.name.split("/")
    return "" if len(parts) != 5 or parts[3] in ("all", "default") else parts[3]


def _without_address(named: Set[Key], observed: Mapping[Key, Resource]) -> set[tuple[str, str]]:
    """The interfaces that lose every address of IPv4 they have."""
    losing = {
        (key[0], device_of(observed[key]))
        for key in named
        if key[1] == "addr" and family(key[2]) is IPV4
    }
    if not losing:
        return losing
    return losing - {
        (r.ns, r.dev)
        for key, r in observed.items()
        if type(r) is Addr and key not in named and family(r.address) is IPV4
    }
