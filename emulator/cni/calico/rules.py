"""Felix's rules for masquerading, and to guard VXLAN and IPIP. Those of policies are not here.

Written as the tables that iptables-nft uses, with Calico's chain names (docs/decisions/0008).
Felix keeps its lists of networks in ipsets of the kernel. Here they are sets of the table, under
the same names: native rules cannot look into an ipset, and Felix's own nftables mode has them so.
Chains for floating addresses are there and empty, as on a cluster that has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from emulator.cni.calico import wireguard
from emulator.cni.context import Context
from emulator.datapath.ipip import TUNL0
from emulator.family import IPV6
from emulator.ipam import Addressing
from emulator.spec.resolved import Node

VXLAN_PORT = 4789


def tables(context: Context, at: Addressing, node: Node, tunnel: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each table of a node and family; ``tunnel`` is its tunnel, or empty."""
    ip = at.family.nft
    six = at.family is IPV6
    sets, kind = ("cali60", "ipv6_addr") if six else ("cali40", "ipv4_addr")
    outgoing = bool(context.spec.network.option("natOutgoingIPv6" if six else "natOutgoing"))
    encrypted = wireguard.enabled(context, at)
    devices = (tunnel, wireguard.device(at) if encrypted else "")
    by_vxlan = tunnel not in ("", TUNL0)
    also = _WIREGUARD.format(port=wireguard.port(at)) if encrypted else ""
    masqueraded = _set(f"{sets}masq-ipam-pools", kind, [at.pod_cidr] if outgoing else [])
    network = _set(f"{sets}network-ip-pools", kind, [at.pod_cidr])
    yield (
        "nat",
        _NAT.format(
            ip=ip,
            sets=f"{masqueraded}\n{network}",
            tunnel="".join(_tunnel(dev, by_vxlan) for dev in devices if dev),
            outgoing=_OUTGOING.format(ip=ip, sets=sets) if outgoing else "",
        ),
    )
    if tunnel == TUNL0:
        name = f"{sets}all-hosts-net"
        nodes = _set(name, kind, sorted(at.node.values(), key=ip_address))
        yield (
            "filter",
            _FILTER.format(ip=ip, sets=f"{nodes}\n", guard=_IPIP.format(name=name) + also),
        )
    elif by_vxlan:
        name = f"{sets}all-vxlan-net"
        others = (address for peer, address in at.node.items() if peer != node.name)
        nodes = _set(name, kind, sorted(others, key=ip_address))
        guard = _VXLAN.format(ip=ip, name=name, port=VXLAN_PORT)
        yield "filter", _FILTER.format(ip=ip, sets=f"{nodes}\n", guard=guard + also)
        yield "raw", _RAW.format(ip=ip, port=VXLAN_PORT)
    elif also:
        yield "filter", _FILTER.format(ip=ip, sets="", guard=also)


def _tunnel(dev: str, by_vxlan: bool) -> str:
    return (_UDP.format(dev=dev) if by_vxlan else "") + _TUNNEL.format(dev=dev)


def _set(name: str, kind: str, elements: list[str]) -> str:
    """As ``nft list`` prints it: two elements in a row, of IPv6 one."""
    few = 1 if kind == "ipv6_addr" else 2
    rows = [", ".join(elements[i : i + few]) for i in range(0, len(elements), few)]
    listed = ",\n\t\t\t     ".join(rows)
    said = f"\t\telements = {{ {listed} }}\n" if elements else ""
    return f"\tset {name} {{\n\t\ttype {kind}\n\t\tflags interval\n{said}\t}}\n"


# pods reach each other under their own addresses; a node's address is in no pool, so towards
# nodes they are masqueraded as well
_OUTGOING = """\
		{ip} saddr @{sets}masq-ipam-pools {ip} daddr != @{sets}network-ip-pools \
masquerade fully-random
"""

# A node that speaks into the tunnel under another address of its own would get its answers past
# the tunnel. With VXLAN, UDP takes ports above VXLAN's, whatever the tunnel: an answer to that very
# port would be dropped.
_UDP = """\
		meta l4proto udp oifname "{dev}" fib saddr . oif type != local fib saddr type local masquerade to :4790-65535 fully-random
"""  # noqa: E501
_TUNNEL = """\
		oifname "{dev}" fib saddr . oif type != local fib saddr type local masquerade fully-random
"""

_NAT = """\
table {ip} nat {{
{sets}
	chain PREROUTING {{
		type nat hook prerouting priority dstnat; policy accept;
		jump cali-PREROUTING
	}}

	chain OUTPUT {{
		type nat hook output priority -100; policy accept;
		jump cali-OUTPUT
	}}

	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		jump cali-POSTROUTING
	}}

	chain cali-PREROUTING {{
		jump cali-fip-dnat
	}}

	chain cali-OUTPUT {{
		jump cali-fip-dnat
	}}

	chain cali-POSTROUTING {{
		jump cali-fip-snat
		jump cali-nat-outgoing
{tunnel}	}}

	chain cali-fip-dnat {{
	}}

	chain cali-fip-snat {{
	}}

	chain cali-nat-outgoing {{
{outgoing}	}}
}}
"""

_VXLAN = """\
		udp dport {port} {ip} saddr @{name} fib daddr type local accept
		udp dport {port} fib daddr type local drop
"""

_IPIP = """\
		ip protocol ipencap ip saddr @{name} fib daddr type local accept
		ip protocol ipencap drop
"""

# there is nothing to drop: who is no peer is not heard
_WIREGUARD = """\
		udp dport {port} fib daddr type local accept
"""

_FILTER = """\
table {ip} filter {{
{sets}	chain INPUT {{
		type filter hook input priority filter; policy accept;
		jump cali-INPUT
	}}

	chain cali-INPUT {{
{guard}	}}
}}
"""

_RAW = """\
table {ip} raw {{
	chain PREROUTING {{
		type filter hook prerouting priority raw; policy accept;
		jump cali-PREROUTING
	}}

	chain OUTPUT {{
		type filter hook output priority raw; policy accept;
		jump cali-OUTPUT
	}}

	chain cali-PREROUTING {{
		udp dport {port} notrack
	}}

	chain cali-OUTPUT {{
		udp dport {port} notrack
	}}
}}
"""
