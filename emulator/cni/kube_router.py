"""kube-router: pods on bridges, and BGP between the nodes.

Faithful: the bridge ``kube-bridge`` with hairpin ports (the manifests with all features ask for
them) and the MTU of the node's uplink, unchanged; the rules that let pods' packets pass, and the
masquerading of what leaves the cluster, a node's address not counting as outside; GoBGP on every
node with kube-router's sets and policies, a full mesh of iBGP or route reflectors, GoBGP's own
timers; routes of protocol 17 to next hops of the node's own subnet; with overlay on (the default)
to all others, or with ``overlayType: full`` to all, by a tunnel for each (IPIP, or GUE that is
called ``fou``), with the node's address as source, and table 77, which sends into the tunnel what
pods have for that node's own address, by a rule for packets of the node's pods. Nobody subtracts
the tunnel's header from the MTU of bridge and pods: what is too big comes back. With IPv6 the
bridge, the rules and the routes are there for each family, while a node has one session with
another one, about both. Settings such as ``rp_filter`` kube-router only loosens where it finds them
strict: they are loose here.

Other than the real one: ``gobgpd`` and the watcher beside it are two processes where kube-router is
one, so each can die alone; a route that is not heard of again after a restart is removed, where
kube-router leaves it for good. The ipsets ``kube-router-pod-subnets`` and ``kube-router-node-ips``
are nftables sets of the same names in the table of the rule that asks them. The hold time is that
of all sessions; kube-router sets it for sessions with routers alone. In the table of IPv6 the sets
lack the prefix ``inet6:`` that ipset has them under: nftables takes no colon. Tunnels stand from
the beginning: kube-router makes one when it first hears of a node, and removes it when the session
with that has ended.

Not modelled: the service proxy and policies; ``/etc/iproute2/rt_tables`` and the CNI configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from emulator.cni import kube_router_bgp as bgp
from emulator.cni.context import Context, Learnt
from emulator.datapath import bridged, gobgp, overlay
from emulator.datapath.autonomous import Announced
from emulator.datapath.naming import tunnel_of
from emulator.family import IPV6
from emulator.faults import Fault
from emulator.ipam import Addressing
from emulator.plan.resources import File, NftTable, Resource, Route, Rule, daemon
from emulator.spec.resolved import Node, Pod

BRIDGE = "kube-bridge"
WATCHER = "watcher"
CONFIG = "/run/kube-router/gobgpd.toml"
PROTOCOL = "17"
TUNNELS = 77
_RULE_PRIORITY = 32765
"""What the kernel gives to the first rule that asks for none."""


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Everything on one node, its pods excepted."""
    spec, at = context.spec, context.addressing
    yield from bridged.bridge(_bridge(context, at, node))
    for other in at.others:
        yield from bridged.bridge_addresses(_bridge(context, other, node))
    for one in at.families:
        ip, subnet = one.family.nft, one.node_subnet[node.name]
        if spec.network.option("enableOverlay"):
            yield Rule(node.name, _RULE_PRIORITY, f"from {subnet}", TUNNELS, ip)
            yield from overlay.tunnels(_overlay(context, one, node), _far_ends(context, one, node))
        if spec.network.option("enablePodEgress"):
            yield _egress(context, one, node)
        words = {"ip": ip, "bridge": BRIDGE, "uplink": node.interface}
        yield NftTable(node.name, ip, "filter", _FILTER.format(**words))
    yield File(node.name, CONFIG, bgp.config(context, node))
    restarting = bool(spec.network.option("bgpGracefulRestart"))
    speaker = daemon(node.name, bgp.SPEAKER, gobgp.argv(CONFIG, restarting=restarting), CONFIG)
    # of its configuration gobgpd takes over new neighbours; other flags start it anew
    yield speaker._replace(env=(("KUBE_ROUTER_FLAGS", bgp.flags(context, node)),))
    yield daemon(node.name, WATCHER, _watcher(context, node))


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod on its node's bridge."""
    at, pinned = context.addressing, context.spec.congestion_control
    yield from bridged.pod(_bridge(context, at, node), pod.id, at.pod[pod.id], pinned)
    for other in at.others:
        yield from bridged.pod_addresses(_bridge(context, other, node), pod.id, other.pod[pod.id])


def learnt(context: Context, node: Node) -> Learnt:
    """The routes that the watcher writes.

    Where a daemon of the node is dead, they are those of when it died; an interface that goes
    down takes them with it all the same.
    """
    wires, families = context.wires, context.addressing.families
    down = wires.down(node.name, node.interface)
    followed = wires.before(Fault("daemon", f"{node.name}:{bgp.SPEAKER}"),
                            Fault("daemon", f"{node.name}:{WATCHER}"))  # fmt: skip
    sessions = bgp.Sessions(context.spec, followed)
    for peer in context.spec.nodes:
        if not sessions.hears(node.name, peer.name):
            continue
        if _tunnelled(context, node, peer):
            for at in families:
                yield from _into_tunnel(at, node, peer, bool(down))
        elif peer.segment == node.segment and not down:
            for at in families:
                subnet, via = at.node_subnet[peer.name], at.node[peer.name]
                yield WATCHER, Route(node.name, subnet, via, node.interface, proto=PROTOCOL)


