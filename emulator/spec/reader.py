"""Text of a YAML file to trees: every value with its place, nothing guessed.

The parser's events are read one by one, so depth and expansion are limited before
anything is built. libyaml is used where PyYAML has it; what PyYAML's own parser reads is
the same (the two differ in a few texts that they take for YAML: a tab behind a scalar).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml
from yaml.reader import Reader

from emulator.spec import limits
from emulator.spec.findings import shortened
from emulator.spec.scalars import Ambiguous, plain_scalar
from emulator.spec.tree import Loc, Mark, Tree


class Trouble(NamedTuple):
    """Something wrong with the text at ``loc`` of a document."""

    loc: Loc
    mark: Mark
    found: str
    expected: str
    hint: str = ""


class Document(NamedTuple):
    """One YAML document and what is wrong with its text."""

    tree: Tree
    troubles: list[Trouble]


class Unreadable(Exception):
    """The text cannot be read to its end: ``trouble`` is why, ``before`` what was there."""

    def __init__(self, trouble: Trouble, before: list[Trouble]) -> None:
        super().__init__(trouble.found)
        self.trouble = trouble
        self.before = before


def fastest() -> type[Any]:
    """The event parser of libyaml where there is one, else the one in Python."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str, loader: type[Any] | None = None) -> list[Document]:
    """All documents of a text but the empty ones. Raises Unreadable."""
    bad = Reader.NON_PRINTABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        found = f"the character U+{ord(bad.group()):04X}"
        raise Unreadable(
            Trouble((), Mark(line, column), found, "printable text", "remove it or write \\x.."),
            [],
        )
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader or fastest()):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at else Mark(1, 1)
        problem = shortened(error.problem or error.context or "a syntax error")
        raise Unreadable(
            Trouble((), mark, f"a syntax error: {problem}", "YAML", _advice(text, mark)),
            builder.troubles(),
        ) from None
    return builder.documents


def _advice(text: str, mark: Mark) -> str:
    lines = text.split("\n")
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or line[mark.column - 1 :][:1] == "\t":
        return "YAML is indented with spaces, never with tabs"
    return ""


class _Frame:
    """A mapping or list that is being built."""

    __slots__ = ("anchor", "is_key", "key", "size", "tree")

    def __init__(self, tree: Tree, anchor: str | None, is_key: bool) -> None:
        self.tree = tree
        self.anchor = anchor
        self.is_key = is_key
        self.key: str | None = None
        self.size = 1


