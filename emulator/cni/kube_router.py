"""kube-router: pods on bridges, and BGP between the nodes.

Faithful: the bridge ``kube-bridge`` with hairpin ports (the manifests with all features ask for
them) and the MTU of the node's uplink, unchanged; the rules that let pods' packets pass, and the
masquerading of what leaves the cluster, a node's address not counting as outside; GoBGP on every
node with kube-router's sets and policies, a full mesh of iBGP or route reflectors, GoBGP's own
timers; routes of protocol 17 to next hops of the node's own subnet and to no others; with overlay
on (the default) the rule that sends pods to table 77, which holds nothing as long as no tunnel
stands. Settings such as ``rp_filter`` kube-router only loosens where it finds them strict: they
are loose here.

Other than the real one: ``gobgpd`` and the watcher beside it are two processes where kube-router
is one, so each can die alone; a route that is not heard of again after a restart is removed, where
kube-router leaves it for good. The ipsets ``kube-router-pod-subnets`` and ``kube-router-node-ips``
are nftables sets of the same names in the table of the rule that asks them. The hold time is that
of all sessions; kube-router sets it for sessions with routers alone.

Not modelled: tunnels (IPIP, GUE), so a cluster that needs one is refused; the service proxy and
policies; ``/etc/iproute2/rt_tables`` and the CNI configuration; IPv6.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from emulator.cni import kube_router_bgp as bgp
from emulator.cni.context import Context, Learnt
from emulator.datapath import bridged, gobgp
from emulator.datapath.autonomous import Announced
from emulator.errors import Problem, Unsupported
from emulator.faults import Fault
from emulator.plan.resources import File, NftTable, Resource, Route, Rule, daemon
from emulator.spec.resolved import Node, Pod, ResolvedSpec

BRIDGE = "kube-bridge"
WATCHER = "watcher"
CONFIG = "/run/kube-router/gobgpd.toml"
PROTOCOL = "17"
TUNNELS = 77
_RULE_PRIORITY = 32765
"""What the kernel gives to the first rule that asks for none."""


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Everything on one node, its pods excepted. Unsupported where it would take a tunnel."""
    spec, at = context.spec, context.addressing
    _refuse_tunnels(spec)
    yield from bridged.bridge(_bridge(context, node))
    if spec.network.option("enableOverlay"):
        yield Rule(node.name, _RULE_PRIORITY, f"from {at.node_subnet[node.name]}", TUNNELS)
    if spec.network.option("enablePodEgress"):
        yield _egress(context, node)
    yield NftTable(node.name, "ip", "filter", _FILTER.format(bridge=BRIDGE, uplink=node.interface))
    yield File(node.name, CONFIG, bgp.config(context, node))
    restarting = bool(spec.network.option("bgpGracefulRestart"))
    speaker = daemon(node.name, bgp.SPEAKER, gobgp.argv(CONFIG, restarting=restarting), CONFIG)
    # of its configuration gobgpd takes over new neighbours; other flags start it anew
    yield speaker._replace(env=(("KUBE_ROUTER_FLAGS", bgp.flags(context, node)),))
    yield daemon(node.name, WATCHER, _watcher(context, node))


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod on its node's bridge."""
    spec = context.spec
    return bridged.pod(
        _bridge(context, node), pod.id, context.addressing.pod[pod.id], spec.congestion_control
    )


def learnt(context: Context, node: Node) -> Learnt:
    """The routes that the watcher writes.

    Where a daemon of the node is dead, they are those of when it died; an interface that goes
    down takes them with it all the same.
    """
    at, wires = context.addressing, context.wires
    if wires.down(node.name, node.interface):
        return
    followed = wires.before(Fault("daemon", f"{node.name}:{bgp.SPEAKER}"),
                            Fault("daemon", f"{node.name}:{WATCHER}"))  # fmt: skip
    sessions = bgp.Sessions(context.spec, followed)
    for peer in context.spec.nodes:
        if peer.segment == node.segment and sessions.hears(node.name, peer.name):
            subnet, via = at.node_subnet[peer.name], at.node[peer.name]
            yield WATCHER, Route(node.name, subnet, via, node.interface, proto=PROTOCOL)


