"""The Kubernetes network model as sentences, each judged against a matrix.

The same sentences judge what was predicted and what was observed: without a pod network
they fail in the prediction already, which is what a pod network is for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple, Protocol

from emulator.family import family
from emulator.ipam import Addressing
from emulator.oracle import Probe
from emulator.oracle.model import model
from emulator.spec.resolved import ResolvedSpec
from emulator.wires import Wires


class Seen(Protocol):
    """What a prediction and an observation have in common."""

    @property
    def outcome(self) -> str:
        """``delivered`` when the client got its answer."""
        ...

    @property
    def by(self) -> str:
        """The namespace that answered."""
        ...

    @property
    def source(self) -> str:
        """The client's address as the server saw it."""
        ...

    @property
    def ttl(self) -> int:
        """What was left of 64 at the server."""
        ...

    @property
    def own(self) -> str:
        """The client's address as the client saw it."""
        ...


class Statement(NamedTuple):
    """A sentence of the model: whether it ``holds``, and the first exceptions in words."""

    number: str
    text: str
    holds: bool
    detail: str


def statements(
    spec: ResolvedSpec, addressing: Addressing, matrix: Mapping[Probe, Seen]
) -> list[Statement]:
    """M1, M3 to M10 as far as probes show them, each in every family: M2 is about processes,
    see ``verify``.

    M8 allows nothing but a policy to keep pods apart; this version has none, so it is M3.
    """
    judged: list[Statement] = []
    for at in addressing.families:
        own = {p: s for p, s in matrix.items() if family(p.address) is at.family}
        of = f" ({at.family.name})" if addressing.others else ""
        judged += [one._replace(text=one.text + of) for one in _statements(spec, at, own)]
    return judged


def _statements(
    spec: ResolvedSpec, addressing: Addressing, matrix: Mapping[Probe, Seen]
) -> list[Statement]:
    own = {p.id for p in spec.pods if not p.host_network}
    node_of = {p.id: p.node for p in spec.pods}
    namespace = {p.id: p.id if p.id in own else p.node for p in spec.pods}
    unknown, open_ = ("not-probed", "not-predicted"), ("by-hash", "by-chance")
    tried = {p: s for p, s in matrix.items() if s.outcome not in unknown}

    def meant(probe: Probe) -> str:
        return namespace.get(probe.server, probe.server)

    def reach(kind: str) -> list[str]:
        return [
            f"{probe}: {seen.outcome}" + (f" by {seen.by}" if seen.outcome == "delivered" else "")
            for probe, seen in tried.items()
            if probe.kind == kind and (seen.outcome != "delivered" or seen.by != meant(probe))
        ]

    holders: dict[str, list[str]] = defaultdict(list)
    for pod in spec.pods:
        if pod.id in own:
            holders[addressing.pod[pod.id]].append(pod.id)
    renamed = [
        f"{probe}: {seen.own} is seen as {seen.source}"
        for probe, seen in tried.items()
        if probe.kind == "pod-pod"
        and {probe.client, probe.server} <= own
        and seen.outcome == "delivered"
        and seen.source != seen.own
    ]
    elsewhere = [
        f"{p.id} on {p.node}: {addressing.pod[p.id]}"
        for p in spec.pods
        if p.host_network and addressing.pod[p.id] != addressing.node[p.node]
    ]
    outside = [
        f"{probe}: "
        + (seen.outcome if seen.outcome in open_ else f"seen as {seen.source or 'nobody'}")
        for probe, seen in tried.items()
        if probe.kind == "pod-host"
        and (seen.outcome in open_ or seen.source != addressing.node[node_of[probe.client]])
    ]
    about = model(spec.network.plugin)(spec, addressing, Wires(spec, ()))
    bridged = not about.routed or not own
    near = 0 if bridged else 1

    @cache
    def far(here: str, there: str) -> int:
        return about.leg(here, there).hops

    def meant_hops(probe: Probe) -> int:
        here, there = node_of[probe.client], node_of[probe.server]
        return near if here == there else far(here, there)

    used = {n.name for n in spec.nodes if any(p.node == n.name and p.id in own for p in spec.pods)}
    apart = sorted({far(a, b) for a in used for b in used if a != b}) or [2]
    hops = [
        f"{probe}: {64 - seen.ttl} hops"
        for probe, seen in tried.items()
        if probe.kind == "pod-pod"
        and {probe.client, probe.server} <= own
        and seen.outcome == "delivered"
        and seen.by == meant(probe)
        and 64 - seen.ttl != meant_hops(probe)
    ]
    return [
        _judge(
            "M1",
            "every pod has an address of its own",
            (
                f"{a} is held by {', '.join(pods)}"
                for a, pods in holders.items()
                if a and len(pods) > 1
            ),
        ),
        _judge("M3", "every pod reaches every pod", reach("pod-pod")),
        _judge("M4", "every node reaches its own pods", reach("node-own-pod")),
        _judge("M5", "a pod sees itself under the address that its peers see", renamed),
        _judge("M6", "every node reaches the pods of other nodes", reach("node-remote-pod")),
        _judge("M7", "a hostNetwork pod has its node's address", elsewhere),
        _judge("M8", "nothing but a policy keeps pods apart, and there is none", reach("pod-pod")),
        _judge("M9", "outside the cluster a pod is seen as its node", outside),
        _judge(
            "M10",
            f"pods of one node are {'bridged' if bridged else 'one routed hop apart'}, "
            f"of two nodes {_hops(apart)} apart",
            hops,
        ),
    ]


def _hops(counts: Sequence[int]) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six")
    named = " or ".join(words[n] if n < len(words) else str(n) for n in counts)
    return f"{named} routed hop{'s'[: counts != [1]]}"


def _judge(number: str, text: str, exceptions: Iterable[str]) -> Statement:
    found = list(exceptions)
    detail = "; ".join(found[:3])
    if len(found) > 3:
        detail += f"; and {len(found) - 3} more"
    return Statement(number, text, not found, detail)
