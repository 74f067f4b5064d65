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


def mac(*identity: str) -> str:
    """A locally administered unicast MAC address from a name."""
    digest = hashlib.sha1("\0".join(identity).encode(), usedforsecurity=False).hexdigest()
    first = int(digest[:2], 16) & 0xFC | 0x02
    return f"{first:02x}:{digest[2:4]}:{digest[4:6]}:{digest[6:8]}:{digest[8:10]}:{digest[10:12]}"
