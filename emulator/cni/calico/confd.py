"""The configuration of a node's BIRD, as Calico's confd would render it.

Version 1.6 is built for one family, so there are two daemons, ``bird`` and ``bird6``, each with
a file and a socket of its own. Version 2 knows both families and would need one process; there
are two all the same, so that one can end and the other go on.

Calico's own BIRD is a fork of version 1.6; this says the same in the words of BIRD 2: channels,
and ``metric 0``, without which that version writes a metric of its own choice into the kernel
in place of the one that the filter has chosen. Between nodes a metric travels as a local
preference, the one turned into the other by subtracting it from the largest number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address

from emulator.cni.calico import sessions, wireguard
from emulator.cni.context import Context
from emulator.datapath import bird
from emulator.family import IPV6
from emulator.ipam import Addressing
from emulator.spec.resolved import Node

CLUSTER_ID = "224.0.0.1"
"""Of the route reflectors, which are one cluster."""
LARGEST = 2_147_483_647
_SCAN_TIME_S = 2


def paths(at: Addressing) -> tuple[str, str]:
    """Of the configuration and of the control socket of a family's daemon."""
    stem = f"/run/calico/{sessions.daemon(at)}"
    return f"{stem}.cfg", f"{stem}.ctl"


def config(context: Context, at: Addressing, node: Node) -> str:
    """The whole file of one family."""
    spec = context.spec
    channel: bird.Family = "ipv6" if at.family is IPV6 else "ipv4"
    own = at.blocks[node.name]
    blocks = [f"{block} blackhole" for block in own if not block.endswith(f"/{at.family.bits}")]
    return bird.config(
        _router_id(context, node),
        [
            _aggregates(own),
            _peers(at.pod_cidr),
            _TO_NODES,
            _TO_ROUTERS,
            _FROM_PEERS,
            _to_kernel(context, at, node),
            f"graceful restart wait {spec.network.option('gracefulRestartWait')}",
            bird.device(_SCAN_TIME_S),
            bird.direct(["-cali*", "-kube-ipvs*", "*"], check_link=False, family=channel),
            bird.kernel(
                "filter calico_kernel_programming",
                imports="all",
                merge_paths=True,
                learn=True,
                persist=True,
                scan_time_s=_SCAN_TIME_S,
                options=("metric 0", "graceful restart"),
                family=channel,
            ),
            bird.static("blocks", blocks, family=channel),
            bird.template("bgp_template", list(_template(context))),
            *(_session(context, at, node, one) for one in sessions.of(context, at, node)),
        ],
    )


def _router_id(context: Context, node: Node) -> str:
    """The node's address of IPv4, in IPv6 too; where it has none, drawn from its name."""
    for at in context.addressing.families:
        if at.family is not IPV6:
            return at.node[node.name]
    first, *rest = hashlib.sha256(node.name.encode()).digest()[:4]
    return str(IPv4Address(bytes((first - 32 if first > 223 else first, *rest))))


def _template(context: Context) -> Iterator[str]:
    option = context.spec.network.option
    yield "multihop"
    yield "graceful restart"
    yield f"graceful restart time {option('gracefulRestartTime')}"
    yield f"connect delay time {option('connectDelayTime')}"
    yield f"connect retry time {option('connectRetryTime')}"
    yield "error wait time 5, 30"
    yield f"hold time {option('holdTime')}"
    if option("keepaliveTime"):
        yield f"keepalive time {option('keepaliveTime')}"


def _session(context: Context, at: Addressing, node: Node, one: sessions.Session) -> bird.Block:
    local = bird.Speaker(at.node[node.name], int(context.spec.network.option("asNumber")))
    options = []
    if one.passive:
        options.append("passive on")
    if one.client:
        options += ["rr client", f"rr cluster id {CLUSTER_ID}"]
    if one.external:  # the routers hand on what other nodes of the same AS say
        options.append("allow local as 1")
    return bird.bgp(
        one.name,
        local,
        bird.Speaker(one.address, one.as_number),
        imports="filter calico_import",
        exports=f"filter calico_export_to_{'routers' if one.external else 'nodes'}",
        channel_options=["gateway recursive", "add paths on"],
        options=options,
        template="bgp_template",
    )


def _aggregates(own: tuple[str, ...]) -> str:
    """A block goes out, and nothing beneath it but a pod that is on the move."""
    rows = [
        row
        for block in own
        for row in (
            f"    if net = {block} then accept;",
            f"    if net ~ {block} then {{ if krt_metric < 1024 then accept; reject; }}",
        )
    ]
    return "\n".join(["function calico_aggr() {", *rows, "}"])


def _peers(pool: str) -> str:
    return f"""\
function calico_export_to_bgp_peers(bool internal_peer) {{
    if source = RTS_BGP && defined(bgp_local_pref) then
        krt_metric = {LARGEST} - bgp_local_pref;
    else {{
        if ! defined(krt_metric) then krt_metric = 1024;
        bgp_local_pref = {LARGEST} - krt_metric;
    }}
    # what leads into a tunnel is Felix's affair
    if internal_peer && defined(ifname) then
        if ifname ~ "*.cali" || ifname ~ "*.calico" || ifname ~ "tunl0" then reject;
    calico_aggr();
    if net ~ {pool} then accept;
    reject;
}}"""


def _to_kernel(context: Context, at: Addressing, node: Node) -> str:
    """Whatever is known but what WireGuard takes: of its peers the kernel is told nothing."""
    peers = context.spec.nodes if wireguard.enabled(context, at) else ()
    return "\n".join(
        [
            "filter calico_kernel_programming {",
            "    # the kernel has these; BIRD 1.6 keeps them back by itself",
            "    if source = RTS_DEVICE then reject;",
            *(
                f"    if defined(bgp_next_hop) && bgp_next_hop = {at.node[peer.name]} then reject;"
                for peer in peers
                if peer.name != node.name
            ),
            "    if source = RTS_BGP && ! defined(krt_metric) then {",
            "        krt_metric = 1024;",
            f"        if defined(bgp_local_pref) then krt_metric = {LARGEST} - bgp_local_pref;",
            "    }",
            "    accept;",
            "}",
        ]
    )


_TO_NODES = "filter calico_export_to_nodes { calico_export_to_bgp_peers(true); }"
_TO_ROUTERS = "filter calico_export_to_routers { calico_export_to_bgp_peers(false); }"

_FROM_PEERS = f"""\
filter calico_import {{
    if defined(bgp_local_pref) && bgp_local_pref > {LARGEST - 1024} then preference = 200;
    accept;
}}"""
