"""JSON text to values that know their lines: what the standard library's parser does not say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import NamedTuple, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject = dict[str, Json]
Path = tuple[str | int, ...]

DEPTH = 64
"""Objects and lists within one another; a conflist has five or six."""

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
_WORDS: Mapping[str, Json] = {"true": True, "false": False, "null": None}
_END = "the end of the file"


class Invalid(Exception):
    """What is no JSON: where (line from 1), what stands there, and what should."""

    def __init__(self, line: int, path: Path, found: str, expected: str) -> None:
        super().__init__(line, path, found, expected)
        self.line, self.path, self.found, self.expected = line, path, found, expected


class Read(NamedTuple):
    """A value and the line of everything in it: of an entry, the line of its key."""

    value: Json
    lines: Mapping[Path, int]


def read(text: str) -> Read:
    """The value of a JSON text. Invalid."""
    reader = _Reader(text)
    value = reader.value(())
    if reader.at < len(text):
        raise reader.invalid((), _END)
    return Read(value, reader.lines)


def written(path: Path) -> str:
    """``plugins[0].ipam.type``; empty for the whole."""
    out = ""
    for piece in path:
        out += f"[{piece}]" if isinstance(piece, int) else f".{piece}" if out else piece
    return out


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: dict[Path, int] = {}
        self.at = 0
        self._skip()

    def invalid(self, path: Path, expected: str, found: str = "") -> Invalid:
        if not found:
            rest = self.text[self.at : self.at + 20].partition("\n")[0]
            found = repr(rest) if self.at < len(self.text) else _END
        return Invalid(self._line(), path, found, expected)

    def value(self, path: Path) -> Json:
        """The value here, and what follows it is the next."""
        self.lines.setdefault(path, self._line())
        here = self.text[self.at : self.at + 1]
        if here in ("{", "["):
            if len(path) >= DEPTH:
                raise self.invalid(path, f"at most {DEPTH} levels")
            return self._object(path) if here == "{" else self._list(path)
        if here == '"':
            return self._string(path)
        for word, value in _WORDS.items():
            if self.text.startswith(word, self.at):
                self._skip(len(word))
                return value
        number = _NUMBER.match(self.text, self.at)
        if number is None:
            raise self.invalid(path, "a value")
        self._skip(len(number[0]))
        if number[1] or number[2]:
            return float(number[0])
        return int(number[0]) if len(number[0]) < 40 else float(number[0])

    def _object(self, path: Path) -> JsonObject:
        found: JsonObject = {}
        self._skip(1)
        while not self._take("}"):
            if found:
                self._need(path, ",", 'a comma or "}"')
            if self.text[self.at : self.at + 1] != '"':
                raise self.invalid(path, "a key in double quotes")
            line = self._line()
            key = self._string(path)
            if key in found:
                words = f'a second "{key}"; the first is in line {self.lines[*path, key]}'
                raise Invalid(line, (*path, key), words, "each key once")
            self.lines[*path, key] = line
            self._need((*path, key), ":", "a colon")
            found[key] = self.value((*path, key))
        return found

    def _list(self, path: Path) -> list[Json]:
        found: list[Json] = []
        self._skip(1)
        while not self._take("]"):
            if found:
                self._need(path, ",", 'a comma or "]"')
            found.append(self.value((*path, len(found))))
        return found

    def _string(self, path: Path) -> str:
        try:
            text, end = scanstring(self.text, self.at + 1, True)
        except JSONDecodeError as error:
            self.at = error.pos
            raise self.invalid(path, "a text in double quotes", error.msg.lower()) from None
        self._skip(end - self.at)
        return str(text)

    def _take(self, sign: str) -> bool:
        if not self.text.startswith(sign, self.at):
            return False
        self._skip(1)
        return True

    def _need(self, path: Path, sign: str, expected: str) -> None:
        if not self._take(sign):
            raise self.invalid(path, expected)

    def _skip(self, count: int = 0) -> None:
        space = _SPACE.match(self.text, self.at + count)
        self.at = space.end() if space else self.at + count

    def _line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1