class _Builder:
    """Takes the parser's events in order."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self._troubles: list[Trouble] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Tree, int]] = {}
        self._size = 0

    def troubles(self) -> list[Trouble]:
        """What was wrong so far, in all documents."""
        return [t for document in self.documents for t in document.troubles] + self._troubles

    def take(self, event: Any) -> None:
        """Add one event. Raises Unreadable at a limit."""
        if isinstance(event, yaml.ScalarEvent):
            self._tagged(event)
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._tagged(event)
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            frame = self._stack.pop()
            if not frame.is_key:
                self._add(frame.tree, frame.anchor, frame.size)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._troubles = []
            self._anchors = {}

    def _loc(self) -> Loc:
        loc: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.tree.value, list):
                loc.append(len(frame.tree.value))
            elif frame.key is not None:
                loc.append(frame.key)
        return tuple(loc)

    def _trouble(self, mark: Mark, found: str, expected: str, hint: str = "") -> None:
        self._troubles.append(Trouble(self._loc(), mark, found, expected, hint))

    def _tagged(self, event: Any) -> None:
        if event.tag is not None:
            self._trouble(_mark(event), f"the tag {shortened(event.tag)}", "a value without a tag")

    def _expects_key(self) -> bool:
        frame = self._stack[-1] if self._stack else None
        return frame is not None and isinstance(frame.tree.value, dict) and frame.key is None

    def _open(self, event: Any) -> None:
        mark = _mark(event)
        if len(self._stack) >= limits.DEPTH:
            raise Unreadable(
                Trouble(
                    self._loc()[:4],
                    mark,
                    f"more than {limits.DEPTH} levels of nesting",
                    f"at most {limits.DEPTH} levels",
                ),
                self.troubles(),
            )
        is_key = self._expects_key()
        if is_key:
            self._trouble(mark, "a mapping or list as a key", "a text as the key")
            self._stack[-1].key = ""
            self._stack[-1].tree.keys.setdefault("", mark)
        self._count(1, mark)
        self._stack.append(_Frame(Tree(_container(event), mark), event.anchor, is_key))

    def _scalar(self, event: Any) -> None:
        mark, text = _mark(event), str(event.value)
        value: Any = text
        if any("\ud800" <= char <= "\udfff" for char in text):
            self._trouble(mark, "half of a surrogate pair", "whole characters")
            value = text = text.encode("ascii", "replace").decode()
        quoted = bool(event.style)
        if not quoted:
            value = plain_scalar(text)
        if self._expects_key():
            self._key(mark, value, text)
            return
        if isinstance(value, Ambiguous):
            self._trouble(
                mark,
                shortened(text),
                "a value that every reader of YAML reads alike",
                f'{value.reading}: write "{shortened(text)}" for the text{_or_plainly(text)}',
            )
            value = text
        elif value is None and self._stack:
            key = self._stack[-1].key
            # The parsers do not agree where an empty text is.
            mark = mark if key is None or text else self._stack[-1].tree.keys[key]
            self._trouble(mark, "nothing", "a value", "leave the field out to get its default")
        self._count(1, mark)
        self._add(Tree(value, mark, text="" if quoted else text), event.anchor, 1)

    def _key(self, mark: Mark, value: Any, text: str) -> None:
        frame = self._stack[-1]
        first = frame.tree.keys.get(text)
        frame.key = text
        if text == "<<" and value == "<<":
            self._trouble(mark, "the merge key <<", "the fields themselves", "write them out")
        elif not isinstance(value, str):
            why = f"{value.reading}; " if isinstance(value, Ambiguous) else ""
            self._trouble(
                mark, f"the key {text or 'nothing'}", "a text as the key", f'{why}write "{text}"'
            )
        if first is not None:
            self._trouble(
                mark,
                f'the key "{shortened(text)}" a second time',
                "each key once",
                f"the first is in line {first.line}",
            )
        else:
            frame.tree.keys[text] = mark

    def _alias(self, event: Any) -> None:
        mark = _mark(event)
        tree, size = self._anchors.get(event.anchor, (None, 1))
        if tree is None:
            self._trouble(
                mark,
                f"the alias *{shortened(event.anchor)}",
                f"an anchor &{shortened(event.anchor)} that ends before it",
            )
            tree = Tree(None, mark)
        if self._expects_key():
            self._key(mark, str(tree.value), str(tree.value))
        else:
            self._count(size, mark)
            self._add(tree, None, size)

    def _count(self, values: int, mark: Mark) -> None:
        self._size += values
        if self._size > limits.EXPANDED_NODES:
            raise Unreadable(
                Trouble(
                    self._loc()[:4],
                    mark,
                    f"more than {limits.EXPANDED_NODES:,} values with the aliases written out",
                    f"at most {limits.EXPANDED_NODES:,} values",
                ),
                self.troubles(),
            )

    def _add(self, tree: Tree, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (tree, size)
        if not self._stack:
            if tree.value is not None or self._troubles:
                self.documents.append(Document(tree, self._troubles))
            self._troubles = []
            return
        frame = self._stack[-1]
        frame.size += size
        if isinstance(frame.tree.value, list):
            frame.tree.value.append(tree)
        else:
            key = frame.key or ""
            frame.tree.value.setdefault(key, tree)
            frame.key = None


def _container(event: Any) -> dict[str, Tree] | list[Tree]:
    return {} if isinstance(event, yaml.MappingStartEvent) else []


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _or_plainly(text: str) -> str:
    lower = text.lower()
    if lower in ("y", "yes", "on"):
        return ", true for the truth value"
    if lower in ("n", "no", "off"):
        return ", false for the truth value"
    if "_" in text:
        return f", {text.replace('_', '')} for the number"
    return ""
