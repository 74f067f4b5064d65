"""ESP tunnels between nodes without a device: policies catch packets between the pods' subnets.

What a policy catches is already on some route, whichever, so nodes need no routes for it, but one
that takes it: without a default route a packet is dropped before any policy is asked. States come
from strongSwan's ``charon``, which two nodes negotiate them by (IKEv2 with a shared secret); SPIs
and keys are its own, and change every hour.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from emulator.plan.resources import File, Resource, daemon
from emulator.plan.xfrm import Selector, Template, XfrmPolicy, XfrmSa
from emulator.secrets import password

OVERHEAD = 77
"""Bytes that are spared for ESP: the most that AES-CBC with SHA-256 would take over IPv4. AES-GCM
takes 54 to 57."""
UDP_OVERHEAD = 8
"""Bytes of the UDP header where ESP travels in UDP."""

CHARON = "charon"
REQID = 11
ALGORITHM = "rfc4106(gcm(aes)) 160 icv 128"
"""What the ESP proposal comes to: a key of 128 bits and a salt of 32."""

_SETTINGS = "/run/flannel/charon.json"
_IKE = "aes256-sha256-modp4096"
_ESP = "aes128gcm16-sha256-prfsha256-ecp256"
_PASSWORD = password("flannel ipsec", 96)


class End(NamedTuple):
    """A node: its name, its pods' subnet and its underlay address."""

    name: str
    subnet: str
    underlay: str


def policies(own: End, peer: End) -> Iterator[Resource]:
    """What goes there must be protected, and so must be what comes: to the node, and through it."""
    there = Selector(own.subnet, peer.subnet)
    back = Selector(peer.subnet, own.subnet)
    out = Template(own.underlay, peer.underlay, "tunnel", REQID)
    come = Template(peer.underlay, own.underlay, "tunnel", REQID)
    yield XfrmPolicy(own.name, "out", there, out)
    yield XfrmPolicy(own.name, "in", back, come)
    yield XfrmPolicy(own.name, "fwd", back, come)


def negotiated(own: End, peer: End, encap: bool, sure: bool) -> Iterator[Resource]:
    """What charon writes on the first node, in both directions; not ``sure``: it may be there."""
    ports = "4500 4500" if encap else ""
    for one, other in ((own, peer), (peer, own)):
        ends = (one.underlay, other.underlay)
        yield XfrmSa(own.name, *ends, "tunnel", REQID, ALGORITHM, ports, not sure)


def charon(own: End, peers: Sequence[End], encap: bool) -> Iterator[Resource]:
    """The daemon, its own settings, and what it is told."""
    # over Debian's: there AppArmor lets charon read this file and no other
    yield File(own.name, "/etc/strongswan.conf", _STRONGSWAN)
    yield File(own.name, _SETTINGS, _settings(own, peers, encap))
    yield daemon(own.name, CHARON, ("strongswan", _SETTINGS), _SETTINGS)


def _settings(own: End, peers: Sequence[End], encap: bool) -> str:
    """A line for each secret and each connection."""
    owners = [end.underlay for end in (own, *peers)]
    secrets = [json.dumps({"type": "IKE", "data": _PASSWORD, "owners": [o]}) for o in owners]
    connections = [
        f"{json.dumps(f'{own.underlay}-{own.subnet}-{peer.subnet}-{peer.underlay}')}:\n"
        f"  {json.dumps(_connection(own, peer, encap))}"
        for peer in peers
    ]
    between = ",\n  "
    return (
        f'{{"secrets": [\n  {between.join(secrets)}],\n'
        f' "connections": {{\n  {between.join(connections)}}}}}\n'
    )


def _connection(own: End, peer: End, encap: bool) -> dict[str, object]:
    child = {
        "local_ts": [own.subnet],
        "remote_ts": [peer.subnet],
        "esp_proposals": [_ESP],
        "start_action": "start",
        "close_action": "trap",
        "dpd_action": "restart",
        "mode": "tunnel",
        "reqid": str(REQID),
        "rekey_time": "1h",
        "policies": "no",
    }
    return {
        "local_addrs": [own.underlay],
        "remote_addrs": [peer.underlay],
        "proposals": [_IKE],
        "version": "2",
        "keyingtries": "0",
        "encap": "yes" if encap else "no",
        "local": {"auth": "psk"},
        "remote": {"auth": "psk"},
        "children": {f"{own.subnet}-{peer.subnet}": child},
    }


_STRONGSWAN = """\
charon {
  load = random nonce openssl kdf kernel-netlink socket-default vici
  install_routes = no
  install_virtual_ip = no
  routing_table = 0
  filelog {
    stdout {
      default = 1
      flush_line = yes
    }
  }
}
"""
