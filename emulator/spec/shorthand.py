"""Underlays in short, written out: ``leafSpine`` and ``topo`` become segments, routers and nodes.

It is the document that is written out, each part at the place of the shorthand, and checked
afterwards like any other: what a shorthand stands for could have been written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from itertools import islice
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from emulator.errors import SpecError
from emulator.family import family
from emulator.spec.findings import Findings, show
from emulator.spec.model import LeafSpineDoc, UnderlayDoc
from emulator.spec.tree import Loc, Source, Tree, get, grown, plain, with_value, without

TopoReader = Callable[[str, Mapping[str, Any], PurePath], Mapping[str, Any]]
"""(``module:Class`` or ``path.py:Class``, its arguments, the folder that a path begins in) to
``{"segments": …, "nodes": …}`` as they would stand in a file. SpecError."""

UNDERLAY: Loc = ("spec", "underlay")
SHORTHANDS = ("leafSpine", "topo")

_RACK = {"IPv4": 24, "IPv6": 64}
_LINK = {"IPv4": 31, "IPv6": 127}


def written_out(source: Source, topo: TopoReader | None, findings: Findings) -> Source | None:
    """The document with its shorthand written out; as it is where there is none.

    None where the shorthand cannot be: then the names that it stands for are not known.
    """
    found = [name for name in SHORTHANDS if get(source.tree, *UNDERLAY, name) is not None]
    if "topo" not in found and (args := get(source.tree, *UNDERLAY, "args")) is not None:
        place = source.place(*UNDERLAY, "args", key=True)
        findings.add(place, show(args.value, args.text), "no args without topo")
    if not found:
        return source
    name = found[0]
    place = source.place(*UNDERLAY, name, key=True)
    taken: list[Loc] = [(*UNDERLAY, other) for other in (*found[1:], "segments", "routers")]
    if name == "topo":
        taken.append(("spec", "nodes"))
    beside = [loc for loc in taken if get(source.tree, *loc) is not None]
    for loc in beside:
        findings.add(
            source.place(*loc, key=True),
            f"{loc[-1]} beside {name}, at {place}",
            "one of the two",
            f"{name} stands for {loc[-1]}",
        )
    if beside:
        return None
    if name == "leafSpine":
        parts = _leaf_spine(source, findings)
    else:
        parts = _topo(source, topo, findings)
    return None if parts is None else _replaced(source, name, parts)


def nodes_stood_in(source: Source) -> Source:
    """The document with a node where ``topo`` would have brought some, to check the rest of it."""
    topo, nodes = get(source.tree, *UNDERLAY, "topo"), get(source.tree, "spec", "nodes")
    if topo is None or nodes is not None:
        return source
    tree = with_value(source.tree, ("spec", "nodes"), grown({"count": 1}, topo.mark))
    return source if tree is None else source._replace(tree=tree)


def _replaced(source: Source, name: str, parts: Mapping[Loc, object]) -> Source:
    written = get(source.tree, *UNDERLAY, name)
    assert written is not None
    tree: Tree | None = without(source.tree, [(*UNDERLAY, name), (*UNDERLAY, "args")])
    for loc, value in parts.items():
        assert tree is not None
        tree = with_value(tree, loc, grown(value, written.mark))
    assert tree is not None
    return source._replace(tree=tree)


def _leaf_spine(source: Source, findings: Findings) -> dict[Loc, object] | None:
    here = (*UNDERLAY, "leafSpine")
    written = get(source.tree, *here)
    assert written is not None
    try:
        doc = LeafSpineDoc.model_validate(plain(written))
    except ValidationError:
        return None  # which the check of the whole document says
    pairs = [(leaf, spine) for leaf in range(doc.leaves) for spine in range(doc.spines)]
    racks = [_cut(cidr, _RACK, doc.leaves) for cidr in _both(doc.rackCIDR)]
    links = [_cut(cidr, _LINK, len(pairs)) for cidr in _both(doc.linkCIDR)]
    short = False
    for field, given, length, cuts, count in (
        ("rackCIDR", doc.rackCIDR, _RACK, racks, doc.leaves),
        ("linkCIDR", doc.linkCIDR, _LINK, links, len(pairs)),
    ):
        for cidr, cut in zip(_both(given), cuts, strict=True):
            if len(cut) < count:
                short = True
                findings.add(
                    source.place(*here, field),
                    f"{cidr}, which is {len(cut) or 'no'} /{length[family(cidr).name]}s",
                    f"{count} of them, for {doc.leaves} leaves and {doc.spines} spines",
                )
    if short:
        return None
    name = {pair: f"leaf{pair[0] + 1}-spine{pair[1] + 1}" for pair in pairs}
    segments = {
        f"rack{i + 1}": {"cidr": list(cidrs)} for i, cidrs in enumerate(zip(*racks, strict=True))
    }
    segments |= {name[p]: {"cidr": list(cidrs)} for p, *cidrs in zip(pairs, *links, strict=True)}
    routers = {
        f"leaf{i + 1}": {"segments": [f"rack{i + 1}", *(name[i, j] for j in range(doc.spines))]}
        for i in range(doc.leaves)
    }
    routers |= {
        f"spine{j + 1}": {"segments": [name[i, j] for i in range(doc.leaves)]}
        for j in range(doc.spines)
    }
    parts: dict[Loc, object] = {(*UNDERLAY, "segments"): segments, (*UNDERLAY, "routers"): routers}
    nodes = get(source.tree, "spec", "nodes")
    if nodes is not None and isinstance(nodes.value, dict) and "spread" not in nodes.value:
        parts["spec", "nodes", "spread"] = [f"rack{i + 1}" for i in range(doc.leaves)]
    return parts


def _both(cidrs: str | list[str]) -> list[str]:
    return cidrs if isinstance(cidrs, list) else [cidrs]


def _cut(cidr: str, length: Mapping[str, int], count: int) -> list[str]:
    """The first ``count`` parts of a range; the very first is left out where it can be spared."""
    network = ip_network(cidr)
    longer = length[family(cidr).name] - network.prefixlen
    if longer < 0:
        return []
    skip = 1 if 1 << longer > count else 0
    return [str(part) for part in islice(network.subnets(longer), skip, skip + count)]


def _topo(source: Source, read: TopoReader | None, findings: Findings) -> dict[Loc, object] | None:
    here = (*UNDERLAY, "topo")
    written, given = get(source.tree, *here), get(source.tree, *UNDERLAY, "args")
    assert written is not None
    args = {} if given is None else plain(given)
    try:
        UnderlayDoc.model_validate({"topo": written.value, "args": args})
    except ValidationError:
        return None  # which the check of the whole document says
    if read is None:
        findings.add(
            source.place(*here),
            f'the class "{written.value}"',
            "segments and routers",
            "a class is read by podwire and by Cluster.from_file, not where only text is",
        )
        return None
    try:
        made = read(written.value, args, PurePath(source.file).parent)
    except SpecError as error:
        for problem in error.problems:
            if isinstance(problem, str):
                findings.add(source.place(*here), problem, "a topology without mistakes")
            else:
                findings.add(source.place(*here), *problem[1:])
        return None
    return {
        (*UNDERLAY, "segments"): made["segments"],
        ("spec", "nodes"): made["nodes"],
    }
