"""Collecting what is wrong with a file, so that one run reports all of it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from emulator.errors import Problem
from emulator.spec.resolved import Place

_LONGEST = 60


class Findings:
    """Problems with their places; ``problems`` gives them in the order of the file."""

    def __init__(self) -> None:
        self._found: list[tuple[Place, Problem]] = []

    def add(self, place: Place, found: str, expected: str, hint: str = "") -> None:
        """Note one problem."""
        self._found.append((place, Problem(str(place), found, expected, hint)))

    def include(self, place: Place, problem: Problem) -> None:
        """Note a problem of another file, which is named at ``place`` of this one."""
        self._found.append((place, problem))

    @property
    def problems(self) -> list[Problem]:
        """All of them by line and column, each once; those of overrides first."""
        ordered = sorted(self._found, key=lambda item: (item[0].line, item[0].column))
        return list(dict.fromkeys(problem for _, problem in ordered))


def one_of(names: Iterable[str]) -> str:
    """``one of a, b, c``, or the only one."""
    listed = [name or '""' for name in names]
    return f"one of {', '.join(listed)}" if len(listed) != 1 else listed[0]


def nearest(name: str, names: Iterable[str]) -> str:
    """The hint ``did you mean "vxlan"?``, or nothing when no name is near."""
    by_lower = {known.lower(): known for known in names}
    match = get_close_matches(name.lower(), by_lower, n=1)
    return f'did you mean "{by_lower[match[0]]}"?' if match else ""


def show(value: object, text: str = "") -> str:
    """A value as a message names it; ``text`` is its source where it was not quoted."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'"{shortened(value)}"'
    kind = "" if isinstance(value, bool) else "the number "
    return kind + shortened(text or str(value))


def shortened(text: str) -> str:
    """At most 60 characters of a text, on one line."""
    text = text.replace("\n", " ")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
