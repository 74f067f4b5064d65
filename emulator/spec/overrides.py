"""Values set from outside of the file: ``--set spec.network.backend=host-gw``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from emulator.errors import Problem, SpecError
from emulator.spec.findings import Findings, show
from emulator.spec.reader import Unreadable, parse
from emulator.spec.resolved import Place
from emulator.spec.scalars import Ambiguous, plain_scalar
from emulator.spec.tree import Mark, Tree, get, grown, plain, with_value

_OVERRIDE = Mark(0, 0)


def parse_sets(texts: Iterable[str]) -> dict[str, object]:
    """``["spec.underlay.links.mtu=9000"]`` as overrides for :func:`emulator.spec.load`.

    A value is read as YAML reads it (``{plugin: none}`` is a mapping), but that a word which
    YAML 1.1 and 1.2 read differently is a text: no other tool reads it. SpecError on a text
    without ``=`` or with a value that is not YAML.
    """
    values: dict[str, object] = {}
    problems: list[Problem] = []
    for text in texts:
        path, equals, value = text.partition("=")
        place = f"--set {path}"
        if not equals or not path:
            problems.append(Problem(f"--set {text}", "no value", "path=value"))
        elif not value.startswith(("{", "[", '"', "'")):
            scalar = plain_scalar(value)
            values[path] = value if isinstance(scalar, Ambiguous) else scalar
        else:
            try:
                documents = parse(value)
            except Unreadable as error:
                problems.append(Problem(place, error.trouble.found, error.trouble.expected))
                continue
            troubles = [t for document in documents for t in document.troubles]
            problems += [Problem(place, t.found, t.expected, t.hint) for t in troubles]
            values[path] = plain(documents[0].tree)
    if problems:
        raise SpecError(*problems)
    return values


def overridden(tree: Tree, overrides: Mapping[str, object], findings: Findings) -> Tree:
    """The Cluster document with every override in it, in their order.

    A path is dotted; an index selects from a list. Mappings on the way are made, the value
    there is replaced as a whole.
    """
    for path, value in overrides.items():
        loc = tuple(path.split("."))
        place = Place("--set", 0, 0, path)
        if value is None or "" in loc:
            findings.add(
                place,
                "nothing" if value is None else "an empty part of the path",
                "a value" if value is None else "a path such as spec.network.backend",
            )
            continue
        new = with_value(tree, loc, grown(value, _OVERRIDE))
        if new is None:
            bar = next(
                node
                for length in range(len(loc), -1, -1)
                if (node := get(tree, *_indexed(tree, loc[:length]))) is not None
            )
            findings.add(place, f"{show(bar.value, bar.text)} on the way", "a mapping to set it in")
        else:
            tree = new
    return tree


def _indexed(tree: Tree, loc: tuple[str, ...]) -> tuple[str | int, ...]:
    """The path with the pieces that select from a list as integers."""
    pieces: list[str | int] = []
    for piece in loc:
        here = get(tree, *pieces)
        in_list = here is not None and isinstance(here.value, list) and piece.isdecimal()
        pieces.append(int(piece) if in_list else piece)
    return tuple(pieces)
