"""flannel: the pod network of one subnet per node.

Faithful: the state that flanneld and its CNI plugin leave on each node for the backends ``vxlan``
and ``ipip`` (both with and without ``directRouting``), ``host-gw``, ``udp``, ``wireguard``
(:mod:`emulator.cni.flannel_wireguard`), ``ipsec`` (:mod:`emulator.cni.flannel_ipsec`) and
``alloc`` (which leaves the way between nodes to the underlay): bridge ``cni0`` with hairpin ports,
``flannel.<vni>`` or ``flannel.ipip``, neighbour and forwarding entries, routes, MTU, masquerade
and forward rules in either flavour (``iptables``, written as the tables ``ip nat`` and ``ip
filter`` that iptables-nft uses, or ``nftables``), ``/run/flannel/subnet.env``. All of it, but for
``udp`` and ``ipip``, in IPv4, in IPv6 or in both: then there are two VXLAN devices of one number.
Only the MTU is one for all, and is what VXLAN over IPv4 leaves: ``flannel-v6.<vni>`` asks for it
too and gets 20 bytes less from the kernel, so that what is in between comes back to its sender as
too big. Under ``udp`` packets go through user space: the process ``flanneld`` of a node runs our
``udp-proxy``, which has flannel's wire and its ways with TTL and unknown destinations.

Not modelled: leases (etcd or node annotations) and their renewal; the mark rule's
counterpart kube-proxy; that a flanneld which ends takes its WireGuard device along, and that its
key file is for root alone; the empty table that the nftables flavour makes of a family that is
not used. Names and MAC addresses that flannel draws at random come from a hash. Under ``udp``:
another port; and ``flannel0`` is made by the lab, so it is persistent and outlives a ``flanneld``
that is started again, though not one that ``podwire fail`` has killed.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni import flannel_ipsec, flannel_wireguard
from emulator.cni.context import Context, Learnt
from emulator.datapath import bridged, ipip, proxied, vxlan
from emulator.datapath.inet import addresses
from emulator.datapath.offload import features
from emulator.family import IPV6
from emulator.ipam import Addressing
from emulator.plan.resources import (
    File,
    Interface,
    NftTable,
    Resource,
    Route,
    Sysctl,
    Vxlan,
)
from emulator.spec.resolved import Node, Pod

BRIDGE = "cni0"
DAEMON = "flanneld"
_UDP_PORT = 8285
_IPIP = "flannel.ipip"
_OVERHEAD = {
    "vxlan": vxlan.OVERHEAD_IPV4,
    "ipip": ipip.OVERHEAD,
    "udp": proxied.OVERHEAD_IPV4,
    "wireguard": flannel_wireguard.OVERHEAD,
}


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Everything that flannel writes on one node, its pods excepted."""
    yield from bridged.bridge(_bridge(context, node, context.addressing))
    for at in context.addressing.others:
        yield from bridged.bridge_addresses(_bridge(context, node, at))
    yield from daemon(context, node)


