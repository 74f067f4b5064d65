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

from emulator.cni.context import Context, Learnt
from emulator.datapath import bridged, gobgp
from emulator.datapath.autonomous import Announced, rack_routers
from emulator.datapath.bird import Speaker
from emulator.errors import Problem, SpecError, Unsupported
from emulator.faults import Fault
from emulator.plan.resources import File, NftTable, Resource, Route, Rule, daemon
from emulator.spec.resolved import Node, Pod, ResolvedSpec
from emulator.wires import Wires

BRIDGE = "kube-bridge"
SPEAKER, WATCHER = "gobgpd", "watcher"
CONFIG = "/run/kube-router/gobgpd.toml"
CLUSTER_ID = "42"
"""The value of the annotations kube-router.io/rr.server and rr.client."""
PROTOCOL = "17"
TUNNELS = 77
_RULE_PRIORITY = 32765
"""What the kernel gives to the first rule that asks for none."""


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Everything on one node, its pods excepted. Unsupported where it would take a tunnel."""
    spec, at = context.spec, context.addressing
    _refuse_tunnels(spec)
    _refuse_peers(spec)
    yield from bridged.bridge(_bridge(context, node))
    if spec.network.option("enableOverlay"):
        yield Rule(node.name, _RULE_PRIORITY, f"from {at.node_subnet[node.name]}", TUNNELS)
    if spec.network.option("enablePodEgress"):
        yield _egress(context, node)
    yield NftTable(node.name, "ip", "filter", _FILTER.format(bridge=BRIDGE, uplink=node.interface))
    yield File(node.name, CONFIG, _config(context, node))
    restarting = bool(spec.network.option("bgpGracefulRestart"))
    speaker = daemon(node.name, SPEAKER, gobgp.argv(CONFIG, restarting=restarting), CONFIG)
    # of its configuration gobgpd takes over new neighbours; other flags start it anew
    yield speaker._replace(env=(("KUBE_ROUTER_FLAGS", _flags(spec, node)),))
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
    followed = wires.before(Fault("daemon", f"{node.name}:{SPEAKER}"),
                            Fault("daemon", f"{node.name}:{WATCHER}"))  # fmt: skip
    sessions = _Sessions(context.spec, followed)
    for peer in context.spec.nodes:
        if peer.segment == node.segment and sessions.hears(node.name, peer.name):
            subnet, via = at.node_subnet[peer.name], at.node[peer.name]
            yield WATCHER, Route(node.name, subnet, via, node.interface, proto=PROTOCOL)


def announced(context: Context, node: Node) -> Announced | None:
    """What the routers of the node's segment hear of it, where it speaks to them."""
    option = context.spec.network.option
    if not option("peerRouters") or context.wires.dead(node.name, SPEAKER):
        return None
    return Announced(int(option("clusterAsn")), (context.addressing.node_subnet[node.name],))


class _Sessions:
    """Who has a BGP session with whom, and whose prefix comes to whom."""

    def __init__(self, spec: ResolvedSpec, wires: Wires) -> None:
        self._wires = wires
        self._servers = _servers(spec)

    def hears(self, name: str, origin: str) -> bool:
        """Whether a node's prefix reaches another one: at first hand, or by reflection."""
        if name == origin:
            return False
        if self._between(name, origin):
            return True
        if not self._servers or name in self._servers:
            return False
        told = [one for one in self._servers if self._between(origin, one)]
        if origin not in self._servers:  # what comes from a client goes on to other servers
            told += [r for r in self._servers if any(self._between(r, one) for one in told)]
        return any(self._between(name, one) for one in told)

    def _between(self, one: str, other: str) -> bool:
        if one == other or (self._servers and not self._servers & {one, other}):
            return False
        dead = self._wires.dead(one, SPEAKER) or self._wires.dead(other, SPEAKER)
        return not (dead or self._wires.between(one, other)[1])


def _servers(spec: ResolvedSpec) -> set[str]:
    """The route reflectors; without any, all nodes are peers."""
    return {node.name for node in spec.nodes[: int(spec.network.option("rrServers"))]}


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


