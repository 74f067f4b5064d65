"""A Mininet topology as parts of a spec: its switches are a segment, its hosts are the nodes.

Each connected part of the graph is one layer-2 domain, for there are no routers in it, and
becomes a segment whose switches are a tree. Bandwidths, delays and losses are those of the
cables. Ports are numbered as
Podwire does it, not as the class says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from emulator.errors import Problem, SpecError

if TYPE_CHECKING:
    from emulator.substrate.topology import Graph, Link

_SHAPING = ("bw", "use_tbf", "use_htb")
_HARMLESS = ("dpid",)
"""By what a controller knows a switch; there is none."""
_IMPAIRING = ("delay", "jitter", "loss")
_UNSUPPORTED = {
    "max_queue_size": "the queue follows from the rate",
    "use_hfsc": "rates are by tbf or htb",
}
_SMALL = 200
"""Hosts that surely fit into a /24."""


_Tree = dict[str, "tuple[str, Link | None]"]
"""Switches with the one above each and the cable to it, the root first."""


def read(reference: str, args: Mapping[str, Any], folder: PurePath) -> dict[str, Any]:
    """``{"segments": …, "nodes": …}`` as they would stand in a file (see
    :data:`emulator.spec.shorthand.TopoReader`). SpecError with what is not supported."""
    from emulator.substrate.topology import graph  # few specs need Mininet, which loads slowly

    found = graph(reference, args, Path(folder))
    problems = list(_problems(reference, found))
    if problems:
        raise SpecError(*problems)
    trees = _trees(reference, found)
    segments: dict[str, Any] = {}
    home: dict[str, str] = {}
    for number, tree in enumerate(trees, 1):
        name = "lan" if len(trees) == 1 else f"lan{number}"
        wide = len(trees) == 1 and len(found.hosts) > _SMALL
        segments[name] = {
            "cidr": "192.168.0.0/16" if wide else f"192.168.{49 + number}.0/24",
            "switches": {
                switch: ({"uplink": above} if above else {}) | _medium(link)
                for switch, (above, link) in tree.items()
            },
        }
        home |= dict.fromkeys(tree, name)
    nodes = []
    for host in found.hosts:
        (link,) = _at(found, host)
        switch = link.other if link.one == host else link.one
        nodes.append({"name": host, "segment": home[switch], "switch": switch, **_medium(link)})
    return {"segments": segments, "nodes": nodes}


def _medium(link: Link | None) -> dict[str, Any]:
    """What Mininet's TCLink does at both ends, in the words of a spec."""
    said = {} if link is None else {k: v for k, v in link.options.items() if v is not None}
    fields: dict[str, Any] = {}
    if "bw" in said:
        by = "tbf" if said.get("use_tbf") else "htb"
        fields["rate"] = {"value": f"{float(said['bw']) * 1e6:.0f}bit", "by": by}
    if "delay" in said:
        fields["delay"] = {"value": _time(said["delay"])}
        if "jitter" in said:
            fields["delay"]["jitter"] = _time(said["jitter"])
    if "loss" in said:
        fields["loss"] = f"{float(said['loss']):.7f}".rstrip("0").rstrip(".") + "%"
    return fields


def _time(value: Any) -> str:
    """A number without a unit is of microseconds to ``tc``."""
    text = str(value)
    return f"{text}us" if text.replace(".", "", 1).isdigit() else text


def _at(found: Graph, name: str) -> list[Link]:
    return [link for link in found.links if name in (link.one, link.other)]


def _problems(reference: str, found: Graph) -> Iterator[Problem]:
    for link in found.links:
        for option, value in link.options.items():
            if option not in (*_SHAPING, *_IMPAIRING) and value is not None:
                words = f"the link {link.one} - {link.other} with {option}={value!r}"
                yield Problem(
                    reference,
                    words,
                    "bw, delay, jitter, loss, or nothing",
                    _UNSUPPORTED.get(option, ""),
                )
    for name, options in found.options.items():
        for option, value in options.items():
            if option not in _HARMLESS:
                yield Problem(
                    reference,
                    f"{name} with {option}={value!r}",
                    "a name and nothing else",
                    "Podwire gives out the addresses, and every place is of one kind",
                )
    for host in found.hosts:
        links = _at(found, host)
        others = {end for link in links for end in (link.one, link.other)} - {host}
        if len(links) != 1 or not others <= set(found.switches):
            words = f"the host {host} with links to {', '.join(sorted(others)) or 'nothing'}"
            yield Problem(reference, words, "one link, to a switch")
    if not found.hosts:
        yield Problem(reference, "no hosts", "hosts, which become the nodes")


def _trees(reference: str, found: Graph) -> Sequence[_Tree]:
    """Each connected part as a tree. SpecError that names a loop where there is one."""
    trunks = {name: _at(found, name) for name in found.switches}
    hosts = set(found.hosts)
    trees: list[_Tree] = []
    seen: set[str] = set()
    for root in found.switches:
        if root in seen:
            continue
        part: _Tree = {root: ("", None)}
        edge = [root]
        while edge:
            here = edge.pop(0)
            for link in trunks[here]:
                other = link.other if link.one == here else link.one
                if other in hosts or link is part[here][1]:
                    continue
                if other in part:
                    raise SpecError(_loop(reference, part, here, other))
                part[other] = (here, link)
                edge.append(other)
        seen.update(part)
        trees.append(part)
    return trees


def _loop(reference: str, part: _Tree, one: str, other: str) -> Problem:
    def upwards(switch: str) -> list[str]:
        return [switch, *(upwards(above) if (above := part[switch][0]) else [])]

    left, right = upwards(one), upwards(other)
    meeting = next(switch for switch in left if switch in right)
    way = [*left[: left.index(meeting) + 1], *reversed(right[: right.index(meeting)]), one]
    return Problem(
        reference,
        f"a loop of switches: {' - '.join(way)}",
        "a tree",
        "switches of Podwire speak no spanning tree protocol, and a broadcast would go round for "
        "ever; leave a link out, or take underlay.leafSpine for several paths",
    )
