"""BGP as kube-router's nodes speak it: who talks to whom, and who hears of whose pods.

Two nodes have one session, by their addresses of the primary family, and tell each other of both
families by it; the next hop of a path has the path's family. With routers, which speak of a family
in a session of that family only, a node has a session in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from emulator.cni.context import Context
from emulator.datapath import gobgp
from emulator.datapath.autonomous import rack_routers
from emulator.datapath.bird import Speaker
from emulator.family import IPV4, IPV6, family
from emulator.ipam import Addressing
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
    if context.spec.ipv6:
        words.append("--enable-ipv6=true")
    if context.addressing.family is IPV6:
        words.append("--router-id=generate")
        if not context.addressing.others:
            words.append("--enable-ipv4=false")
    if option("bgpGracefulRestart"):
        name = "bgp-graceful-restart"
        words.append(f"--{name} --{name}-time={option('bgpGracefulRestartTime')}s")
        words.append(f"--{name}-deferral-time={option('bgpGracefulRestartDeferralTime')}s")
    routers = _routers(context, node)
    if routers and not context.addressing.others:
        words.append("--peer-router-ips=" + ",".join(one.address for _, one in routers))
        words.append("--peer-router-asns=" + ",".join(str(one.as_number) for _, one in routers))
    elif routers:  # what the flags name is spoken to from the address of the primary family alone
        annotation = "kube-router.io/peer"
        words.append(f"{annotation}.ips=" + ",".join(one.address for _, one in routers))
        words.append(f"{annotation}.asns=" + ",".join(str(one.as_number) for _, one in routers))
        words.append(f"{annotation}.localips=" + ",".join(at.node[node.name] for at, _ in routers))
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
    as_number = int(spec.network.option("clusterAsn"))
    addresses = [one.node[node.name] for one in _by_version(at)]
    tables = [*gobgp.speaker(as_number, _router_id(own), addresses)]
    if not reflects:  # a reflector takes and gives everything
        tables += _policies(context, node, [router.address for _, router in routers])
    for one, router in routers:
        tables += gobgp.neighbor(_session(context, one.node[node.name], router))
    for peer in spec.nodes:
        if peer.name != node.name and (not reflectors or reflectors & {node.name, peer.name}):
            speaker = Speaker(at.node[peer.name], int(spec.network.option("clusterAsn")))
            client = reflects and peer.name not in reflectors
            tables += gobgp.neighbor(_session(context, own, speaker, client))
    return gobgp.config(tables)


def _router_id(address: str) -> str:
    """Its primary address; of one of IPv6 what ``--router-id=generate`` makes of it (FNV-1a)."""
    if family(address) is not IPV6:
        return address
    found = 0x811C9DC5
    for octet in IPv6Address(address).packed:
        found = (found ^ octet) * 0x01000193 & 0xFFFFFFFF
    return str(IPv4Address(found))


def _by_version(at: Addressing) -> list[Addressing]:
    """IPv4 first, whichever family is the primary one."""
    return sorted(at.families, key=lambda one: one.family.bits)


def _routers(context: Context, node: Node) -> list[tuple[Addressing, Speaker]]:
    if not context.spec.network.option("peerRouters"):
        return []
    return [
        (at, router)
        for at in context.addressing.families
        for router in rack_routers(context.spec, at, node)
    ]


def _policies(context: Context, node: Node, routers: list[str]) -> Iterator[gobgp.Table]:
    """A node gives its own pods' prefix to everybody, and takes no default route.

    Of routers it does not take the networks of the underlay either (the annotation
    kube-router.io/node.bgp.customimportreject): its own would take the place of the kernel's.
    """
    spec, at = context.spec, context.addressing
    nodes = [at.node[n.name] for n in spec.nodes]
    yield from gobgp.policies("kube_router_import", "kube_router_export")
    neighbours = {"iBGPpeerset": nodes, "allpeerset": [*routers, *nodes]}
    if routers:
        neighbours["externalpeerset"] = routers
    v = {one.family: "v6" if one.family is IPV6 else "" for one in _by_version(at)}
    for one in _by_version(at):
        suffix = v[one.family]
        yield from gobgp.prefix_set(f"podcidrdefinedset{suffix}", [one.node_subnet[node.name]])
        default = "0.0.0.0/0" if one.family is not IPV6 else "::/0"
        yield from gobgp.prefix_set(f"defaultroutedefinedset{suffix}", [default])
        if routers:
            name, networks = f"customimportrejectdefinedset{suffix}", one.segment.values()
            yield from gobgp.prefix_set(name, networks, parts=True)
    filled: dict[str, list[str]] = {}
    for name, addresses in neighbours.items():
        for which in (IPV4, IPV6) if spec.ipv6 else (IPV4,):
            suffix = "v6" if which is IPV6 else ""
            mine = [address for address in addresses if family(address) is which]
            yield from gobgp.neighbor_set(name + suffix, mine)
            if mine:
                filled.setdefault(name, []).append(name + suffix)
    # the set of IPv4 whatever the family: one that is empty matches every neighbour
    exports = [
        gobgp.Statement(f"podcidrdefinedset{suffix}", "iBGPpeerset", True) for suffix in v.values()
    ]
    exports += [
        gobgp.Statement(f"podcidrdefinedset{suffix}", peers, True)
        for peers in filled.get("externalpeerset", ())
        for suffix in v.values()
    ]
    refused = ["defaultroutedefinedset", *(["customimportrejectdefinedset"] if routers else [])]
    imports = [
        gobgp.Statement(name + suffix, peers, False)
        for peers in filled["allpeerset"]
        for name in refused
        for suffix in v.values()
    ]
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
        families=[one.family for one in _by_version(context.addressing)],
    )
