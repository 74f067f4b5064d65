"""A YAML document with the place of every value, and the walks over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emulator.spec.resolved import Place

Loc = tuple[str | int, ...]
"""The way from the root of a document: keys and list indices."""


class Mark(NamedTuple):
    """Line and column from 1; line 0 marks what an override put there."""

    line: int
    column: int


@dataclass(slots=True)
class Tree:
    """A value of a document: mapping, list or scalar.

    ``value`` is a dict or list of trees, or the scalar. ``keys`` has the marks of
    the keys of a mapping, ``text`` the source of an unquoted scalar. Trees are shared
    by the aliases of YAML, so they are never changed: the functions below give new ones.
    """

    value: Any
    mark: Mark
    keys: dict[str, Mark] = field(default_factory=dict)
    text: str = ""


class Source(NamedTuple):
    """A document of a file; ``prefix`` stands before its paths (``Pod/web ``)."""

    file: str
    tree: Tree
    prefix: str = ""

    def place(self, *loc: str | int, key: bool = False) -> Place:
        """Where ``loc`` stands: its value, or its key; the deepest part there is of it."""
        node, mark = self.tree, self.tree.mark
        for piece in loc:
            child = _child(node, piece)
            if child is None:
                break
            mark = node.keys[str(piece)] if key and isinstance(node.value, dict) else child.mark
            node = child
        path = self.prefix + (dotted(loc) or "document")
        if not mark.line:
            return Place("--set", 0, 0, path)
        return Place(self.file, mark.line, mark.column, path)


def _child(node: Tree, piece: str | int) -> Tree | None:
    value = node.value
    if isinstance(value, dict):
        return value.get(piece)
    if isinstance(value, list) and isinstance(piece, int) and 0 <= piece < len(value):
        child: Tree = value[piece]
        return child
    return None


def dotted(loc: Iterable[str | int]) -> str:
    """``("spec", "nodes", 2, "name")`` as ``spec.nodes[2].name``."""
    text = ""
    for piece in loc:
        text += f"[{piece}]" if isinstance(piece, int) else f".{piece}"
    return text.removeprefix(".")


def located(tree: Tree, loc: Loc) -> tuple[Loc, Tree]:
    """The part of ``loc`` that the tree has, without the pieces that it has not."""
    path: list[str | int] = []
    for piece in loc:
        child = _child(tree, piece)
        if child is not None:
            path.append(piece)
            tree = child
    return tuple(path), tree


def get(tree: Tree, *loc: str | int) -> Tree | None:
    """The value at ``loc``; None when there is nothing."""
    path, node = located(tree, loc)
    return node if path == loc else None


def plain(tree: Tree) -> Any:
    """The document without its marks: dicts, lists and scalars."""
    value = tree.value
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value


def grown(value: object, mark: Mark) -> Tree:
    """A tree of plain data, all of it at one mark."""
    if isinstance(value, Mapping):
        children = {str(key): grown(child, mark) for key, child in value.items()}
        return Tree(children, mark, dict.fromkeys(children, mark))
    if isinstance(value, list | tuple):
        return Tree([grown(child, mark) for child in value], mark)
    return Tree(value, mark, text="" if isinstance(value, str) else str(value))


def with_value(tree: Tree, loc: Loc, value: Tree) -> Tree | None:
    """The tree with ``value`` at ``loc``, mappings made on the way; None when a scalar bars it.

    An index one past the end of a list appends.
    """
    if not loc:
        return value
    head, rest = loc[0], loc[1:]
    if isinstance(tree.value, dict):
        below = tree.value.get(str(head), Tree({}, value.mark))
        new = with_value(below, rest, value)
        if new is None:
            return None
        key_mark = tree.keys.get(str(head), value.mark) if rest else value.mark
        return Tree({**tree.value, str(head): new}, tree.mark, {**tree.keys, str(head): key_mark})
    if isinstance(tree.value, list) and str(head).isdecimal() and int(head) <= len(tree.value):
        items: list[Tree] = list(tree.value)
        index = int(head)
        below = items[index] if index < len(items) else Tree({}, value.mark)
        new = with_value(below, rest, value)
        return None if new is None else Tree([*items[:index], new, *items[index + 1 :]], tree.mark)
    return None


def without(tree: Tree, locs: Iterable[Loc]) -> Tree:
    """The tree less the values at ``locs`` (none of them empty)."""
    below: dict[str | int, list[Loc]] = {}
    for loc in locs:
        below.setdefault(loc[0], []).append(loc[1:])
    if isinstance(tree.value, dict):
        children = {
            key: without(child, below[key]) if key in below else child
            for key, child in tree.value.items()
            if () not in below.get(key, ())
        }
        return Tree(children, tree.mark, tree.keys)
    if isinstance(tree.value, list):
        items = [
            without(child, below[index]) if index in below else child
            for index, child in enumerate(tree.value)
            if () not in below.get(index, ())
        ]
        return Tree(items, tree.mark)
    return tree