def _into_tunnel(at: Addressing, node: Node, peer: Node, down: bool) -> Learnt:
    """To the pods of another node, and for those of this one to that node itself.

    An address of IPv6 goes with its interface, and out of the routes that have it as source.
    """
    dev, bits = tunnel_of(at.node[peer.name]), at.family.bits
    own = "" if down and at.family is IPV6 else at.node[node.name]
    subnet, host = at.node_subnet[peer.name], f"{at.node[peer.name]}/{bits}"
    yield WATCHER, Route(node.name, subnet, "", dev, proto=PROTOCOL, src=own)
    yield WATCHER, Route(node.name, host, "", dev, table=TUNNELS)


def announced(context: Context, node: Node) -> Announced | None:
    """What the routers of the node's segment hear of it, where it speaks to them."""
    option = context.spec.network.option
    if not option("peerRouters") or context.wires.dead(node.name, bgp.SPEAKER):
        return None
    subnets = tuple(at.node_subnet[node.name] for at in context.addressing.families)
    return Announced(int(option("clusterAsn")), subnets)


def _bridge(context: Context, at: Addressing, node: Node) -> bridged.BridgeSettings:
    return bridged.BridgeSettings(
        node=node.name,
        bridge=BRIDGE,
        gateway=at.gateway[node.name],
        prefix=at.prefix,
        mtu=context.spec.links.mtu,
        offload=context.spec.links.offload,
        hairpin=True,
        cluster_route="",
    )


def _overlay(context: Context, at: Addressing, node: Node) -> overlay.OverlaySettings:
    option, links = context.spec.network.option, context.spec.links
    return overlay.OverlaySettings(
        node=node.name,
        address=at.node[node.name],
        gue=option("overlayEncap") == "fou",
        port=int(option("overlayEncapPort")),
        mtu=links.mtu,
        offload=links.offload,
    )


def _tunnelled(context: Context, node: Node, peer: Node) -> bool:
    """Whether a node reaches the pods of another one by a tunnel."""
    option = context.spec.network.option
    apart = peer.segment != node.segment or option("overlayType") == "full"
    return bool(option("enableOverlay")) and apart and peer.name != node.name


def _far_ends(context: Context, at: Addressing, node: Node) -> list[str]:
    return [at.node[peer.name] for peer in context.spec.nodes if _tunnelled(context, node, peer)]


def _watcher(context: Context, node: Node) -> tuple[str, ...]:
    words: list[str] = []
    for at in context.addressing.families:
        words += ["--announce", at.node_subnet[node.name], "--address", at.node[node.name]]
        words += ["--subnet", at.segment[node.segment]]
        for address in _far_ends(context, at, node):
            words += ["--tunnel", f"{address}={tunnel_of(address)}"]
    period = str(context.spec.network.option("injectedRoutesSyncPeriod"))
    return ("gobgp-routes", *words, "--dev", node.interface, "--period", period)


def _egress(context: Context, at: Addressing, node: Node) -> NftTable:
    nodes = context.spec.nodes
    return NftTable(
        node.name,
        at.family.nft,
        "nat",
        _NAT.format(
            ip=at.family.nft,
            kind="ipv6_addr" if at.family is IPV6 else "ipv4_addr",
            nodes=_elements(at.node[n.name] for n in nodes),
            pods=_elements(at.node_subnet[n.name] for n in nodes),
        ),
    )


def _elements(prefixes: Iterator[str]) -> str:
    """In nft's order, two in a row, of IPv6 one, as it lists them."""
    found = sorted(prefixes, key=lambda text: ip_address(text.partition("/")[0]))
    few = 1 if ":" in found[0] else 2
    rows = [", ".join(found[at : at + few]) for at in range(0, len(found), few)]
    return ",\n\t\t\t     ".join(rows)


_NAT = """\
table {ip} nat {{
	set kube-router-node-ips {{
		type {kind}
		elements = {{ {nodes} }}
	}}

	set kube-router-pod-subnets {{
		type {kind}
		flags interval
		elements = {{ {pods} }}
	}}

	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		{ip} saddr @kube-router-pod-subnets {ip} daddr != @kube-router-pod-subnets \
{ip} daddr != @kube-router-node-ips masquerade fully-random
	}}
}}
"""

# each was put before the one that stood first, so the last of them leads
_FILTER = """\
table {ip} filter {{
	chain FORWARD {{
		type filter hook forward priority filter; policy accept;
		oifname "{uplink}" accept comment "allow outbound node port traffic on node interface \
with which node ip is associated"
		oifname "{bridge}" accept comment "allow inbound traffic to pods"
		iifname "{bridge}" accept comment "allow outbound traffic from pods"
	}}
}}
"""
