"""Names and MAC addresses that the real plugins draw at random, here from a hash.

The same spec gives the same names on every machine; the shape is the real one.
"""

from __future__ import annotations

import hashlib


def host_veth(pod_id: str) -> str:
    """The node's end of a pod's cable: ``veth`` and 8 hex digits, as the bridge plugin has it."""
    return "veth" + hashlib.sha1(pod_id.encode(), usedforsecurity=False).hexdigest()[:8]


def calico_veth(namespace: str, pod: str) -> str:
    """The node's end of a pod's cable under Calico: ``cali`` and 11 hex digits of its name."""
    name = f"{namespace}.{pod}"
    return "cali" + hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:11]


def weave_veth(pod_id: str) -> str:
    """The node's end of a pod's cable under Weave: ``vethwepl`` and 7 hex digits of its id."""
    return "vethwepl" + hashlib.sha1(pod_id.encode(), usedforsecurity=False).hexdigest()[:7]


def towards(kind: str, peer: str, ipv6: bool = False) -> str:
    """A device that leads to one other node: ``<kind>-<peer>``, of IPv6 ``<kind>6-<peer>``; of a
    name that is too long for an interface hex digits of its hash."""
    name = f"{kind}{'6' if ipv6 else ''}-{peer}"
    if len(name) <= 15:
        return name
    digest = hashlib.sha1(peer.encode(), usedforsecurity=False).hexdigest()
    return f"{name[: -len(peer)]}{digest}"[:15]


def mac(*identity: str) -> str:
    """A locally administered unicast MAC address from a name."""
    digest = hashlib.sha1("\0".join(identity).encode(), usedforsecurity=False).hexdigest()
    first = int(digest[:2], 16) & 0xFC | 0x02
    return f"{first:02x}:{digest[2:4]}:{digest[4:6]}:{digest[6:8]}:{digest[8:10]}:{digest[10:12]}"


def romana_veth(pod_id: str) -> str:
    """The node's end of a pod's cable under Romana: ``romana-`` and 8 hex digits of its sandbox."""
    return "romana-" + hashlib.sha1(pod_id.encode(), usedforsecurity=False).hexdigest()[:8]


def tunnel_of(address: str) -> str:
    """kube-router's tunnel to a node: ``tun-`` and 11 hex digits of its address.

    The address without its dots or colons, so 21.3.0.4 and 2.13.0.4 have one name.
    """
    digits = address.replace(".", "").replace(":", "")
    return "tun-" + hashlib.sha256(digits.encode()).hexdigest()[:11]
