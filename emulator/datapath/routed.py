"""Pods without a bridge, as Calico's CNI plugin and Felix wire them.

A pod has an address of its own and no subnet. Its default gateway 169.254.1.1 is nobody's:
the node answers for it by proxy ARP, on an interface that has no address, and routes to each
pod over that pod's interface. All these interfaces have one MAC address, and with IPv6 one
link-local address made of it, which is the gateway of that family and somebody's after all.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.datapath.base import namespace
from emulator.datapath.inet import addresses, forwarding, link_local
from emulator.datapath.naming import calico_veth, mac
from emulator.datapath.offload import features
from emulator.family import IPV6, family
from emulator.plan.resources import Addr, Interface, Neigh, Resource, Route, Sysctl, veth
from emulator.spec.resolved import Offload, Pod

GATEWAY = "169.254.1.1"
NODE_MAC = "ee:ee:ee:ee:ee:ee"
METRIC = 1024
"""Felix's priority of a pod that stays where it is; one that moves has a smaller one for a time."""
GATEWAY_IPV6 = link_local(NODE_MAC)


def pod(
    pod: Pod,
    address: str,
    mtu: int,
    offload: Offload,
    congestion_control: str | None,
    source: str = "",
) -> Iterator[Resource]:
    """A pod's namespace and cable, and what its node needs to reach it.

    ``source``: of IPv4, as what the node speaks to it; empty leaves that to the kernel.
    """
    node, port = pod.node, calico_veth(pod.namespace, pod.name)
    profile = features(offload, "pod")
    yield from namespace(pod.id, forwards=False, congestion_control=congestion_control)
    yield veth(node, port, pod.id, "eth0")
    yield Interface(node, port, True, mtu, NODE_MAC, "", False, *profile)
    yield Interface(pod.id, "eth0", True, mtu, mac(pod.id, "eth0"), "", False, *profile)
    # the kernel answers for 169.254.1.1 only where it has a route to it by another interface
    for setting, value in (
        ("proxy_arp", "1"), ("forwarding", "1"), ("route_localnet", "1"), ("rp_filter", "0"),
    ):  # fmt: skip
        yield Sysctl(node, f"net/ipv4/conf/{port}/{setting}", value)
    yield Sysctl(node, f"net/ipv4/neigh/{port}/proxy_delay", "0")
    yield Sysctl(node, f"net/ipv6/conf/{port}/accept_ra", "0", True)
    yield Sysctl(pod.id, "net/ipv6/conf/eth0/accept_dad", "0", True)
    yield from pod_addresses(pod, address, source)


def pod_addresses(pod: Pod, address: str, source: str = "") -> Iterator[Resource]:
    """A pod's part in one family: address and routes, and its node's way to it."""
    node, port = pod.node, calico_veth(pod.namespace, pod.name)
    which = family(address)
    yield from addresses(pod.id, "eth0", f"{address}/{which.bits}")
    if which is IPV6:
        yield forwarding(pod.id, IPV6, False)
        for setting in ("all", "default", "lo"):
            yield Sysctl(pod.id, f"net/ipv6/conf/{setting}/disable_ipv6", "0")
        for setting, value in (("disable_ipv6", "0"), ("proxy_ndp", "1"), ("forwarding", "1")):
            yield Sysctl(node, f"net/ipv6/conf/{port}/{setting}", value)
        yield Addr(node, port, f"{GATEWAY_IPV6}/64", "link")
        yield Route(pod.id, which.default, GATEWAY_IPV6, "eth0")
        # of the same metric, which is what IPv6 gives a route that asks for none
        yield Route(node, f"{address}/128", "", port)
    else:
        yield Route(pod.id, f"{GATEWAY}/32", "", "eth0", scope="link")
        yield Route(pod.id, which.default, GATEWAY, "eth0")
        to_pod = Route(node, f"{address}/32", "", port, scope="link", metric=METRIC)
        yield to_pod._replace(src=source)
    yield Neigh(node, port, address, mac(pod.id, "eth0"))


def node(node: str) -> Iterator[Resource]:
    """What Felix sets on the node itself, whatever the mode."""
    yield Sysctl(node, "net/netfilter/nf_conntrack_acct", "1", True)
