"""Romana: pods without a bridge, addresses that follow the topology, and plain routes.

Faithful, to Romana 2: pods as its CNI plugin wires them, with a default route that has no gateway,
so that they ask by ARP for every destination and the node answers in its place (``proxy_arp`` on
all interfaces, at once towards pods); ``romana-lo`` with 172.142.0.1, which pods have a route to
and no use for; prefix groups and blocks (:mod:`emulator.ipam.groups`); table 10 with a route for
each block of a host of the same segment, and one rule without selector that asks it before the
main table; the chains of policies, which let nothing in that no policy allows, and the policy
for each namespace that allows all, as Romana's listener makes it of one without isolation;
masquerading; with ``routePublisher`` a BIRD on each node that tells the routers of its segment
of its blocks. Hosts of other segments are reached by the default route: routers have one prefix for
each group, on link in its segment (nodes answer the router as they answer pods) or, with the
publisher, by way of the parts that nodes have told them of, which go no further.

Other than the real one: ipsets are sets of nftables in the table of the rules that ask them, and a
tenant's has the blocks where Romana's has sets of its segments; a policy's name is a hash of the
namespace's name, which stands for its UID. BIRD has the names of version 2 (``unreachable`` for
``reject``), no protocol ``kernel`` (the guide leaves that to the site), sessions with routers of
other systems, timers of a fabric.

Not modelled: the agent itself. It empties table 10 whenever any block of the cluster changes and
fills it anew, so that pods lose each other for a moment; here blocks that are there stay. Virtual
addresses, OSPF, ``multihop-blocks``; ``/etc/iproute2/rt_tables``; the datastore.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni.context import Context
from emulator.cni.romana import rules
from emulator.datapath import bird
from emulator.datapath.autonomous import Announced, rack_routers
from emulator.datapath.base import namespace, no_reverse_path_filter
from emulator.datapath.naming import mac, romana_veth
from emulator.datapath.offload import features
from emulator.datapath.paths import Aggregates
from emulator.ipam import groups
from emulator.plan.resources import (
    Addr,
    Dummy,
    File,
    Interface,
    NftTable,
    Resource,
    Route,
    Rule,
    Sysctl,
    daemon,
    veth,
)
from emulator.spec.resolved import Node, Pod

GATEWAY = "172.142.0.1"
LOOPBACK = "romana-lo"
TABLE = 10
DAEMON = "bird"
CONFIG = "/run/romana/bird/bird.conf"
SOCKET = "/run/romana/bird/bird.ctl"
_RULE_PRIORITY = 32765
"""What the kernel gives to the first rule that asks for none: just above the main table's."""
_DUMMY_MTU = 1500
_TIMERS = ("connect delay time 1", "connect retry time 5", "error wait time 1, 4")


def node(context: Context, node: Node) -> Iterator[Resource]:
    """Everything on one node, its pods excepted."""
    spec, at = context.spec, context.addressing
    yield Dummy(node.name, LOOPBACK)
    profile = features(spec.links.offload, "tunnel")
    own = mac(node.name, LOOPBACK)
    yield Interface(node.name, LOOPBACK, True, _DUMMY_MTU, own, "", False, *profile)
    yield Addr(node.name, LOOPBACK, f"{GATEWAY}/32")
    for scope in ("all", "default"):
        yield Sysctl(node.name, f"net/ipv4/conf/{scope}/proxy_arp", "1")
    yield Rule(node.name, _RULE_PRIORITY, "from all", TABLE)
    for peer in spec.nodes:
        # only of hosts that a test shows to be without a gateway in between
        if peer.name != node.name and peer.segment == node.segment:
            for block in at.blocks[peer.name]:
                yield Route(node.name, block, at.node[peer.name], node.interface, table=TABLE)
    yield NftTable(node.name, "ip", "filter", rules.filtering(context, node))
    if spec.network.option("nat"):
        yield NftTable(node.name, "ip", "nat", rules.masquerading(spec.pod_cidr, node))
    if spec.network.option("routePublisher"):
        yield File(node.name, CONFIG, _bird(context, node))
        yield daemon(node.name, DAEMON, bird.argv(CONFIG, SOCKET), CONFIG)


def pod(context: Context, node: Node, pod: Pod) -> Iterator[Resource]:
    """A pod with an interface of its own on its node."""
    spec, address, port = context.spec, context.addressing.pod[pod.id], romana_veth(pod.id)
    mtu, profile = int(spec.network.option("mtu")), features(spec.links.offload, "pod")
    yield from namespace(pod.id, forwards=False, congestion_control=spec.congestion_control)
    yield veth(node.name, port, pod.id, "eth0")
    yield Interface(node.name, port, True, mtu, mac(pod.id, port), "", False, *profile)
    yield Interface(pod.id, "eth0", True, mtu, mac(pod.id, "eth0"), "", False, *profile)
    yield from no_reverse_path_filter(node.name, port)
    yield Sysctl(node.name, f"net/ipv4/neigh/{port}/proxy_delay", "0")
    yield Addr(pod.id, "eth0", f"{address}/32")
    yield Route(pod.id, f"{GATEWAY}/32", "", "eth0")
    yield Route(pod.id, "default", "", "eth0")
    yield Route(node.name, f"{address}/32", "", port)


def aggregated(context: Context) -> Aggregates:
    """The prefixes of the groups, which are all that routers of other segments know."""
    published = bool(context.spec.network.option("routePublisher"))
    return Aggregates(groups.of_segments(context.spec), on_link=not published)


def announced(context: Context, node: Node) -> Announced | None:
    """What a node says to the routers of its segment; None where no daemon of its does."""
    option = context.spec.network.option
    if not option("routePublisher") or context.wires.dead(node.name, DAEMON):
        return None
    return Announced(int(option("asNumber")), context.addressing.blocks[node.name])


def _bird(context: Context, node: Node) -> str:
    at = context.addressing
    own = bird.Speaker(at.node[node.name], int(context.spec.network.option("asNumber")))
    blocks = [f"{block} unreachable" for block in at.blocks[node.name]]
    return bird.config(
        own.address,
        [
            bird.device(),
            bird.static("romana_routes", blocks),
            *(
                bird.bgp(
                    f"BGP-{router.address}",
                    own,
                    router,
                    exports='where proto = "romana_routes"',
                    options=("direct", *_TIMERS),
                )
                for router in rack_routers(context.spec, at, node)
            ),
        ],
    )
