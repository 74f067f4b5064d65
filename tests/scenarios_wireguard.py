"""What a kernel accepts, refuses and moves by itself of WireGuard, as in kernel_scenarios."""

from __future__ import annotations

from collections.abc import Iterable

from kernel_scenarios import ON, A, Scenario, change, make, remove, up

from emulator import secrets
from emulator.plan.resources import Addr, Bridge, Route, Wireguard, WireguardPeer

WG = Wireguard("a", "wg0", secrets.public_key("a wg0"), 51820)
UP = up("a", "wg0", 1420)
B, C = (
    WireguardPeer("a", "wg0", secrets.public_key(f"{n} wg0"), f"10.0.0.{k}:51820", (prefix,))
    for k, n, prefix in ((2, "b", "10.2.0.0/16"), (3, "c", "10.3.0.0/16"))
)
LISTENING = (*ON, WG, UP)
MESHED = (*LISTENING, B, C)
OVER = Route("a", "10.0.0.0/8", "", "wg0", scope="link")
OTHER = WG._replace(name="wg1")


def _scenarios() -> Iterable[Scenario]:
    s = Scenario
    yield s("a WireGuard device", A, make(WG, UP))
    yield s("a WireGuard device with a mark", A, make(WG._replace(fwmark=0x200000), UP))
    yield s("a WireGuard device that is down", A, make(WG, UP._replace(up=False)))
    yield s("a WireGuard device of another MTU", A, make(WG, up("a", "wg0", 8940)))
    yield s("a WireGuard device twice", LISTENING, make(WG), "EEXIST")
    yield s("a WireGuard device of 16 characters", A, make(WG._replace(name="w" * 16)), "ERANGE")
    moved = WG._replace(port=51821, fwmark=1, public_key=secrets.public_key("a new"))
    yield s("another key, port and mark", MESHED, (change(WG, moved),))
    yield s("the key of a peer", MESHED, (change(WG, WG._replace(public_key=B.public_key)),))
    yield s(
        "two that listen on one port", LISTENING, make(OTHER, up("a", "wg1", 1420)), "EADDRINUSE"
    )
    yield s(
        "two of one port, one down", LISTENING, make(OTHER, up("a", "wg1", 1420)._replace(up=False))
    )
    two = (*LISTENING, OTHER._replace(port=51821), up("a", "wg1", 1420))
    yield s("two on two ports", two, ())
    yield s("one takes the port of the other", two, (change(two[-2], OTHER),), "EADDRINUSE")
    plain = UP._replace(tso=False, gso=False, gro=False)
    yield s("a WireGuard device without offloads", LISTENING, (change(UP, plain),))
    full = (*MESHED, Addr("a", "wg0", "10.1.0.0/32"), OVER)
    yield s("a WireGuard device goes", full, remove(WG))
    yield s(
        "a WireGuard device that is down keeps its peers",
        full,
        (change(UP, UP._replace(up=False)),),
    )

    yield s("peers", LISTENING, make(B, C))
    kept = B._replace(keepalive_s=25, shared_key=secrets.shared_key("a b"))
    yield s("a peer with a shared key and a keepalive", LISTENING, make(kept))
    yield s("a peer without them", (*LISTENING, kept), (change(kept, B),))
    six = B._replace(endpoint="[fd00::2]:51820", allowed_ips=("10.2.0.0/16", "fd00:2::/64"))
    yield s("a peer of IPv6, for both", LISTENING, make(six))
    yield s("a peer without addresses", LISTENING, make(B._replace(allowed_ips=())))
    yield s("a peer moves", MESHED, (change(B, B._replace(endpoint="10.0.0.9:4")),))
    more = B._replace(allowed_ips=("10.2.0.0/16", "10.4.0.0/26", "10.4.0.64/32"))
    yield s("a peer with more addresses", MESHED, (change(B, more),))
    yield s("a peer with fewer addresses", (*LISTENING, more), (change(more, B),))
    many = tuple(sorted(f"10.{x}.{y}.0/24" for x in range(8, 16) for y in range(256)))
    yield s("a peer of 2048 prefixes", LISTENING, make(B._replace(allowed_ips=many), C))
    greedy = C._replace(allowed_ips=("10.2.0.0/16", "10.3.0.0/16"))
    yield s("a prefix goes to the last that asks", MESHED, (change(C, greedy),))
    yield s("a peer twice", MESHED, make(B))
    yield s("a device as a peer of its own", LISTENING, make(B._replace(public_key=WG.public_key)))
    yield s("a peer of no device", A, make(B), "ENODEV")
    yield s("a peer of a bridge", (*A, Bridge("a", "wg0")), make(B), "ENOTSUP")
    yield s("a peer is removed", MESHED, remove(B))
    yield s("no such peer to remove", LISTENING, remove(B))
    yield s("no such device to remove a peer of", A, remove(B), "ENODEV")


SCENARIOS = {scenario.name: scenario for scenario in _scenarios()}
