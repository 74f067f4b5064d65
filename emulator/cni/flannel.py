"""flannel: the pod network of one subnet per node.

Faithful: the state that flanneld and its CNI plugin leave on each node for the backends
``vxlan`` (with and without ``directRouting``), ``host-gw``, ``udp`` and ``alloc`` (which leaves
the way between nodes to the underlay): bridge ``cni0`` with hairpin ports, ``flannel.<vni>``,
neighbour and forwarding entries, routes, MTU, masquerade and forward rules in either flavour
(``iptables``, written as the tables ``ip nat`` and ``ip filter`` that iptables-nft uses, or
``nftables``), ``/run/flannel/subnet.env``. Under ``udp`` packets go through user space: the
process ``flanneld`` of a node runs our ``udp-proxy``, which has flannel's wire and its ways with
TTL and unknown destinations.

Not modelled: leases (etcd or node annotations) and their renewal; the mark rule's
counterpart kube-proxy; IPv6 and the ``flannel-v6`` device. Names and MAC addresses that
flannel draws at random come from a hash. Under ``udp``: another port; and ``flannel0`` is made
by the lab, so it is persistent and outlives a ``flanneld`` that is started again, though not one
that ``podwire fail`` has killed. IPv6 link-local addresses are never generated.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni.context import Context, Learnt
from emulator.datapath import bridged, proxied, vxlan
from emulator.datapath.naming import mac
from emulator.datapath.offload import features
from emulator.plan.resources import (
    Addr,
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
_OVERHEAD = {"vxlan": vxlan.OVERHEAD_IPV4, "udp": proxied.OVERHEAD_IPV4}


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Everything that flannel writes on one node, its pods excepted."""
    yield from bridged.bridge(_bridge(context, node))
    yield from daemon(context, node)