def _refuse_peers(spec: ResolvedSpec) -> None:
    if not spec.network.option("peerRouters"):
        return
    place = str(spec.network.place)
    if spec.routing != "bgp":
        raise SpecError(
            Problem(place, "peerRouters over routers with static routes", "routers that speak BGP",
                    "write routing: bgp under underlay")
        )  # fmt: skip
    if spec.network.option("rrServers"):
        hint = "a route reflector takes all that routers tell it, the node's own network included"
        raise SpecError(Problem(place, "peerRouters with rrServers", "one of the two", hint))


def _flags(spec: ResolvedSpec, node: Node) -> str:
    """What a kube-router of this node would be told about BGP, its annotation included."""
    option = spec.network.option
    words = [f"--cluster-asn={option('clusterAsn')}", f"--bgp-holdtime={option('bgpHoldtime')}s"]
    if option("bgpGracefulRestart"):
        name = "bgp-graceful-restart"
        words.append(f"--{name} --{name}-time={option('bgpGracefulRestartTime')}s")
        words.append(f"--{name}-deferral-time={option('bgpGracefulRestartDeferralTime')}s")
    if servers := _servers(spec):
        role = "server" if node.name in servers else "client"
        words.append(f"kube-router.io/rr.{role}={CLUSTER_ID}")
    return " ".join(words)


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


def _config(context: Context, node: Node) -> str:
    spec, at = context.spec, context.addressing
    own = at.node[node.name]
    servers = _servers(spec)
    reflects = node.name in servers
    routers = _routers(context, node)
    tables = [*gobgp.speaker(int(spec.network.option("clusterAsn")), own)]
    if not reflects:  # a reflector takes and gives everything
        tables += _policies(context, node, [router.address for router in routers])
    for router in routers:
        tables += gobgp.neighbor(_session(context, own, router))
    for peer in spec.nodes:
        if peer.name != node.name and (not servers or servers & {node.name, peer.name}):
            speaker = Speaker(at.node[peer.name], int(spec.network.option("clusterAsn")))
            client = reflects and peer.name not in servers
            tables += gobgp.neighbor(_session(context, own, speaker, client))
    return gobgp.config(tables)


def _routers(context: Context, node: Node) -> list[Speaker]:
    if not context.spec.network.option("peerRouters"):
        return []
    return rack_routers(context.spec, context.addressing, node)


def _policies(context: Context, node: Node, routers: list[str]) -> Iterator[gobgp.Table]:
    """A node gives its own pods' prefix to everybody, and takes no default route.

    Of routers it does not take the networks of the underlay either (the annotation
    kube-router.io/node.bgp.customimportreject): its own would take the place of the kernel's.
    """
    spec, at = context.spec, context.addressing
    nodes = [at.node[n.name] for n in spec.nodes]
    yield from gobgp.policies("kube_router_import", "kube_router_export")
    yield from gobgp.prefix_set("podcidrdefinedset", [at.node_subnet[node.name]])
    yield from gobgp.prefix_set("defaultroutedefinedset", ["0.0.0.0/0"])
    yield from gobgp.neighbor_set("iBGPpeerset", nodes)
    yield from gobgp.neighbor_set("allpeerset", [*routers, *nodes])
    exports = [gobgp.Statement("podcidrdefinedset", "iBGPpeerset", True)]
    imports = [gobgp.Statement("defaultroutedefinedset", "allpeerset", False)]
    if routers:
        networks = [segment.cidr for segment in spec.segments]
        yield from gobgp.prefix_set("customimportrejectdefinedset", networks, parts=True)
        yield from gobgp.neighbor_set("externalpeerset", routers)
        exports.append(gobgp.Statement("podcidrdefinedset", "externalpeerset", True))
        imports.append(gobgp.Statement("customimportrejectdefinedset", "allpeerset", False))
    yield from gobgp.policy("kube_router_export", exports)
    yield from gobgp.policy("kube_router_import", imports)


def _session(context: Context, own: str, other: Speaker, client: bool = False) -> gobgp.Neighbor:
    option = context.spec.network.option
    restarts = bool(option("bgpGracefulRestart"))
    return gobgp.Neighbor(
        address=other.address,
        local=own,
        as_number=other.as_number,
        hold_time_s=int(option("bgpHoldtime")),
        connect_retry_s=int(option("connectRetry")),
        cluster_id=CLUSTER_ID if client else "",
        restart_time_s=int(option("bgpGracefulRestartTime")) if restarts else 0,
        deferral_time_s=int(option("bgpGracefulRestartDeferralTime")) if restarts else 0,
    )


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
