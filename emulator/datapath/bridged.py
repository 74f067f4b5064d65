"""Pods on a Linux bridge, as CNI's bridge plugin wires them.

The bridge holds the first address of the node's subnet; each pod has a veth pair whose
node end is a port of the bridge; the pod's default route goes through the bridge.

Settings are of one family. A second one adds its addresses and routes to what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from emulator.datapath.base import namespace
from emulator.datapath.inet import addresses, pod_settings
from emulator.datapath.naming import host_veth, mac
from emulator.datapath.offload import features
from emulator.family import IPV6, family
from emulator.plan.resources import (
    Bridge,
    Interface,
    Resource,
    Route,
    Sysctl,
    veth,
)
from emulator.spec.resolved import Offload


class BridgeSettings(NamedTuple):
    """Of one node in one family: bridge name, gateway address and prefix, MTU of all."""

    node: str
    bridge: str
    gateway: str
    prefix: int
    mtu: int
    offload: Offload
    hairpin: bool
    cluster_route: str
    """An extra route of each pod through the gateway (flannel: the whole pod CIDR), or empty."""
    promisc: bool = False
    """Whether the bridge takes in every frame."""


def bridge(s: BridgeSettings) -> Iterator[Resource]:
    """The bridge itself. Its MAC is set, or it would follow the lowest of its ports."""
    yield Bridge(s.node, s.bridge)
    yield Interface(
        s.node,
        s.bridge,
        True,
        s.mtu,
        mac(s.node, s.bridge),
        "",
        False,
        *features(s.offload, "bridge"),
        promisc=s.promisc,
    )
    yield Sysctl(s.node, f"net/ipv6/conf/{s.bridge}/accept_ra", "0", True)
    yield from bridge_addresses(s)


def bridge_addresses(s: BridgeSettings) -> Iterator[Resource]:
    """The bridge's part in one family."""
    yield from addresses(s.node, s.bridge, f"{s.gateway}/{s.prefix}")


def pod(
    s: BridgeSettings, pod_id: str, address: str, congestion_control: str | None
) -> Iterator[Resource]:
    """A pod's namespace, its cable to the bridge, address and routes."""
    port = host_veth(pod_id)
    offload = features(s.offload, "pod")
    yield from namespace(pod_id, forwards=False, congestion_control=congestion_control)
    yield veth(s.node, port, pod_id, "eth0")
    yield Interface(s.node, port, True, s.mtu, mac(pod_id, port), s.bridge, s.hairpin, *offload)
    yield Sysctl(s.node, f"net/ipv6/conf/{port}/accept_ra", "0", True)
    yield Interface(pod_id, "eth0", True, s.mtu, mac(pod_id, "eth0"), "", False, *offload)
    yield Sysctl(pod_id, "net/ipv4/conf/eth0/arp_notify", "1")
    yield Sysctl(pod_id, "net/ipv6/conf/eth0/accept_dad", "0", True)
    yield from pod_addresses(s, pod_id, address)


def pod_addresses(s: BridgeSettings, pod_id: str, address: str) -> list[Resource]:
    """A pod's part in one family: address and routes."""
    which = family(address)
    made = addresses(pod_id, "eth0", f"{address}/{s.prefix}")
    made.append(Route(pod_id, which.default, s.gateway, "eth0"))
    if s.cluster_route:
        made.append(Route(pod_id, s.cluster_route, s.gateway, "eth0"))
    if which is IPV6:
        made += pod_settings(pod_id, "eth0")
    return made