def daemon(context: Context, node: Node) -> Iterator[Resource]:
    """What flanneld itself writes on one node; the bridge is its CNI plugin's."""
    network = context.spec.network
    if network.backend == "wireguard":
        yield from flannel_wireguard.node(context, node)
    for at in context.addressing.families:
        if network.backend == "vxlan":
            yield from _vxlan(context, node, at)
        elif network.backend == "ipip":
            yield from _ipip(context, node, at)
        elif network.backend == "udp":
            yield from proxied.node(_proxy(context, node))
        elif network.backend == "ipsec":
            yield from flannel_ipsec.node(context, node)
        elif network.backend == "host-gw":
            for peer in context.spec.nodes:
                if peer.name != node.name:
                    yield _direct(at, node, peer)
        if network.option("ipMasq"):
            yield from _masquerade(context, node, at)
    yield _environment(context, node)


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod's plumbing by the bridge plugin, as flannel's CNI plugin delegates to it."""
    at, pinned = context.addressing, context.spec.congestion_control
    yield from bridged.pod(_bridge(context, node, at), pod.id, at.pod[pod.id], pinned)
    for other in at.others:
        yield from bridged.pod_addresses(_bridge(context, node, other), pod.id, other.pod[pod.id])


def learnt(context: Context, node: Node) -> Learnt:
    """What daemons write by themselves: under ``udp``, that flanneld has its table; under
    ``ipsec``, what charon has negotiated."""
    if context.spec.network.backend == "ipsec":
        yield from flannel_ipsec.learnt(context, node)
    if context.spec.network.backend == "udp" and not context.wires.dead(node.name, DAEMON):
        yield DAEMON, proxied.active(_proxy(context, node))


def mtu(context: Context) -> int:
    """FLANNEL_MTU: of the bridge and of the pods, whatever the family."""
    backend = context.spec.network.backend
    spared = flannel_ipsec.overhead(context) if backend == "ipsec" else _OVERHEAD.get(backend, 0)
    return context.spec.links.mtu - spared


def _bridge(context: Context, node: Node, at: Addressing) -> bridged.BridgeSettings:
    return bridged.BridgeSettings(
        node=node.name,
        bridge=BRIDGE,
        gateway=at.gateway[node.name],
        prefix=at.prefix,
        mtu=mtu(context),
        offload=context.spec.links.offload,
        hairpin=True,
        cluster_route=at.pod_cidr,
    )


def _vxlan(context: Context, node: Node, at: Addressing) -> Iterator[Resource]:
    spec = context.spec
    vni = int(spec.network.option("vni"))
    dev, overhead = f"flannel.{vni}", vxlan.OVERHEAD_IPV4
    if at.family is IPV6:
        dev, overhead = f"flannel-v6.{vni}", vxlan.OVERHEAD_IPV6
    own_mac = context.vtep_mac(node.name, dev)
    yield Vxlan(
        node.name,
        dev,
        vni,
        node.interface,
        at.node[node.name],
        int(spec.network.option("port")),
        learning=False,
    )
    yield Interface(
        node.name,
        dev,
        True,
        spec.links.mtu - overhead,
        own_mac,
        "",
        False,
        *features(spec.links.offload, "tunnel"),
    )
    # of one address, or the kernel would add a connected route for the whole subnet
    own = f"{_subnet_address(at, node.name)}/{at.family.bits}"
    yield from addresses(node.name, dev, own)
    yield Sysctl(node.name, f"net/ipv6/conf/{dev}/accept_ra", "0", True)
    direct = bool(spec.network.option("directRouting"))
    for peer in spec.nodes:
        if peer.name == node.name:
            continue
        if direct and peer.segment == node.segment:
            yield _direct(at, node, peer)
        else:
            yield from vxlan.peer(
                node.name,
                dev,
                at.node_subnet[peer.name],
                _subnet_address(at, peer.name),
                context.vtep_mac(peer.name, dev),
                at.node[peer.name],
            )


def _ipip(context: Context, node: Node, at: Addressing) -> Iterator[Resource]:
    """With the local address said, or the kernel would take it for a second ``tunl0``."""
    spec = context.spec
    yield from ipip.device(node.name, _IPIP, at.node[node.name], mtu(context), spec.links.offload)
    yield from addresses(node.name, _IPIP, f"{_subnet_address(at, node.name)}/32")
    direct = bool(spec.network.option("directRouting"))
    for peer in spec.nodes:
        if peer.name == node.name:
            continue
        # the same route by another device: flannel leaves it onlink
        dev = node.interface if direct and peer.segment == node.segment else _IPIP
        yield ipip.peer(node.name, dev, at.node_subnet[peer.name], at.node[peer.name])


def _proxy(context: Context, node: Node) -> proxied.ProxySettings:
    spec, at = context.spec, context.addressing
    return proxied.ProxySettings(
        node=node.name,
        dev="flannel0",
        address=_subnet_address(at, node.name),
        network=spec.pod_cidr,
        mtu=mtu(context),
        offload=spec.links.offload,
        name=DAEMON,
        path="/run/flannel/udp.conf",
        underlay=at.node[node.name],
        port=_UDP_PORT,
        peers=[
            proxied.Peer(at.node_subnet[peer.name], at.node[peer.name])
            for peer in spec.nodes
            if peer.name != node.name
        ],
    )


def _direct(at: Addressing, node: Node, peer: Node) -> Route:
    return Route(node.name, at.node_subnet[peer.name], at.node[peer.name], node.interface)


def _subnet_address(at: Addressing, node: str) -> str:
    return at.node_subnet[node].partition("/")[0]


def _environment(context: Context, node: Node) -> File:
    text = ""
    # IPv4 comes first, whichever family is the primary one
    for at in sorted(context.addressing.families, key=lambda at: at.family.bits):
        six = "IPV6_" if at.family is IPV6 else ""
        text += f"FLANNEL_{six}NETWORK={at.pod_cidr}\n"
        text += f"FLANNEL_{six}SUBNET={at.gateway[node.name]}/{at.prefix}\n"
    masquerades = "true" if context.spec.network.option("ipMasq") else "false"
    text += f"FLANNEL_MTU={mtu(context)}\nFLANNEL_IPMASQ={masquerades}\n"
    return File(node.name, "/run/flannel/subnet.env", text)


def _masquerade(context: Context, node: Node, at: Addressing) -> Iterator[Resource]:
    ip = at.family.nft
    words = {"ip": ip, "c": at.pod_cidr, "l": at.node_subnet[node.name], "m": at.family.multicast}
    if context.spec.network.option("enableNFTables"):
        name = f"flannel-{at.family.name.lower()}"
        yield NftTable(node.name, ip, name, _NFTABLES.format(name=name, **words))
    else:
        yield NftTable(node.name, ip, "nat", _NAT.format(**words))
        yield NftTable(node.name, ip, "filter", _FILTER.format(**words))


# Rules 1 to 6 of FLANNEL-POSTRTG. Rule 4 keeps the source of what comes from outside to a
# local pod; rule 6 hides nodes and outsiders from remote pods.
_NAT = """\
table {ip} nat {{
	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		jump FLANNEL-POSTRTG
	}}

	chain FLANNEL-POSTRTG {{
		meta mark & 0x00004000 == 0x00004000 return
		{ip} saddr {l} {ip} daddr {c} return
		{ip} saddr {c} {ip} daddr {l} return
		{ip} saddr != {c} {ip} daddr {l} return
		{ip} saddr {c} {ip} daddr != {m} masquerade fully-random
		{ip} saddr != {c} {ip} daddr {c} masquerade fully-random
	}}
}}
"""

_FILTER = """\
table {ip} filter {{
	chain FORWARD {{
		type filter hook forward priority filter; policy accept;
		jump FLANNEL-FWD
	}}

	chain FLANNEL-FWD {{
		{ip} saddr {c} accept
		{ip} daddr {c} accept
	}}
}}
"""

# The nftables flavour differs in two places: the mark is compared whole, and rule 4 names
# the cluster, so that node to remote pod is not masqueraded and rule 6 is never reached.
_NFTABLES = """\
table {ip} {name} {{
	chain forward {{
		type filter hook forward priority filter; policy accept;
		{ip} saddr {c} accept
		{ip} daddr {c} accept
	}}

	chain postrtg {{
		type nat hook postrouting priority srcnat; policy accept;
		meta mark 0x00004000 return
		{ip} saddr {l} {ip} daddr {c} return
		{ip} saddr {c} {ip} daddr {l} return
		{ip} saddr != {c} {ip} daddr {c} return
		{ip} saddr {c} {ip} daddr != {m} masquerade fully-random
		{ip} saddr != {c} {ip} daddr {c} masquerade fully-random
	}}
}}
"""
