"""kubenet: a bridge on each node, and nothing on a node that leads to the others.

Faithful: the state that the kubelet of Kubernetes 1.23 leaves on a node that has run a pod:
bridge ``cbr0`` with the MTU of the node's own interfaces, the three hairpin modes (the default
one with a promiscuous bridge and ebtables' chain ``KUBE-DEDUP``, written as the table
``bridge filter`` that iptables-nft's ebtables uses), one masquerade rule for whatever leaves
``nonMasqueradeCIDR``, pods without duplicate address detection, an htb on ``cbr0`` with a class
and a u32 filter for each bandwidth annotation. The way between nodes is the fabric's: what is
``behind`` a node is in the routing tables of the underlay's routers, as in a cloud's.

The shaper stands where packets leave the node's stack for the bridge. What a pod receives from
elsewhere passes it; what pods of one node send each other is bridged past it, and what a pod
sends away never comes by: ``egress-bandwidth`` makes a class that nothing enters. The kubelet
counts classes in decimal and ``tc`` reads them as hexadecimal, so the tenth is ``1:10``, and
the thirtieth is ``1:30``, the default class: from then on all that no filter names shares it.

Not modelled: hostPort chains; IPv6; the counters and comments of the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from emulator.cni.context import Context, Prefixes
from emulator.datapath import bridged
from emulator.datapath.naming import mac
from emulator.plan.resources import (
    Htb,
    NftTable,
    Resource,
    Sysctl,
    TcClass,
    TcFilter,
)
from emulator.spec.resolved import Node, Pod

BRIDGE = "cbr0"

SMALLEST_MTU = 576
"""kubenet takes no interface with less for a model, and then falls back to another value."""
FALLBACK_MTU = 1460

_DEFAULT_CLASS = 0x30
_FIRST_FILTER = 0x800
_SMALLEST_BURST_B = 1600
"""What ``tc`` computes as burst where only a rate is said; more by a byte for each 8 Gbit/s."""


def node(context: Context, node: Node) -> Iterator[Resource]:
    """The bridge, its filter and its shaper, and the masquerade rule."""
    yield from bridged.bridge(_bridge(context, node))
    gateway, subnet = _subnet(context, node)
    if _hairpin_mode(context) == "promiscuous-bridge":
        text = _DEDUP.format(mac=mac(node.name, BRIDGE), gateway=gateway, subnet=subnet)
        yield NftTable(node.name, "bridge", "filter", text)
    outside = str(context.spec.network.option("nonMasqueradeCIDR"))
    if outside != "0.0.0.0/0":
        yield NftTable(node.name, "ip", "nat", _NAT.format(outside=outside))
    yield Htb(node.name, BRIDGE, _DEFAULT_CLASS)
    yield from _shaping(context, node)


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod's plumbing by the bridge plugin. DAD goes off before the plugin makes ``eth0``,
    which inherits that."""
    spec = context.spec
    address = context.addressing.pod[pod.id]
    yield from bridged.pod(_bridge(context, node), pod.id, address, spec.congestion_control)
    for scope in ("default", "eth0"):
        yield Sysctl(pod.id, f"net/ipv6/conf/{scope}/dad_transmits", "0", True)


def behind(context: Context, node: Node) -> Prefixes:
    """The fabric leads to a node what is for its pods."""
    return (context.addressing.node_subnet[node.name],)


def mtu(context: Context) -> int:
    """Of the bridge and of the pods: the smallest of the node's interfaces that are up."""
    links = context.spec.links.mtu
    return links if links >= SMALLEST_MTU else FALLBACK_MTU


def _hairpin_mode(context: Context) -> str:
    return str(context.spec.network.option("hairpinMode"))


def _subnet(context: Context, node: Node) -> tuple[str, str]:
    at = context.addressing
    return at.gateway[node.name], at.node_subnet[node.name]


def _bridge(context: Context, node: Node) -> bridged.BridgeSettings:
    return bridged.BridgeSettings(
        node=node.name,
        bridge=BRIDGE,
        gateway=context.addressing.gateway[node.name],
        prefix=context.spec.node_prefix,
        mtu=mtu(context),
        offload=context.spec.links.offload,
        hairpin=_hairpin_mode(context) == "hairpin-veth",
        cluster_route="",
        promisc=_hairpin_mode(context) == "promiscuous-bridge",
    )


def _shaping(context: Context, node: Node) -> Iterator[Resource]:
    """Classes and filters in the order in which the pods come: what each receives, then sends."""
    number = 0
    for pod in context.spec.pods:
        if pod.node != node.name or pod.host_network:
            continue
        address = f"{context.addressing.pod[pod.id]}/32"
        if pod.bandwidth.ingress:
            yield from _limit(node.name, number, "dst", address, pod.bandwidth.ingress)
            number += 1
        if pod.bandwidth.egress:
            yield from _limit(node.name, number, "src", address, pod.bandwidth.egress)
            number += 1


def _limit(
    node: str, number: int, field: Literal["src", "dst"], address: str, limit_bit: int
) -> Iterator[Resource]:
    minor = int(str(number + 1), 16)
    rate = limit_bit // 1000 * 1000
    yield TcClass(node, BRIDGE, minor, rate, _SMALLEST_BURST_B + rate // 8 // 1_000_000_000)
    yield TcFilter(node, BRIDGE, _FIRST_FILTER + number, field, address, minor)


_NAT = """\
table ip nat {{
	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		ip daddr != {outside} fib daddr type != local masquerade
	}}
}}
"""

# On a promiscuous bridge the node hears frames between its pods, and may route a second copy
# of one: it leaves with the bridge's MAC address and a pod's IP address. A chain of one's own
# ends with accept in ebtables.
_DEDUP = """\
table bridge filter {{
	chain KUBE-DEDUP {{
		oifname "veth*" ether saddr {mac} ip saddr {gateway} accept
		oifname "veth*" ether saddr {mac} ip saddr {subnet} drop
		accept
	}}

	chain OUTPUT {{
		type filter hook output priority filter; policy accept;
		jump KUBE-DEDUP
	}}
}}
"""
