"""flannel's backend ``wireguard``: what flanneld leaves on a node.

In mode ``separate`` each family has a device of its own, ``flannel-wg`` and ``flannel-wg-v6``, and
is encrypted to the nodes' addresses of that family. In the other modes one device carries both,
over IPv4 or IPv6; ``auto`` takes the address of each peer that is likelier to be reached. A node
has one key, for both devices, and one route for the whole cluster: its own pods are excepted by the
longer prefix of their bridge.

One device has one port, ``listenPort``, at which its peers call it. Since its change 2200 flannel
adds ``ListenPortV6`` to an address of IPv6, where nobody listens unless the two are alike; and it
looks for networks of both families, of which it may have one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network

from emulator.cni.context import Context
from emulator.datapath import wireguard
from emulator.family import IPV4, IPV6
from emulator.ipam import Addressing
from emulator.plan.resources import Addr, File, Resource, Route
from emulator.secrets import private_key, shared_key
from emulator.spec.resolved import Node

OVERHEAD = wireguard.OVERHEAD_IPV6
"""What flannel reckons with, over IPv4 too."""
KEY_FILE = "/run/flannel/wgkey"
_PRIVATE = [ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]


def node(context: Context, node: Node) -> Iterator[Resource]:
    """The key, devices, peers, addresses and routes."""
    yield File(node.name, KEY_FILE, private_key(_key(node)))
    families = context.addressing.families
    if context.spec.network.option("mode") == "separate":
        for at in families:
            six = at.family is IPV6
            dev, port = ("flannel-wg-v6", "listenPortV6") if six else ("flannel-wg", "listenPort")
            yield from _device(context, node, dev, port, [at])
    else:
        yield from _device(context, node, "flannel-wg", "listenPort", families)


def _device(
    context: Context,
    node: Node,
    dev: str,
    port_option: str,
    inner: Sequence[Addressing],
) -> Iterator[Resource]:
    spec, option = context.spec, context.spec.network.option
    port = int(option(port_option))
    mtu = spec.links.mtu - OVERHEAD
    shared = shared_key("flannel") if option("psk") else ""
    keepalive_s = int(option("persistentKeepaliveInterval"))
    yield from wireguard.device(node.name, dev, _key(node), port, mtu, spec.links.offload)
    for at in inner:
        # of one address, or the kernel would add a connected route for the whole subnet
        own = at.node_subnet[node.name].partition("/")[0]
        yield Addr(node.name, dev, f"{own}/{at.family.bits}")
        scope = "global" if at.family is IPV6 else "link"
        yield Route(node.name, at.pod_cidr, "", dev, scope=scope)
    for peer in spec.nodes:
        if peer.name != node.name:
            subnets = [at.node_subnet[peer.name] for at in inner]
            underlay = _outer(context, inner, node, peer).node[peer.name]
            yield wireguard.peer(
                node.name, dev, _key(peer), underlay, port, subnets, shared, keepalive_s
            )


def _outer(context: Context, inner: Sequence[Addressing], node: Node, peer: Node) -> Addressing:
    """The family that a node's packets of ``inner`` families to a peer are encrypted into."""
    by_family = {at.family: at for at in inner}
    mode = context.spec.network.option("mode")
    if len(by_family) == 1:
        return inner[0]
    four, six = by_family[IPV4], by_family[IPV6]
    if mode == "auto":
        by_six = _public(six, peer) and _public(six, node) and not _public(four, peer)
        return six if by_six else four
    return six if mode == "ipv6" else four


def _public(at: Addressing, node: Node) -> bool:
    address = ip_address(at.node[node.name])
    return not any(address in n for n in _PRIVATE if address.version == n.version)


def _key(node: Node) -> str:
    return f"{node.name} flannel"
