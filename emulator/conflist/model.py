"""A conflist: read, checked, and nothing of it lost on the way to the binaries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from json import dumps
from typing import Final, NamedTuple

from emulator.conflist.reading import Invalid, Json, JsonObject, Path, Read, read, written
from emulator.errors import Problem, SpecError

VERSIONS: Final = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""The versions of the protocol that have lists of plugins, oldest first."""

BYTES = 1 << 20
"""A conflist has one or two thousand bytes."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*").fullmatch
_NUMBERS = re.compile(r"\d+\.\d+\.\d+").fullmatch


class Plugin(NamedTuple):
    """One entry of ``plugins``. ``conf`` is the object as it stands, ``place`` where."""

    type: str
    conf: JsonObject
    place: str

    def capabilities(self) -> list[str]:
        """What it asks the runtime for (``"capabilities": {"portMappings": true}``)."""
        asked = self.conf.get("capabilities")
        return [k for k, v in asked.items() if v is True] if isinstance(asked, dict) else []

    def ipam(self) -> JsonObject:
        """The object ``ipam``, empty where there is none."""
        found = self.conf.get("ipam")
        return found if isinstance(found, dict) else {}


class Conflist(NamedTuple):
    """A network configuration. ``versions`` are those that it allows and we know, oldest first."""

    name: str
    versions: tuple[str, ...]
    disable_check: bool
    disable_gc: bool
    plugins: tuple[Plugin, ...]

    def programs(self) -> list[str]:
        """The binaries that it takes, the ones for addresses too, each once."""
        named = [p.type for p in self.plugins]
        named += [t for p in self.plugins if isinstance(t := p.ipam().get("type"), str) and t]
        return list(dict.fromkeys(named))


def parse(text: str, file: str) -> Conflist:
    """A conflist from its text. SpecError with everything that is wrong in it."""
    if len(text) > BYTES:
        raise SpecError(Problem(file, f"{len(text)} characters", f"at most {BYTES}"))
    try:
        found = read(text.removeprefix("\ufeff"))
    except Invalid as bad:
        place = f"{file}:{bad.line}: {written(bad.path)}".rstrip(": ")
        hint = "JSON has no comments and no comma behind the last entry"
        raise SpecError(Problem(place, bad.found, bad.expected, hint)) from None
    reader = _Checker(found, file)
    conflist = reader.conflist()
    if reader.problems:
        raise SpecError(*reader.problems)
    return conflist


class _Checker:
    def __init__(self, found: Read, file: str) -> None:
        self.problems: list[Problem] = []
        self._lines = found.lines
        self._file = file
        self._top: JsonObject = found.value if isinstance(found.value, dict) else {}
        if not isinstance(found.value, dict):
            self._wrong((), shown(found.value), "an object with cniVersion, name and plugins")

    def conflist(self) -> Conflist:
        if self.problems:
            return Conflist("", (), False, False, ())
        return Conflist(
            self._text((), self._top, "name", "a name of letters, digits, '_', '.', '-'", _NAME),
            tuple(self._versions()),
            self._flag("disableCheck"),
            self._flag("disableGC"),
            tuple(self._plugins()),
        )

    def _wrong(self, path: Path, found: str, expected: str, hint: str = "") -> None:
        self.problems.append(Problem(self._place(path), found, expected, hint))

    def _place(self, path: Path) -> str:
        line = next(
            self._lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self._lines
        )
        return f"{self._file}:{line}: {written(path) or 'conflist'}"

    def _text(self, at: Path, of: JsonObject, key: str, expected: str, good: object = None) -> str:
        value = of.get(key)
        if key not in of:
            self._wrong((*at, key), "nothing", expected)
        elif not isinstance(value, str) or not (good or str)(value):  # type: ignore[operator]
            self._wrong((*at, key), shown(value), expected)
        return value if isinstance(value, str) else ""

    def _flag(self, key: str) -> bool:
        value = self._top.get(key, False)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if not isinstance(value, bool):
            self._wrong((key,), shown(value), "true or false")
        return value is True

    def _versions(self) -> Iterator[str]:
        more = self._top.get("cniVersions", [])
        one = self._top.get("cniVersion")
        if not isinstance(more, list):
            self._wrong(("cniVersions",), shown(more), "a list of versions")
            return
        entries: list[tuple[Path, Json]] = [(("cniVersions", i), v) for i, v in enumerate(more)]
        if one is not None or not entries:
            entries.append((("cniVersion",), one))
        named: list[str] = []
        for path, value in entries:
            if isinstance(value, str) and _NUMBERS(value):
                named.append(value)
            elif value is None:
                self._wrong(path, "nothing", f"a version of the protocol: {_known()}")
                return
            else:
                self._wrong(path, shown(value), f"a version of the protocol: {_known()}")
                return
        # like every runtime: a conflist may name versions of the future beside one of ours
        good = [version for version in VERSIONS if version in named]
        if not good:
            path, value = entries[-1]
            near = get_close_matches(str(value), VERSIONS, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else ""
            self._wrong(path, f"the unknown version {shown(value)}", _known(), hint)
        yield from good

    def _plugins(self) -> Iterator[Plugin]:
        found = self._top.get("plugins")
        if not isinstance(found, list) or not found:
            hint = ""
            if "type" in self._top:
                hint = 'this is one plugin\'s configuration: a conflist has it in "plugins": [{…}]'
            words = "an empty list" if found == [] else shown(found) if found else "nothing"
            self._wrong(("plugins",), words, "a list of at least one plugin", hint)
            return
        for index, conf in enumerate(found):
            path: Path = ("plugins", index)
            if not isinstance(conf, dict):
                self._wrong(path, shown(conf), "an object with a type")
                continue
            kind = self._text(path, conf, "type", "the name of a binary", _program)
            for key in ("capabilities", "ipam"):
                if not isinstance(conf.get(key, {}), dict):
                    self._wrong((*path, key), shown(conf[key]), "an object")
            ipam = conf.get("ipam")
            if isinstance(ipam, dict) and "type" in ipam:
                self._text((*path, "ipam"), ipam, "type", "the name of a binary", _address_program)
            yield Plugin(kind, conf, self._place(path))


def _program(name: str) -> bool:
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\\0")


def _address_program(name: str) -> bool:
    return not name or _program(name)


def _known() -> str:
    return ", ".join(VERSIONS)


def shown(value: Json) -> str:
    """A value of a file for a message."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = dumps(value, ensure_ascii=False)
    return text if len(text) < 70 else text[:66] + "…" + text[-1]
