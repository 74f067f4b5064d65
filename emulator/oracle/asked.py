"""What is asked of a network, and what is expected of each question."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal[
    "pod-pod", "node-own-pod", "node-remote-pod", "pod-own-node", "pod-remote-node", "pod-host"
]
Outcome = Literal[
    "delivered", "by-hash", "by-chance", "lost", "refused", "not-probed", "not-predicted"
]


class Probe(NamedTuple):
    """A datagram from ``client`` to ``address``, meant for ``server`` (names in the lab)."""

    kind: Kind
    client: str
    server: str
    address: str

    def __str__(self) -> str:
        words = self.kind.split("-")
        return f"{words[0]} {self.client} -> {words[-1]} {self.server}"


class Expectation(NamedTuple):
    """What a probe should find.

    ``by`` is the network namespace that answers: the pod's, or the node's for a
    hostNetwork pod. ``source`` is the client's address as the server sees it, ``own`` as
    the client does; ``ttl`` is what is left at the server of 64, ``mtu`` the largest IP
    packet that passes, in bytes. They are empty and zero unless the outcome is
    ``delivered``, or ``by-hash``: equal paths of which one is broken, and the hash of the flow,
    which nobody knows beforehand, chooses between an answer and none; or ``by-chance``: links
    lose so much that no number of tries would make it sure. ``reason`` is a sentence.
    What is ``not-predicted`` is probed, and whatever is found is neither right nor wrong.
    """

    outcome: Outcome
    by: str
    source: str
    own: str
    ttl: int
    mtu: int
    reason: str


Matrix = dict[Probe, Expectation]
