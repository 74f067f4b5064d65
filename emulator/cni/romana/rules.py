"""Romana's rules: what its agent writes for policies and masquerading, and for each pod the jumps
of its CNI plugin, which stand below the agent's in the chains that all share.

Every node has sets for all tenants, for what they have in each segment, and for the sources that
each policy names, none here; chains it has for tenants whose blocks it has.

Written as the tables that iptables-nft uses, with Romana's chain names (docs/decisions/0008).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from emulator.cni.context import Context
from emulator.datapath.naming import romana_veth
from emulator.ipam.ledger import blocks_for
from emulator.spec.resolved import Node


def masquerading(pods: str, node: Node) -> str:
    """Of whatever leaves ``pods``, their whole network, by the uplink for elsewhere."""
    return _NAT.format(pods=pods, uplink=node.interface)


def filtering(context: Context, node: Node) -> str:
    """The agent's chains, and below them the jumps that the CNI plugin appends for each pod."""
    spec, at = context.spec, context.addressing
    words = {"uplink": node.interface, "pods": spec.pod_cidr}
    if not spec.network.option("policies"):
        return _FORWARDING.format(sets="", policies="", forward="", **words)
    ports = [romana_veth(p.id) for p in spec.pods if p.node == node.name and not p.host_network]
    mine = at.blocks[node.name]
    blocks = _blocks(context)
    own = {_number(block) for block in mine}
    jumps, chains = "", ""
    for name, numbers in sorted(blocks.items()):
        if ":" not in name and numbers & own:
            policy = _policy(name)
            jumps += f"\t\tjump {policy}\n"
            chains += _POLICY.format(policy=policy, tenant=_members(name))
    mask = spec.network.option("blockMask")
    sets = {_members(name): [f"{_text(n)}/{mask}" for n in sorted(blocks[name])] for name in blocks}
    sets |= {f"{_policy(name)}_s": [] for name in blocks if ":" not in name}
    return _FORWARDING.format(
        sets="".join(_set(name, members) for name, members in sorted(sets.items()))
        + _set("localBlocks", sorted(mine, key=_number)),
        forward="".join(_each(ports, _FORWARD)),
        policies=_POLICIES.format(
            jumps=jumps,
            chains=chains,
            inputs="".join(_each(ports, '\t\tiifname "{port}" jump ROMANA-INPUT\n')),
            outputs="".join(_each(ports, '\t\toifname "{port}" jump ROMANA-OUTPUT\n')),
        ),
        **words,
    )


def _blocks(context: Context) -> dict[str, set[int]]:
    """The blocks of each tenant and of each ``tenant:segment`` by their first addresses, whichever
    host has them."""
    size = 1 << (32 - int(context.spec.network.option("blockMask")))
    address, owners = context.addressing.pod, blocks_for(context.spec)
    found: dict[str, set[int]] = {}
    for pod in context.spec.pods:
        if not pod.host_network:
            number = _number(address[pod.id])
            for name in (owners[pod.id], pod.namespace):
                found.setdefault(name, set()).add(number - number % size)
    return found


def _members(name: str) -> str:
    """The name of the set of a tenant, or of a ``tenant:segment``."""
    tenant, _, segment = name.partition(":")
    return _hashed("ROMANA", f"tenant_{tenant}" + (f"_segment_{segment}" if segment else ""))


def _policy(tenant: str) -> str:
    """The name of the policy that allows a tenant all."""
    return _hashed("ROMANA-P", f"AllowAllPods2Talk_{tenant}_")


def _number(text: str) -> int:
    """Of an address, or of a prefix its first one; every node asks it of every pod."""
    a, b, c, d = text.partition("/")[0].split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


def _text(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _each(ports: Sequence[str], rule: str) -> Iterator[str]:
    return (rule.format(port=port) for port in ports)


def _hashed(kind: str, what: str) -> str:
    return f"{kind}-{hashlib.sha1(what.encode(), usedforsecurity=False).hexdigest()[:16]}"


def _set(name: str, blocks: Sequence[str]) -> str:
    """As ``nft list`` prints it: two elements in a row."""
    rows = [", ".join(blocks[i : i + 2]) for i in range(0, len(blocks), 2)]
    listed = ",\n\t\t\t     ".join(rows)
    said = f"\t\telements = {{ {listed} }}\n" if blocks else ""
    return f"\tset {name} {{\n\t\ttype ipv4_addr\n\t\tflags interval\n{said}\t}}\n\n"


_NAT = """\
table ip nat {{
	chain POSTROUTING {{
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr {pods} jump ROMANA-MASQ comment "romana postrouting rules"
	}}

	chain ROMANA-MASQ {{
		ip daddr {pods} return
		oifname "{uplink}" masquerade
	}}
}}
"""

_FORWARDING = """\
table ip filter {{
{sets}	chain FORWARD {{
		type filter hook forward priority filter; policy accept;
		oifname "{uplink}" ct state established,related accept comment "romana forwarding rules"
		iifname "{uplink}" oifname "{uplink}" jump ROMANA_FORWARD comment "romana forwarding rules"
{forward}	}}

	chain ROMANA_FORWARD {{
		ip saddr {pods} return
		accept
	}}
{policies}}}
"""

_FORWARD = """\
		iifname "{port}" jump ROMANA-FORWARD-OUT
		oifname "{port}" jump ROMANA-FORWARD-IN
"""

# what a pod sends to one of the same node has to pass both directions' chains
_POLICIES = """\

	chain INPUT {{
		type filter hook input priority filter; policy accept;
{inputs}	}}

	chain OUTPUT {{
		type filter hook output priority filter; policy accept;
{outputs}	}}

	chain ROMANA-OUTPUT {{
		accept
	}}

	chain ROMANA-INPUT {{
		accept
	}}

	chain ROMANA-FORWARD-OUT {{
		ip daddr @localBlocks jump ROMANA-FORWARD-IN
		accept comment "Egress"
	}}

	chain ROMANA-FORWARD-IN {{
		ct state established,related accept comment "Ingress"
		jump ROMANA-OP
{jumps}		drop comment "DefaultDrop"
	}}

	chain ROMANA-OP {{
		return comment "POLICY_CHAIN_FOOTER"
	}}

	chain ROMANA-OP-IN {{
		return comment "POLICY_CHAIN_FOOTER"
	}}
{chains}"""

_POLICY = """\

	chain {policy} {{
		ip daddr @{tenant} jump {policy}_X
	}}

	chain {policy}_X {{
		jump {policy}_R
	}}

	chain {policy}_R {{
		accept
	}}
"""
