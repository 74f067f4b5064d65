"""Weave Net: one layer-2 segment for the pods of all nodes.

Faithful: the bridge ``weave`` with the peer's name for its MAC address and an address of the
range ("exposed"), its short ARP timers, pods with the range's mask whose host ends (``vethwepl…``)
have hairpin on, the cable that leads away from the bridge, the MTU that follows no link,
the chains WEAVE and WEAVE-EXPOSE and the rules in FORWARD, a pod's own two rules about multicast,
addresses out of the ring (:mod:`emulator.ring`). As on Kubernetes: a pod has no route to
224.0.0.0/4, which only containers of Docker get.

``fastdp`` is the layout with a datapath of Open vSwitch, the kernel's alone, and a process that
stands for the router and writes its flows on miss (:mod:`emulator.datapath.fastdp`): in the same
order as Weave's, with the same keys and actions. Flows are learnt, and in no plan. Not modelled:
heartbeats in the tunnel, after whose loss a connection falls back to sleeve (a spec says which of
both it wants), and nodes that reach each other only by way of a third one. With ``encryption``
ESP is around the tunnel (:mod:`emulator.datapath.fastdp_esp`).

``sleeve`` is the layout without Open vSwitch: frames leave the cable's other end, ``vethwe-pcap``,
through a process that stands for the router (:mod:`emulator.datapath.sleeve`), and therefore with
complete checksums; bridge and pods have the largest MTU there is. With ``encryption`` datagrams
are sealed as Weave's are (NaCl), under keys that are drawn for each lab, not for each connection.

The gratuitous ARP that Weave's CNI plugin sends for a new pod, the kernel sends for it when the
pod's ``eth0`` goes up (``arp_notify``).

Not modelled: the rules of the policy controller (as with EXPECT_NPC=0), the rule that guards the
router's HTTP port, the router's gossip. The ipset ``weaver-no-masq-local`` is a set of
nftables. Weave has no IPv6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from emulator.cni.context import Context, Learnt
from emulator.datapath import fastdp, fastdp_esp, sleeve
from emulator.datapath.base import namespace
from emulator.datapath.naming import mac, weave_veth
from emulator.datapath.offload import features
from emulator.datapath.vxlan import OVERHEAD_IPV4
from emulator.errors import Problem, SpecError
from emulator.plan.resources import (
    Addr,
    Bridge,
    Interface,
    NftTable,
    Resource,
    Route,
    Sysctl,
    veth,
)
from emulator.ring import peer_name
from emulator.secrets import password, private_key, public_key
from emulator.spec.resolved import Node, Pod

BRIDGE = "weave"
ROUTER = "weaver"
IPV4_HEAD = 20
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
        if _mtu(context) + _overhead(context, _mtu(context)) > context.spec.links.mtu:
            raise SpecError(_too_long(context))
        yield from fastdp.node(_fast(context, node))
        if _encrypted(context):
            end, peers = _ends(context, node)
            yield from fastdp_esp.states(name, end, peers)
            yield NftTable(name, "ip", "mangle", fastdp_esp.mangle(end, peers, fastdp.PORT))
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
    if context.wires.dead(node.name, ROUTER):
        return
    if _sleeve(context):
        yield ROUTER, sleeve.active(_settings(context, node))
    else:
        yield ROUTER, fastdp.active(_fast(context, node))


def _sleeve(context: Context) -> bool:
    return context.spec.network.backend == "sleeve"


def _encrypted(context: Context) -> bool:
    return bool(context.spec.network.option("encryption"))


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
    encrypted = _encrypted(context)
    peers = [
        sleeve.Peer(
            peer_name(peer.name), at[peer.name], public_key(_key(peer)) if encrypted else ""
        )
        for peer in context.spec.nodes
        if peer.name != node.name
    ]
    keys = sleeve.Keys(private_key(_key(node)), password("weave", 32)) if encrypted else None
    return sleeve.SleeveSettings(
        node=node.name,
        bridge=BRIDGE,
        name=peer_name(node.name),
        offload=context.spec.links.offload,
        process=ROUTER,
        path="/run/weave/sleeve.conf",
        underlay_mtu=context.spec.links.mtu,
        peers=peers,
        keys=keys,
    )


def _key(node: Node) -> str:
    return f"{node.name} weave"


def _fast(context: Context, node: Node) -> fastdp.FastdpSettings:
    at = context.addressing.node
    names = {other.name: peer_name(other.name) for other in context.spec.nodes}
    short = fastdp.short_numbers(names.values())
    peers = {n: fastdp.Peer(name, short[name], at[n]) for n, name in names.items()}
    return fastdp.FastdpSettings(
        node=node.name,
        bridge=BRIDGE,
        mtu=_mtu(context),
        offload=context.spec.links.offload,
        process=ROUTER,
        path="/run/weave/fastdp.conf",
        own=peers[node.name],
        peers=list(peers.values()),
    )


def _overhead(context: Context, mtu: int) -> int:
    """What fastdp puts around a packet of a pod."""
    inside = mtu + OVERHEAD_IPV4 - IPV4_HEAD
    return OVERHEAD_IPV4 + (fastdp_esp.overhead(inside) if _encrypted(context) else 0)


def _ends(context: Context, node: Node) -> tuple[fastdp_esp.End, list[fastdp_esp.End]]:
    """The node and all others, as ESP knows them."""
    at = context.addressing.node
    ends = {n.name: fastdp_esp.End(n.name, at[n.name]) for n in context.spec.nodes}
    return ends.pop(node.name), list(ends.values())


def _too_long(context: Context) -> Problem:
    links, mtu = context.spec.links.mtu, _mtu(context)
    room = next(m for m in range(links, 0, -1) if m + _overhead(context, m) <= links)
    what = "VXLAN and ESP add" if _encrypted(context) else "VXLAN adds"
    return Problem(
        str(context.spec.network.place),
        f"pods of MTU {mtu} over links of {links}",
        f"at most {room}: {what} {_overhead(context, room)} bytes",
        "Weave's MTU does not follow the links, and what does not fit makes it fall back to "
        f"sleeve: say backend: sleeve, or mtu: {room}",
    )


def _rules(context: Context, node: Node) -> Iterator[Resource]:
    words = {"r": context.spec.pod_cidr, "set": "", "first": ""}
    if context.spec.network.option("noMasqLocal"):
        blocks = ", ".join(context.addressing.blocks[node.name])
        words |= {"set": _LOCAL_SET.format(blocks=blocks), "first": _LOCAL_RULE}
    yield NftTable(node.name, "ip", "nat", _NAT.format(**words))
    words["guards"] = ""
    if _encrypted(context) and not _sleeve(context):
        words["guards"] = fastdp_esp.chains(*_ends(context, node), fastdp.PORT)
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
{guards}	chain FORWARD {{
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
