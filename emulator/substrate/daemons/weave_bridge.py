"""How Weave's router decides where a frame goes: pure, so that it can be tried without a kernel.

Two parts, as there. A *bridge* joins the ports of the datapath and the router itself, and learns at
which of them a MAC address is. The *router* knows at which peer a MAC address is, for ten minutes.
What is known becomes a flow; a frame to an address that nobody knows yet goes everywhere and leaves
no flow, one to a group goes everywhere and leaves one.

Routers that can reach each other are connected. So broadcasts, which travel along a tree from the
peer where they begin, go from there to every peer and from these nowhere; a frame for another peer
is passed on all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from emulator.substrate.ovs import Key, Output, Tunnel

MAC_AGE_S: Final = 600.0
_ROUTER: Final = -1
"""Stands for the router among the ports of the bridge."""
_STP = bytes.fromhex("0180c2000000")
_NOBODY = bytes(6)


class Peer(NamedTuple):
    """A router: its name (a MAC address), its short number (12 bits), its IPv4 address."""

    name: str
    short: int
    address: bytes


class Decision(NamedTuple):
    """What becomes of a frame: ``actions`` now, and with ``flow`` of all like it. ``invalid``: what
    flows say is true no longer."""

    actions: tuple[Output, ...]
    flow: bool = True
    invalid: bool = False


NOTHING: Final = Decision((), flow=False)


class _Place(NamedTuple):
    peer: int
    seen: float


class Bridge:
    """The router of one peer."""

    def __init__(self, own: Peer, peers: Sequence[Peer], ports: Sequence[int], tunnel: int) -> None:
        """``ports``: those of the datapath that are no tunnels; ``tunnel``: the one that is."""
        self._own = own
        self._all: Mapping[int, Peer] = {peer.short: peer for peer in peers}
        self._peers: Mapping[int, Peer] = {}
        self._ports = (*ports, _ROUTER)
        self._tunnel = tunnel
        self._at: dict[bytes, int] = {}
        self._seen: set[bytes] = set()
        self._macs: dict[bytes, _Place] = {}

    def connected(self, names: Collection[str]) -> None:
        """Frames go to these peers and no others; what is known of others is forgotten."""
        self._peers = {short: peer for short, peer in self._all.items() if peer.name in names}
        there = {self._own.short, *self._peers}
        self._macs = {mac: place for mac, place in self._macs.items() if place.peer in there}

    def decide(self, key: Key, now: float) -> Decision:
        """What to do with a frame that no flow has taken; ``now`` in seconds."""
        if key.in_port == self._tunnel:
            return self._arrived(key, now)
        if key.in_port not in self._ports:
            return NOTHING
        found = self._bridge(key.in_port, key, now)
        # what is sent back where it came from goes round for ever
        if any(out.port == key.in_port for out in found.actions):
            return NOTHING
        return found

    def age(self) -> None:
        """Forget at which port the addresses are that nobody has sent from since the last time."""
        self._at = {mac: port for mac, port in self._at.items() if mac in self._seen}
        self._seen.clear()

    def _bridge(self, ingress: int, key: Key, now: float) -> Decision:
        if key.eth_src not in self._at:
            self._at[key.eth_src] = ingress
        self._seen.add(key.eth_src)
        known = self._at.get(key.eth_dst)
        if known is not None:
            return Decision(self._send(known, key, now))
        group = bool(key.eth_dst[0] & 1)
        outs = [self._send(port, key, now) for port in self._ports if port != ingress]
        return Decision(tuple(one for some in outs for one in some), flow=group)

    def _send(self, port: int, key: Key, now: float) -> tuple[Output, ...]:
        return self._captured(key, now) if port == _ROUTER else (Output(port),)

    def _captured(self, key: Key, now: float) -> tuple[Output, ...]:
        """From the bridge to other peers."""
        own = self._own.short
        if self._peer_of(key.eth_src, now) not in (None, own):
            return ()  # one that the router has put into the bridge itself
        self._macs[key.eth_src] = _Place(own, now)
        if key.eth_dst == _STP:
            return ()
        peer = self._peer_of(key.eth_dst, now)
        if peer is None:
            return tuple(self._forward(own, short) for short in self._peers)
        return () if peer == own else (self._forward(own, peer),)

    def _arrived(self, key: Key, now: float) -> Decision:
        """From another peer."""
        assert key.tunnel is not None
        source, target = key.tunnel.id & 0xFFF, key.tunnel.id >> 12 & 0xFFF
        if source not in self._peers or (key.eth_src, key.eth_dst) == (_NOBODY, _NOBODY):
            return NOTHING
        if target != self._own.short:
            known = target in self._peers
            return Decision((self._forward(source, target),)) if known else NOTHING
        before = self._peer_of(key.eth_src, now)
        self._macs[key.eth_src] = _Place(source, now)
        found = self._bridge(_ROUTER, key, now)
        return found._replace(invalid=before not in (None, source))

    def _forward(self, source: int, target: int) -> Output:
        outside = Tunnel(source | target << 12, self._own.address, self._peers[target].address)
        return Output(self._tunnel, outside)

    def _peer_of(self, mac: bytes, now: float) -> int | None:
        found = self._macs.get(mac)
        return found.peer if found and now - found.seen < MAC_AGE_S else None
