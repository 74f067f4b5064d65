"""Weave Net: one layer-2 segment for the pods of all nodes.

Faithful: the bridge ``weave`` with the peer's name for its MAC address and an address of the
range ("exposed"), its short ARP timers, pods with the range's mask whose host ends (``vethwepl…``)
have hairpin on, the cable that leads away from the bridge, the MTU that follows no link,
the chains WEAVE and WEAVE-EXPOSE and the rules in FORWARD, a pod's own two rules about multicast,
addresses out of the ring (:mod:`emulator.ring`). As on Kubernetes: a pod has no route to
224.0.0.0/4, which only containers of Docker get.

``fastdp`` stands here in a form that every kernel has. In the original ``datapath`` is a datapath
of Open vSwitch; here it is a second bridge, so that names and the way of a frame are the same:
``weave``, ``vethwe-bridge``, ``vethwe-datapath``, ``datapath``, ``vxlan-6784``. What the router
process knows about MAC addresses, the VXLAN device learns by itself; what it sends along the
topology's spanning tree to all peers, goes to a list of them. So these are not modelled: flows and
misses, the two short names of peers that are packed into the VNI (all nodes have number 1),
forwarding by way of a third peer, the heartbeat after which a connection falls back to sleeve.

``sleeve`` is the layout without Open vSwitch: frames leave the cable's other end, ``vethwe-pcap``,
through a process that stands for the router (:mod:`emulator.datapath.sleeve`), and therefore with
complete checksums; bridge and pods have the largest MTU there is.

The gratuitous ARP that Weave's CNI plugin sends for a new pod, the kernel sends for it when the
pod's ``eth0`` goes up (``arp_notify``).

Not modelled: the rules of the policy controller (as with EXPECT_NPC=0), the rule that guards the
router's HTTP port, encryption, the router's gossip. The ipset ``weaver-no-masq-local`` is a set of
nftables. Weave has no IPv6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from emulator.cni.context import Context, Learnt
from emulator.datapath import sleeve
from emulator.datapath.base import namespace
from emulator.datapath.naming import mac, weave_veth
from emulator.datapath.offload import features
from emulator.datapath.vxlan import OVERHEAD_IPV4
from emulator.errors import Problem, SpecError
from emulator.plan.resources import (
    FLOOD,
    Addr,
    Bridge,
    Fdb,
    Interface,
    NftTable,
    Resource,
    Route,
    Sysctl,
    Vxlan,
    veth,
)
from emulator.ring import peer_name
from emulator.spec.resolved import Node, Pod

BRIDGE = "weave"
DATAPATH = "datapath"
PORT = 6784
VXLAN = f"vxlan-{PORT}"
VNI = 1
ROUTER = "weaver"
_ARP = (("base_reachable_time", "5"), ("delay_first_probe_time", "2"), ("ucast_solicit", "1"))


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Everything on one node, its pods excepted. SpecError where VXLAN does not fit the links."""
    name = node.name
    own = _offloads(context, "bridge")
    yield Bridge(name, BRIDGE)
    yield Interface(name, BRIDGE, True, _mtu(context), peer_name(name), "", False, *own)
    yield Addr(name, BRIDGE, f"{context.addressing.gateway[name]}/{_prefix(context)}")
    yield from _arp(name, BRIDGE)
    yield Sysctl(name, f"net/ipv6/conf/{BRIDGE}/accept_ra", "0", True)
    if _sleeve(context):
        yield from sleeve.node(_settings(context, node))
    else:
        yield from _fastdp(context, node)
    yield from _rules(context, node)


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod on its node's bridge, in the network of all pods."""
    spec, port, mtu = context.spec, weave_veth(pod.id), _mtu(context)
    near, own = _offloads(context, "node"), _offloads(context, "pod")
    yield from namespace(pod.id, forwards=False, congestion_control=spec.congestion_control)
    yield veth(node.name, port, pod.id, "eth0")
    yield Interface(node.name, port, True, mtu, mac(pod.id, port), BRIDGE, True, *near)
    yield Sysctl(node.name, f"net/ipv6/conf/{port}/accept_ra", "0", True)
    yield Interface(pod.id, "eth0", True, mtu, mac(pod.id, "eth0"), "", False, *own)
    yield from _arp(pod.id, "eth0")
    yield Sysctl(pod.id, "net/ipv4/conf/eth0/arp_notify", "1")
    yield Addr(pod.id, "eth0", f"{context.addressing.pod[pod.id]}/{_prefix(context)}")
    yield Route(pod.id, "default", context.addressing.gateway[node.name], "eth0")
    yield NftTable(pod.id, "ip", "filter", _POD_FILTER.format(r=spec.pod_cidr))


def learnt(context: Context, node: Node) -> Learnt:
    """What the router's process writes: that it knows its peers."""
    if _sleeve(context) and not context.wires.dead(node.name, ROUTER):
        yield ROUTER, sleeve.active(_settings(context, node))


def _sleeve(context: Context) -> bool:
    return context.spec.network.backend == "sleeve"


