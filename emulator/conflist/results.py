"""What binaries answer: results of ADD in every version of the protocol, versions, errors."""

from __future__ import annotations

import json
from ipaddress import ip_interface, ip_network
from typing import NamedTuple

from emulator.conflist.model import VERSIONS
from emulator.conflist.reading import Json, JsonObject
from emulator.conflist.requests import number

ERRORS = {
    1: "incompatible version of the protocol",
    2: "a field of the configuration that it does not support",
    3: "the container is unknown",
    4: "an environment variable is wrong",
    5: "input or output failed",
    6: "what it was given could not be decoded",
    7: "the configuration is wrong",
    11: "try again later",
    50: "not available",
    51: "not available, and pods that are attached may be cut off",
}
"""The codes that the specification gives a meaning; from 100 on they are the binary's own."""


class Garbage(Exception):
    """An answer that is none: what it is, in words."""


class Interface(NamedTuple):
    """An interface that a result names; ``sandbox`` is empty for one of the node."""

    name: str
    mac: str
    sandbox: str
    mtu: int


class Ip(NamedTuple):
    """An address with its prefix; ``interface`` indexes the interfaces, or is -1."""

    address: str
    gateway: str
    interface: int


class Route(NamedTuple):
    """A route that a result names; ``gateway`` may be empty."""

    dst: str
    gateway: str


class Result(NamedTuple):
    """The result of ADD. ``raw`` is the object as the binary gave it, for the next one."""

    version: str
    interfaces: tuple[Interface, ...]
    ips: tuple[Ip, ...]
    routes: tuple[Route, ...]
    raw: JsonObject


class Failure(NamedTuple):
    """An error object. ``code`` 0 where the binary gave none."""

    code: int
    message: str
    details: str

    def __str__(self) -> str:
        told = ": ".join(filter(None, (self.message, self.details)))
        words = " ".join(told.split()) or "no message"  # programs' own lines are in it
        if not self.code:
            return words
        known = ERRORS.get(self.code)
        return f"error {self.code}{f' ({known})' if known else ''}: {words}"


def result(output: bytes, asked: str) -> Result:
    """The result of ADD, which was asked for in version ``asked``. Garbage."""
    found = _object(output)
    version = found.get("cniVersion") or asked
    if version not in VERSIONS:
        raise Garbage(f"a result of the unknown version {version!r}")
    interfaces = tuple(
        Interface(
            _text(entry, "name"), _text(entry, "mac").lower(), _text(entry, "sandbox"),
            _whole(entry, "mtu", 0),
        )
        for entry in _objects(found, "interfaces")
    )  # fmt: skip
    ips = tuple(
        Ip(_address(entry, "address"), _text(entry, "gateway"), _whole(entry, "interface", -1))
        for entry in _objects(found, "ips")
    )
    for ip in ips:
        if ip.interface >= len(interfaces):
            raise Garbage(f"an address on interface {ip.interface} of {len(interfaces)}")
    routes = tuple(
        Route(_network(entry, "dst"), _text(entry, "gw")) for entry in _objects(found, "routes")
    )
    return Result(str(version), interfaces, ips, routes, {**found, "cniVersion": version})


def previous(found: Result, version: str) -> JsonObject:
    """A result as ``prevResult`` in ``version``: unchanged where it is of that version."""
    if found.version == version:
        return found.raw
    raw = {**found.raw, "cniVersion": version}
    old, new = number(version) < (1, 0, 0), number(version) >= (1, 1, 0)
    ips: list[Json] = []
    for entry, ip in zip(_objects(found.raw, "ips"), found.ips, strict=True):
        changed = {k: v for k, v in entry.items() if k != "version"}
        # up to 0.4.0 each address says of which family it is
        ips.append(
            {"version": str(ip_interface(ip.address).version), **changed} if old else changed
        )
    if "ips" in raw:
        raw["ips"] = ips
    for key, kept in (("interfaces", {"name", "mac", "sandbox"}), ("routes", {"dst", "gw"})):
        if key in raw and not new:
            raw[key] = [
                {k: v for k, v in entry.items() if k in kept} for entry in _objects(found.raw, key)
            ]
    return raw


def versions(output: bytes) -> tuple[str, ...]:
    """The versions that a binary supports, those that we know, oldest first. Garbage."""
    found = _object(output).get("supportedVersions")
    if not isinstance(found, list):
        raise Garbage(f"no list supportedVersions but {_short(output)}")
    return tuple(version for version in VERSIONS if version in found)


def failure(output: bytes) -> Failure | None:
    """The error object of a binary that failed, None where there is none."""
    try:
        found = _object(output)
    except Garbage:
        return None
    code, message, details = (found.get(key) for key in ("code", "msg", "details"))
    if not isinstance(code, int) and not isinstance(message, str):
        return None
    return Failure(
        code if isinstance(code, int) else 0,
        message if isinstance(message, str) else "",
        details if isinstance(details, str) else "",
    )


def _object(output: bytes) -> JsonObject:
    if not output.strip():
        raise Garbage("no output")
    try:
        found = json.loads(output)
    except (ValueError, RecursionError):
        raise Garbage(f"output that is no JSON: {_short(output)}") from None
    if not isinstance(found, dict):
        raise Garbage(f"output that is no object: {_short(output)}")
    return found


def _short(output: bytes) -> str:
    text = " ".join(output.decode(errors="replace").split())
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _objects(of: JsonObject, key: str) -> list[JsonObject]:
    found = of.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise Garbage(f"a result whose {key} are no list of objects")
    return [entry for entry in found if isinstance(entry, dict)]


def _text(of: JsonObject, key: str) -> str:
    found = of.get(key)
    if found is not None and not isinstance(found, str):
        raise Garbage(f"a result with a {key} that is no text")
    return found or ""


def _whole(of: JsonObject, key: str, absent: int) -> int:
    found = of.get(key)
    if found is None:
        return absent
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise Garbage(f"a result with a {key} that is no number")
    return found


def _address(of: JsonObject, key: str) -> str:
    try:
        return str(ip_interface(_text(of, key)))
    except ValueError:
        raise Garbage(f"a result with the {key} {_text(of, key)!r}, which is none") from None


def _network(of: JsonObject, key: str) -> str:
    try:
        return str(ip_network(_text(of, key), strict=False))
    except ValueError:
        raise Garbage(f"a result with the route {_text(of, key)!r}, which is none") from None
