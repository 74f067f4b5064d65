"""The rules that Felix programs whatever the policies: masquerading, and the guard of VXLAN.

Written as the tables that iptables-nft uses, with Calico's chain names (docs/decisions/0008).
Felix keeps its lists of networks in ipsets of the kernel. Here they are sets of the table, under
the same names: native rules cannot look into an ipset, and Felix's own nftables mode has them so.
Chains for floating addresses are there and empty, as on a cluster that has none.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cni.context import Context

VXLAN_PORT = 4789


def tables(context: Context, tunnel: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each table; ``tunnel`` is the VXLAN device, or empty."""
    pool = context.spec.pod_cidr
    outgoing = bool(context.spec.network.option("natOutgoing"))
    masqueraded = _set("cali40masq-ipam-pools", [pool] if outgoing else [])
    network = _set("cali40network-ip-pools", [pool])
    yield (
        "nat",
        _NAT.format(
            sets=f"{masqueraded}\n{network}",
            tunnel=_TUNNEL.format(dev=tunnel) if tunnel else "",
            outgoing=_OUTGOING if outgoing else "",
        ),
    )
    if tunnel:
        nodes = sorted(context.addressing.node.values(), key=_in_order)
        yield "filter", _FILTER.format(sets=_set("cali40all-vxlan-net", nodes), port=VXLAN_PORT)
        yield "raw", _RAW.format(port=VXLAN_PORT)


def _in_order(address: str) -> tuple[int, ...]:
    return tuple(map(int, address.split(".")))


def _set(name: str, elements: list[str]) -> str:
    """As ``nft list`` prints it: two elements in a row."""
    rows = [", ".join(elements[i : i + 2]) for i in range(0, len(elements), 2)]
    listed = ",\n\t\t\t     ".join(rows)
    said = f"\t\telements = {{ {listed} }}\n" if elements else ""
    return f"\tset {name} {{\n\t\ttype ipv4_addr\n\t\tflags interval\n{said}\t}}\n"


# pods reach each other under their own addresses; a node's address is in no pool, so towards
# nodes they are masqueraded as well
_OUTGOING = """\
		ip saddr @cali40masq-ipam-pools ip daddr != @cali40network-ip-pools masquerade fully-random
"""

# A node that speaks into the tunnel under another address of its own would get its answers past
# the tunnel. UDP takes ports above VXLAN's: an answer to that very port would be dropped.
_TUNNEL = """\
		meta l4proto udp oifname "{dev}" fib saddr . oif type != local fib saddr type local masquerade to :4790-65535 fully-random
		oifname "{dev}" fib saddr . oif type != local fib saddr type local masquerade fully-random
"""  # noqa: E501

_NAT = """\
table ip nat {{
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

_FILTER = """\
table ip filter {{
{sets}
	chain INPUT {{
		type filter hook input priority filter; policy accept;
		jump cali-INPUT
	}}

	chain cali-INPUT {{
		udp dport {port} ip saddr @cali40all-vxlan-net fib daddr type local accept
		udp dport {port} fib daddr type local drop
	}}
}}
"""

_RAW = """\
table ip raw {{
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
