"""Who gets which address: the one place that hands out addresses of nodes and pods.

Underlay, in each segment's CIDR: routers from the first address on (.1, .2, …), nodes
from the eleventh on (.11, .12, …; directly behind the routers where the CIDR has fewer
than 64 addresses), outside hosts from the last usable address down (of IPv6 from ::fffe).
Both addresses of a /31 are usable, and of a /127.

Pods: the cluster CIDR is cut into equal node subnets. Subnet 0 is left out where one
can be spared, so node k owns 10.244.k.0/24 as flannel's first-subnet rule and the
literature have it. Inside a subnet host-local's order: .1 the gateway, pods from .2 on.
Weave has no subnets of nodes: each owns a share of the cluster CIDR (:mod:`emulator.ring`), and
takes from it the address of its bridge, then those of its pods.
Calico's blocks are another scheme, in :mod:`emulator.ipam.blocks`, and Romana's a third, in
:mod:`emulator.ipam.groups`. A cluster that runs remembers what it has handed out: pods come and go
and those that stay keep their addresses (:mod:`emulator.ipam.ledger`).

With dual stack everything has an address of each family, by the same rules.
(Over 300 lines: what is common to all schemes is one table of addresses.)
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from emulator.conflist.model import parse
from emulator.conflist.predicted import fixed_range, order, per_node
from emulator.errors import Problem, SpecError
from emulator.family import IPV4, Family, family
from emulator.ipam import blocks, groups
from emulator.ipam.ledger import LOWEST, Ledger, written
from emulator.ring import Full, Ring, peer_name
from emulator.spec.resolved import ResolvedSpec

NEW = Ledger()
"""Of a cluster that has not run yet."""
_MOST = 1 << 16
"""Addresses of a segment that are handed out; one of IPv6 has more than anybody can read."""


class Addressing(NamedTuple):
    """All addresses of a cluster in one family, as canonical text.

    ``node``, ``host``: underlay address by name. ``router``: by (router, segment).
    ``node_subnet``: pod subnet of the node (``10.244.1.0/24``), ``gateway`` its first
    address. ``pod``: by pod id; a hostNetwork pod has its node's address.
    ``blocks``: what a node owns of the cluster CIDR where it has no subnet of a fixed size. Under
    Weave ``node_subnet`` is the block of these that holds ``gateway``, the address of the node's
    bridge. Under Calico ``tunnel``, ``borrowed`` and ``wireguard`` are those of
    :class:`emulator.ipam.blocks.Assigned`. ``segment``: the CIDR of each, ``pod_cidr`` that of
    all pods, ``prefix`` the length of a node's part of it. ``ledger``: what those who come next
    have to know. ``others``: the same in the second family of a cluster with dual stack.
    """

    node: dict[str, str]
    host: dict[str, str]
    router: dict[tuple[str, str], str]
    node_subnet: dict[str, str]
    gateway: dict[str, str]
    pod: dict[str, str]
    blocks: dict[str, tuple[str, ...]]
    tunnel: dict[str, str]
    borrowed: dict[str, str]
    segment: dict[str, str]
    pod_cidr: str
    prefix: int
    ledger: Ledger
    others: tuple[Addressing, ...] = ()
    wireguard: dict[str, str] = {}  # noqa: RUF012

    @property
    def family(self) -> Family:
        """Of all addresses here."""
        return family(self.pod_cidr)

    @property
    def families(self) -> tuple[Addressing, ...]:
        """One for each family, the primary first: what a room loops over."""
        return (self, *self.others)


def allocate(spec: ResolvedSpec, before: Ledger = NEW) -> Addressing:
    """Hand out every address. SpecError (with the place) where a range is too small.

    ``before``: what the running cluster has handed out, whose pods keep their addresses.
    """
    ledger = written(spec, before, reuse=spec.network.plugin in LOWEST)
    try:
        return _allocate(spec, ledger)
    except SpecError:
        again = written(spec, before, reuse=True)
        if again == ledger:
            raise
        return _allocate(spec, again)


def _allocate(spec: ResolvedSpec, ledger: Ledger) -> Addressing:
    problems: list[Problem] = []
    made = [_family(spec, ledger, index, problems) for index in range(len(spec.pod_cidrs))]
    if spec.network.plugin == "cni":
        _by_conflist(spec, made[0].node_subnet, made[0].gateway, made[0].pod)
    if problems:
        raise SpecError(*problems)
    if spec.network.plugin in ("calico", "romana"):
        names = made[0].blocks
        ledger = ledger._replace(blocks={n: sum((at.blocks[n] for at in made), ()) for n in names})
        made = [at._replace(ledger=ledger) for at in made]
    return made[0]._replace(others=tuple(made[1:]))


def _family(spec: ResolvedSpec, ledger: Ledger, index: int, problems: list[Problem]) -> Addressing:
    segments = {segment.name: segment.cidrs[index] for segment in spec.segments}
    cidr, prefix = spec.pod_cidrs[index], spec.node_prefixes[index]
    node, host, router = _underlay(spec, segments, problems)
    subnet: dict[str, str] = {}
    gateway: dict[str, str] = {}
    owned: dict[str, tuple[str, ...]] = {}
    tunnel: dict[str, str] = {}
    borrowed: dict[str, str] = {}
    encrypted: dict[str, str] = {}
    if spec.network.plugin == "weave":
        gateway, own, owned = _weave(spec, ledger, problems)
        subnet = {name: _holder(owned[name], address) for name, address in gateway.items()}
    elif spec.network.plugin == "calico":
        owned, tunnel, own, borrowed, encrypted = blocks.assign(spec, ledger, cidr, problems)
    elif spec.network.plugin == "romana":
        owned, own = groups.assign(spec, ledger, problems)
    else:
        subnet, gateway, own = _pods(spec, ledger, cidr, prefix, problems)
    pod = _with_host_network(spec, node, own)
    return Addressing(
        node, host, router, subnet, gateway, pod, owned, tunnel, borrowed, segments, cidr, prefix,
        ledger, (), encrypted,
    )  # fmt: skip


def _with_host_network(
    spec: ResolvedSpec, node_ip: dict[str, str], own: dict[str, str]
) -> dict[str, str]:
    """The addresses of all pods, in the order of the file."""
    return {
        p.id: node_ip.get(p.node, "") if p.host_network else own.get(p.id, "") for p in spec.pods
    }


def _ipv4(value: int) -> str:
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def _ipv6(value: int) -> str:
    return str(IPv6Address(value))


def _text(cidr: str) -> Callable[[int], str]:
    return _ipv4 if family(cidr) is IPV4 else _ipv6


def _underlay(
    spec: ResolvedSpec, segments: dict[str, str], problems: list[Problem]
) -> tuple[dict[str, str], dict[str, str], dict[tuple[str, str], str]]:
    node: dict[str, str] = {}
    host: dict[str, str] = {}
    router: dict[tuple[str, str], str] = {}
    for segment in spec.segments:
        cidr = segments[segment.name]
        text = _text(cidr)
        network = ip_network(cidr)
        base, size = int(network.network_address), min(network.num_addresses, _MOST)
        routers = [r.name for r in spec.routers if segment.name in r.segments]
        nodes = [n.name for n in spec.nodes if n.segment == segment.name]
        hosts = [h.name for h in spec.hosts if h.segment == segment.name]
        edge = 0 if size == 2 else 1
        first_node = 11 if size >= 64 and len(routers) < 11 else len(routers) + edge
        needed = first_node + len(nodes) + len(hosts) + edge
        if needed > size:
            problems.append(
                Problem(
                    str(segment.place),
                    f"{cidr} with {len(routers)} routers, {len(nodes)} nodes and "
                    f"{len(hosts)} hosts",
                    f"a CIDR of at least {needed} addresses",
                    "use a shorter prefix for the segment, or spread the nodes over more segments",
                )
            )
            continue
        for index, name in enumerate(routers):
            router[name, segment.name] = text(base + edge + index)
        for index, name in enumerate(nodes):
            node[name] = text(base + first_node + index)
        for index, name in enumerate(hosts):
            host[name] = text(base + size - 1 - edge - index)
    return node, host, router


def _pods(
    spec: ResolvedSpec, ledger: Ledger, cidr: str, prefix: int, problems: list[Problem]
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    subnet: dict[str, str] = {}
    gateway: dict[str, str] = {}
    pod: dict[str, str] = {}
    pool = ip_network(cidr)
    shared = spec.network.plugin == "none"
    count = 1 << max(0, prefix - pool.prefixlen)
    size = 1 << (pool.max_prefixlen - prefix)
    skip = 1 if count > len(spec.nodes) else 0
    if prefix < pool.prefixlen or (not shared and len(spec.nodes) > count):
        problems.append(
            Problem(
                str(spec.place),
                f"podCIDR {cidr} cut into {count if count > 1 else 'no'} "
                f"/{prefix}s for {len(spec.nodes)} nodes",
                f"at least {len(spec.nodes)} subnets",
                "use a shorter prefix for podCIDR or a longer nodePrefix",
            )
        )
        return subnet, gateway, pod
    text = _text(cidr)
    base = int(pool.network_address)
    start: dict[str, int] = {}
    used: dict[str, int] = {}
    for index, node in enumerate(spec.nodes):
        at = base if shared else base + (index + skip) * size
        start[node.name] = at
        used[node.name] = 1
        subnet[node.name] = f"{text(at)}/{prefix}"
        gateway[node.name] = text(at + 1)
    for name, on in ledger.seats:
        used[on] += 1
        if name:
            pod[name] = text(start[on] + used[on])
    for name, last in used.items():
        if last > size - 2:
            problems.append(
                Problem(
                    str(spec.place),
                    f"{last - 1} pods on node {name} with a /{prefix}",
                    f"at most {size - 3} pods (addresses {subnet[name]} less network, "
                    "gateway and broadcast)",
                    "use a shorter nodePrefix or fewer pods per node",
                )
            )
    return subnet, gateway, pod


def _by_conflist(
    spec: ResolvedSpec, subnet: dict[str, str], gateway: dict[str, str], pod: dict[str, str]
) -> None:
    """What a conflist's own ranges give, the same on every node; nothing where other binaries
    than host-local decide: then a pod has no address before ADD has said one."""
    text = str(spec.network.option("conflist"))
    if not text:  # it could not be read, which is told elsewhere
        return
    conflist = parse(text, "conflist")
    given = fixed_range(conflist)
    if given is None and per_node(conflist):
        return
    for node in spec.nodes:
        own = [p.id for p in spec.pods if p.node == node.name and not p.host_network]
        addresses = order(given, len(own)) if given else [""] * len(own)
        pod.update(zip(own, addresses, strict=True))
        if given:
            subnet[node.name], gateway[node.name] = str(given.subnet), str(given.gateway)


def _weave(
    spec: ResolvedSpec, ledger: Ledger, problems: list[Problem]
) -> tuple[dict[str, str], dict[str, str], dict[str, tuple[str, ...]]]:
    """(bridge's address by node, address by pod, blocks by node): bridges first, then the pods."""
    pool = ip_network(spec.pod_cidr)
    first, size, text = int(pool.network_address), pool.num_addresses, type(pool.network_address)
    peer = {node.name: peer_name(node.name) for node in spec.nodes}
    ring = Ring(first, first + size, sorted(peer.values()))
    gateway: dict[str, str] = {}
    pod: dict[str, str] = {}
    try:
        for name in peer:
            gateway[name] = str(text(ring.allocate(peer[name])))
        for pod_id, node in ledger.seats:
            address = ring.allocate(peer[node])
            if pod_id:
                pod[pod_id] = str(text(address))
    except Full:
        own = sum(not p.host_network for p in spec.pods)
        problems.append(
            Problem(
                str(spec.place),
                f"{len(peer)} nodes and {own} pods with podCIDR {spec.pod_cidr}",
                f"at most {max(0, size - 2)} addresses (the range less its first and last), one "
                "for each pod and one for each node's bridge",
                "use a shorter prefix for podCIDR",
            )
        )
    blocks = {
        name: tuple(
            f"{text(at)}/{pool.max_prefixlen + 1 - size.bit_length()}"
            for at, size in ring.blocks(peer[name])
        )
        for name in peer
    }
    return gateway, pod, blocks


def _holder(blocks: tuple[str, ...], address: str) -> str:
    return next(block for block in blocks if ip_address(address) in ip_network(block))