def daemon(context: Context, node: Node) -> Iterator[Resource]:
    """What flanneld itself writes on one node; the bridge is its CNI plugin's."""
    backend = context.spec.network.backend
    if backend == "vxlan":
        yield from _vxlan(context, node)
    elif backend == "udp":
        yield from proxied.node(_proxy(context, node))
    elif backend == "host-gw":
        for peer in context.spec.nodes:
            if peer.name != node.name:
                yield _direct(context, node, peer)
    if context.spec.network.option("ipMasq"):
        yield from _masquerade(context, node)
    yield _environment(context, node)


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod's plumbing by the bridge plugin, as flannel's CNI plugin delegates to it."""
    return bridged.pod(
        _bridge(context, node),
        pod.id,
        context.addressing.pod[pod.id],
        context.spec.congestion_control,
    )


def learnt(context: Context, node: Node) -> Learnt:
    """What flanneld writes by itself: under ``udp``, that it has its table."""
    if context.spec.network.backend == "udp" and not context.wires.dead(node.name, DAEMON):
        yield DAEMON, proxied.active(_proxy(context, node))


def mtu(context: Context) -> int:
    """FLANNEL_MTU: of the bridge and of the pods."""
    return context.spec.links.mtu - _OVERHEAD.get(context.spec.network.backend, 0)


def _bridge(context: Context, node: Node) -> bridged.BridgeSettings:
    return bridged.BridgeSettings(
        node=node.name,
        bridge=BRIDGE,
        gateway=context.addressing.gateway[node.name],
        prefix=context.spec.node_prefix,
        mtu=mtu(context),
        offload=context.spec.links.offload,
        hairpin=True,
        cluster_route=context.spec.pod_cidr,
    )


def _vxlan(context: Context, node: Node) -> Iterator[Resource]:
    spec, addressing = context.spec, context.addressing
    vni = int(spec.network.option("vni"))
    dev = f"flannel.{vni}"
    address = _subnet_address(context, node.name)
    yield Vxlan(
        node.name,
        dev,
        vni,
        node.interface,
        addressing.node[node.name],
        int(spec.network.option("port")),
        learning=False,
    )
    yield Interface(
        node.name,
        dev,
        True,
        mtu(context),
        mac(node.name, dev),
        "",
        False,
        *features(spec.links.offload, "tunnel"),
    )
    # /32, or the kernel would add a connected route for the whole subnet
    yield Addr(node.name, dev, f"{address}/32")
    yield Sysctl(node.name, f"net/ipv6/conf/{dev}/accept_ra", "0", True)
    direct = bool(spec.network.option("directRouting"))
    for peer in spec.nodes:
        if peer.name == node.name:
            continue
        if direct and peer.segment == node.segment:
            yield _direct(context, node, peer)
        else:
            yield from vxlan.peer(
                node.name,
                dev,
                addressing.node_subnet[peer.name],
                _subnet_address(context, peer.name),
                context.vtep_mac(peer.name, dev),
                addressing.node[peer.name],
            )


def _proxy(context: Context, node: Node) -> proxied.ProxySettings:
    spec, addressing = context.spec, context.addressing
    return proxied.ProxySettings(
        node=node.name,
        dev="flannel0",
        address=_subnet_address(context, node.name),
        network=spec.pod_cidr,
        mtu=mtu(context),
        offload=spec.links.offload,
        name=DAEMON,
        path="/run/flannel/udp.conf",
        underlay=addressing.node[node.name],
        port=_UDP_PORT,
        peers=[
            proxied.Peer(addressing.node_subnet[peer.name], addressing.node[peer.name])
            for peer in spec.nodes
            if peer.name != node.name
        ],
    )


def _direct(context: Context, node: Node, peer: Node) -> Route:
    addressing = context.addressing
    return Route(
        node.name, addressing.node_subnet[peer.name], addressing.node[peer.name], node.interface
    )


def _subnet_address(context: Context, node: str) -> str:
    return context.addressing.node_subnet[node].partition("/")[0]


def _environment(context: Context, node: Node) -> File:
    spec = context.spec
    return File(
        node.name,
        "/run/flannel/subnet.env",
        f"FLANNEL_NETWORK={spec.pod_cidr}\n"
        f"FLANNEL_SUBNET={context.addressing.gateway[node.name]}/{spec.node_prefix}\n"
        f"FLANNEL_MTU={mtu(context)}\n"
        f"FLANNEL_IPMASQ={'true' if spec.network.option('ipMasq') else 'false'}\n",
    )


def _masquerade(context: Context, node: Node) -> Iterator[Resource]:
    cluster = context.spec.pod_cidr
    local = context.addressing.node_subnet[node.name]
    if context.spec.network.option("enableNFTables"):
        yield NftTable(node.name, "ip", "flannel-ipv4", _NFTABLES.format(c=cluster, l=local))
    else:
        yield NftTable(node.name, "ip", "nat", _NAT.format(c=cluster, l=local))
        yield NftTable(node.name, "ip", "filter", _FILTER.format(c=cluster))


# Rules 1 to 6 of FLANNEL-POSTRTG. Rule 4 keeps the source of what comes from outside to a
# local pod; rule 6 hides nodes and outsiders from remote pods.
_NAT = """\
table ip nat {{
	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		jump FLANNEL-POSTRTG
	}}

	chain FLANNEL-POSTRTG {{
		meta mark & 0x00004000 == 0x00004000 return
		ip saddr {l} ip daddr {c} return
		ip saddr {c} ip daddr {l} return
		ip saddr != {c} ip daddr {l} return
		ip saddr {c} ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != {c} ip daddr {c} masquerade fully-random
	}}
}}
"""

_FILTER = """\
table ip filter {{
	chain FORWARD {{
		type filter hook forward priority filter; policy accept;
		jump FLANNEL-FWD
	}}

	chain FLANNEL-FWD {{
		ip saddr {c} accept
		ip daddr {c} accept
	}}
}}
"""

# The nftables flavour differs in two places: the mark is compared whole, and rule 4 names
# the cluster, so that node to remote pod is not masqueraded and rule 6 is never reached.
_NFTABLES = """\
table ip flannel-ipv4 {{
	chain forward {{
		type filter hook forward priority filter; policy accept;
		ip saddr {c} accept
		ip daddr {c} accept
	}}

	chain postrtg {{
		type nat hook postrouting priority srcnat; policy accept;
		meta mark 0x00004000 return
		ip saddr {l} ip daddr {c} return
		ip saddr {c} ip daddr {l} return
		ip saddr != {c} ip daddr {c} return
		ip saddr {c} ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != {c} ip daddr {c} masquerade fully-random
	}}
}}
"""
