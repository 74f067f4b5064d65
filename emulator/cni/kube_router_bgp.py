"""BGP as kube-router's nodes speak it: who talks to whom, and who hears of whose pods."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni.context import Context
from emulator.datapath import gobgp
from emulator.datapath.autonomous import rack_routers
from emulator.datapath.bird import Speaker
from emulator.spec.resolved import Node, ResolvedSpec
from emulator.wires import Wires

SPEAKER = "gobgpd"
CLUSTER_ID = "42"
"""The value of the annotations kube-router.io/rr.server and rr.client."""


class Sessions:
    """Who has a BGP session with whom, and whose prefix comes to whom."""

    def __init__(self, spec: ResolvedSpec, wires: Wires) -> None:
        self._wires = wires
        self._servers = servers(spec)

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


def servers(spec: ResolvedSpec) -> set[str]:
    """The route reflectors; without any, all nodes are peers."""
    return {node.name for node in spec.nodes[: int(spec.network.option("rrServers"))]}


def flags(context: Context, node: Node) -> str:
    """What a kube-router of this node would be told about BGP, its annotation included."""
    option = context.spec.network.option
    words = [f"--cluster-asn={option('clusterAsn')}", f"--bgp-holdtime={option('bgpHoldtime')}s"]
    if option("bgpGracefulRestart"):
        name = "bgp-graceful-restart"
        words.append(f"--{name} --{name}-time={option('bgpGracefulRestartTime')}s")
        words.append(f"--{name}-deferral-time={option('bgpGracefulRestartDeferralTime')}s")
    if routers := _routers(context, node):
        words.append("--peer-router-ips=" + ",".join(one.address for one in routers))
        words.append("--peer-router-asns=" + ",".join(str(one.as_number) for one in routers))
    if reflectors := servers(context.spec):
        role = "server" if node.name in reflectors else "client"
        words.append(f"kube-router.io/rr.{role}={CLUSTER_ID}")
    return " ".join(words)


def config(context: Context, node: Node) -> str:
    """gobgpd's configuration on a node."""
    spec, at = context.spec, context.addressing
    own = at.node[node.name]
    reflectors = servers(spec)
    reflects = node.name in reflectors
    routers = _routers(context, node)
    tables = [*gobgp.speaker(int(spec.network.option("clusterAsn")), own)]
    if not reflects:  # a reflector takes and gives everything
        tables += _policies(context, node, [router.address for router in routers])
    for router in routers:
        tables += gobgp.neighbor(_session(context, own, router))
    for peer in spec.nodes:
        if peer.name != node.name and (not reflectors or reflectors & {node.name, peer.name}):
            speaker = Speaker(at.node[peer.name], int(spec.network.option("clusterAsn")))
            client = reflects and peer.name not in reflectors
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