def _mtu(context: Context) -> int:
    return sleeve.MTU if _sleeve(context) else int(context.spec.network.option("mtu"))


def _offloads(context: Context, end: Literal["bridge", "pod", "node"]) -> tuple[bool, ...]:
    profile = context.spec.links.offload
    if _sleeve(context):
        return sleeve.features(profile, end)
    return features(profile, "bridge" if end == "bridge" else "pod")


def _prefix(context: Context) -> str:
    return context.spec.pod_cidr.partition("/")[2]


def _arp(ns: str, dev: str) -> Iterator[Resource]:
    """Neighbours are asked again soon: an address may have moved to another MAC address."""
    for setting, value in _ARP:
        yield Sysctl(ns, f"net/ipv4/neigh/{dev}/{setting}", value)


def _settings(context: Context, node: Node) -> sleeve.SleeveSettings:
    at = context.addressing.node
    peers = [
        sleeve.Peer(peer_name(peer.name), at[peer.name])
        for peer in context.spec.nodes
        if peer.name != node.name
    ]
    return sleeve.SleeveSettings(
        node=node.name,
        bridge=BRIDGE,
        name=peer_name(node.name),
        offload=context.spec.links.offload,
        process=ROUTER,
        path="/run/weave/sleeve.conf",
        underlay_mtu=context.spec.links.mtu,
        peers=peers,
    )


def _fastdp(context: Context, node: Node) -> Iterator[Resource]:
    spec, at, name = context.spec, context.addressing.node, node.name
    mtu, own = _mtu(context), _offloads(context, "bridge")
    if mtu + OVERHEAD_IPV4 > spec.links.mtu:
        raise SpecError(_too_long(context))
    yield Bridge(name, DATAPATH)
    yield Interface(name, DATAPATH, True, mtu, mac(name, DATAPATH), "", False, *own)
    yield veth(name, "vethwe-bridge", name, "vethwe-datapath")
    for end, bridge in (("vethwe-bridge", BRIDGE), ("vethwe-datapath", DATAPATH)):
        yield Interface(name, end, True, mtu, mac(name, end), bridge, False, *own)
        yield Sysctl(name, f"net/ipv6/conf/{end}/accept_ra", "0", True)
    yield Vxlan(name, VXLAN, VNI, node.interface, at[name], PORT, learning=True)
    tunnel = features(spec.links.offload, "tunnel")
    yield Interface(name, VXLAN, True, mtu, mac(name, VXLAN), DATAPATH, False, *tunnel)
    for peer in spec.nodes:
        if peer.name != name:
            yield Fdb(name, VXLAN, FLOOD, at[peer.name])


def _too_long(context: Context) -> Problem:
    links, mtu = context.spec.links.mtu, _mtu(context)
    return Problem(
        str(context.spec.network.place),
        f"pods of MTU {mtu} over links of {links}",
        f"at most {links - OVERHEAD_IPV4}: VXLAN adds {OVERHEAD_IPV4} bytes",
        "Weave's MTU does not follow the links, and what does not fit makes it fall back to "
        f"sleeve: say backend: sleeve, or mtu: {links - OVERHEAD_IPV4}",
    )


def _rules(context: Context, node: Node) -> Iterator[Resource]:
    words = {"r": context.spec.pod_cidr, "set": "", "first": ""}
    if context.spec.network.option("noMasqLocal"):
        blocks = ", ".join(context.addressing.blocks[node.name])
        words |= {"set": _LOCAL_SET.format(blocks=blocks), "first": _LOCAL_RULE}
    yield NftTable(node.name, "ip", "nat", _NAT.format(**words))
    yield NftTable(node.name, "ip", "filter", _FILTER.format(**words))


_LOCAL_SET = """\
	set weaver-no-masq-local {{
		type ipv4_addr
		flags interval
		elements = {{ {blocks} }}
	}}

"""
_LOCAL_RULE = "\t\tip daddr @weaver-no-masq-local return\n"

_NAT = """\
table ip nat {{
{set}	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		jump WEAVE
	}}

	chain WEAVE {{
{first}		ip saddr {r} ip daddr 224.0.0.0/4 return
		ip saddr != {r} ip daddr {r} masquerade
		ip saddr {r} ip daddr != {r} masquerade
	}}
}}
"""

_FILTER = """\
table ip filter {{
	chain FORWARD {{
		type filter hook forward priority filter; policy accept;
		iifname "weave" oifname "weave" accept
		oifname "weave" jump WEAVE-EXPOSE
		iifname "weave" oifname != "weave" accept
		oifname "weave" ct state established,related accept
	}}

	chain WEAVE-EXPOSE {{
		ip daddr {r} accept
	}}
}}
"""

# multicast reaches a pod from its own network alone
_POD_FILTER = """\
table ip filter {{
	chain INPUT {{
		type filter hook input priority filter; policy accept;
		iifname "eth0" ip saddr {r} ip daddr 224.0.0.0/4 accept
		iifname "eth0" ip daddr 224.0.0.0/4 drop
	}}
}}
"""