def announced(context: Context, node: Node) -> Announced | None:
    """What the routers of the node's segment hear of it, where it speaks to them."""
    option = context.spec.network.option
    if not option("peerRouters") or context.wires.dead(node.name, bgp.SPEAKER):
        return None
    return Announced(int(option("clusterAsn")), (context.addressing.node_subnet[node.name],))


def _bridge(context: Context, node: Node) -> bridged.BridgeSettings:
    return bridged.BridgeSettings(
        node=node.name,
        bridge=BRIDGE,
        gateway=context.addressing.gateway[node.name],
        prefix=context.spec.node_prefix,
        mtu=context.spec.links.mtu,
        offload=context.spec.links.offload,
        hairpin=True,
        cluster_route="",
    )


def _refuse_tunnels(spec: ResolvedSpec) -> None:
    if not spec.network.option("enableOverlay"):
        return
    segments = sorted({node.segment for node in spec.nodes})
    if spec.network.option("overlayType") == "full":
        found = "enableOverlay with overlayType full, a tunnel to every node"
    elif len(segments) > 1:
        found = f"enableOverlay with nodes in {len(segments)} segments ({', '.join(segments)})"
    else:
        return
    raise Unsupported(
        Problem(
            str(spec.network.place),
            found,
            "a cluster without tunnels between nodes: this version has none of kube-router's",
            "write enableOverlay: false; kube-router leaves the way to other subnets to the fabric "
            "then. Or overlayType: subnet with all nodes on one segment, which needs no tunnel",
        )
    )


def _watcher(context: Context, node: Node) -> tuple[str, ...]:
    spec, at = context.spec, context.addressing
    segment = next(s for s in spec.segments if s.name == node.segment)
    words = {
        "announce": at.node_subnet[node.name],
        "address": at.node[node.name],
        "subnet": segment.cidr,
        "dev": node.interface,
        "period": str(spec.network.option("injectedRoutesSyncPeriod")),
    }
    return ("gobgp-routes", *(word for k, v in words.items() for word in (f"--{k}", v)))


def _egress(context: Context, node: Node) -> NftTable:
    at, nodes = context.addressing, context.spec.nodes
    return NftTable(
        node.name,
        "ip",
        "nat",
        _NAT.format(
            nodes=_elements(at.node[n.name] for n in nodes),
            pods=_elements(at.node_subnet[n.name] for n in nodes),
        ),
    )


def _elements(prefixes: Iterator[str]) -> str:
    """In nft's order, two in a row, as it lists them."""
    found = sorted(prefixes, key=lambda text: IPv4Address(text.partition("/")[0]))
    rows = [", ".join(found[at : at + 2]) for at in range(0, len(found), 2)]
    return ",\n\t\t\t     ".join(rows)


_NAT = """\
table ip nat {{
	set kube-router-node-ips {{
		type ipv4_addr
		elements = {{ {nodes} }}
	}}

	set kube-router-pod-subnets {{
		type ipv4_addr
		flags interval
		elements = {{ {pods} }}
	}}

	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr @kube-router-pod-subnets ip daddr != @kube-router-pod-subnets \
ip daddr != @kube-router-node-ips masquerade fully-random
	}}
}}
"""

# each was put before the one that stood first, so the last of them leads
_FILTER = """\
table ip filter {{
	chain FORWARD {{
		type filter hook forward priority filter; policy accept;
		oifname "{uplink}" accept comment "allow outbound node port traffic on node interface \
with which node ip is associated"
		oifname "{bridge}" accept comment "allow inbound traffic to pods"
		iifname "{bridge}" accept comment "allow outbound traffic from pods"
	}}
}}
"""
