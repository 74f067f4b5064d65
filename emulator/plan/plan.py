"""A plan: the desired kernel state of a whole cluster, each value with its owner and source."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from emulator.errors import PodwireError, Problem
from emulator.plan.resources import Key, Owner, Resource, Veth
from emulator.plan.text import line


class Entry(NamedTuple):
    """A resource, who writes it, and which room and spec line asked for it.

    ``writer``: of what is ``expected``, the name of the process in the same namespace that
    writes it; when that is taken out of the plan, what it has left behind is nobody's.
    """

    resource: Resource
    owner: Owner
    source: str
    writer: str = ""


class Plan:
    """A set of resources without two that claim one identity."""

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self._peers: dict[Key, Entry] = {}

    def add(
        self,
        resources: Iterable[Resource],
        source: str,
        owner: Owner = "applied",
        writer: str = "",
    ) -> None:
        """Add resources. PodwireError, naming both sources, where an identity is taken."""
        for resource in resources:
            self.keep(Entry(resource, owner, source, writer))

    def keep(self, entry: Entry) -> None:
        """Add an entry as it is. PodwireError where its identity is taken."""
        entries, peers = self.entries, self._peers
        resource = entry.resource
        key = resource.key
        if key in entries or key in peers:
            raise _conflict(entries.get(key) or peers[key], entry)
        entries[key] = entry
        if type(resource) is Veth:
            other = resource.peer_key
            if other in entries or other in peers:
                raise _conflict(entries.get(other) or peers[other], entry)
            peers[other] = entry

    def claims(self, resource: Resource) -> bool:
        """Whether something of the plan has an identity that this resource has."""
        keys = [resource.key, *([resource.peer_key] if type(resource) is Veth else [])]
        return any(key in self.entries or key in self._peers for key in keys)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, key: Key) -> Resource | None:
        """The resource with this identity, or None."""
        entry = self.entries.get(key)
        return entry.resource if entry else None

    def namespaces(self) -> list[str]:
        """The names of all network namespaces, in natural order (n2 before n10)."""
        return sorted((key[0] for key in self.entries if key[1] == "netns"), key=natural)

    def text(self) -> str:
        """The canonical text: a line per resource, by namespace, kind and identity."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries.values():
            groups.setdefault(entry.resource.ns, []).append(entry)
        out: list[str] = []
        for ns in sorted(groups, key=natural):
            rows = [(ORDER[e.resource.kind], e.resource.key[2], e) for e in groups[ns]]
            rows.sort()
            for _, _, entry in rows:
                by = f" of {entry.writer}" if entry.writer else ""
                mark = "" if entry.owner == "applied" else f"  [{entry.owner}{by}]"
                out.append(line(entry.resource) + mark)
        return "\n".join(out) + "\n" if out else ""

    def digest(self) -> str:
        """SHA-256 of the canonical text, in hex."""
        return hashlib.sha256(self.text().encode()).hexdigest()


ORDER = {
    kind: rank
    for rank, kind in enumerate(
        (
            "netns",
            "bridge",
            "dummy",
            "veth",
            "fou",
            "vxlan",
            "tunnel",
            "geneve",
            "tun",
            "wireguard",
            "ovs-datapath",
            "ovs-vxlan",
            "ovs-vport",
            "foreign",
            "interface",
            "addr",
            "neigh",
            "fdb",
            "peer",
            "route",
            "rule",
            "cutter",
            "netem",
            "xfrm-state",
            "xfrm-policy",
            "xfrm-sa",
            "qdisc",
            "class",
            "filter",
            "sysctl",
            "nft",
            "file",
            "attachment",
            "process",
        )
    )
}
"""The order in which kinds are made (and, backwards, removed)."""


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key that puts n2 before n10."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def _conflict(first: Entry, second: Entry) -> PodwireError:
    ns, _, identity = second.resource.key
    return PodwireError(
        Problem(
            f"plan: {ns}: {second.resource.kind} {identity}".rstrip(),
            f"two values for one identity: '{line(first.resource).strip()}' from {first.source} "
            f"and '{line(second.resource).strip()}' from {second.source}",
            "one value",
            "two rooms or two lines of the spec claim the same kernel object",
        )
    )
