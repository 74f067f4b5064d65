"""What a binary is asked: its environment and the configuration on its standard input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from emulator.conflist.model import Conflist, Plugin
from emulator.conflist.reading import Json, JsonObject

Command = Literal["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"]

CHECK_SINCE = (0, 4, 0)
STATUS_SINCE = (1, 1, 0)
GC_SINCE = (1, 1, 0)
PREVIOUS_ON_DELETE_SINCE = (0, 4, 0)


class Target(NamedTuple):
    """What is attached: ``container`` is its id, ``netns`` the path that the binary opens,
    ``interface`` the name wanted there. ``args`` become CNI_ARGS; ``capabilities`` are what
    this runtime has to offer, by name."""

    container: str
    netns: str
    interface: str
    args: tuple[tuple[str, str], ...]
    capabilities: Mapping[str, Json]


class Invocation(NamedTuple):
    """One run of one binary (named as in ``type``)."""

    program: str
    environment: Mapping[str, str]
    standard_input: bytes


def number(version: str) -> tuple[int, ...]:
    """``1.0.0`` as numbers, for comparing."""
    return tuple(map(int, version.split(".")))


def attach(
    command: Command,
    conflist: Conflist,
    plugin: Plugin,
    version: str,
    target: Target,
    path: Sequence[str],
    previous: Json = None,
) -> Invocation:
    """ADD, DEL or CHECK of one plugin; ``previous`` is the result to build on, or None."""
    conf = _derived(conflist, plugin, version)
    conf.pop("capabilities", None)
    offered = {k: target.capabilities[k] for k in plugin.capabilities() if k in target.capabilities}
    if offered:
        conf["runtimeConfig"] = offered
    if previous is not None:
        conf["prevResult"] = previous
    environment = {
        **_environment(command, path),
        "CNI_CONTAINERID": target.container,
        "CNI_NETNS": target.netns,
        "CNI_IFNAME": target.interface,
    }
    if target.args:
        environment["CNI_ARGS"] = ";".join(f"{key}={value}" for key, value in target.args)
    return Invocation(plugin.type, environment, _bytes(conf))


def status(conflist: Conflist, plugin: Plugin, version: str, path: Sequence[str]) -> Invocation:
    """STATUS of one plugin."""
    conf = _derived(conflist, plugin, version)
    return Invocation(plugin.type, _environment("STATUS", path), _bytes(conf))


def collect(
    conflist: Conflist,
    plugin: Plugin,
    version: str,
    path: Sequence[str],
    valid: Sequence[tuple[str, str]],
) -> Invocation:
    """GC of one plugin; ``valid``: (container, interface) of what is still attached."""
    conf = _derived(conflist, plugin, version)
    conf["cni.dev/valid-attachments"] = [
        {"containerID": container, "ifname": interface} for container, interface in valid
    ]
    return Invocation(plugin.type, _environment("GC", path), _bytes(conf))


def ask_version(program: str, path: Sequence[str], newest: str) -> Invocation:
    """VERSION of one binary."""
    return Invocation(program, _environment("VERSION", path), _bytes({"cniVersion": newest}))


def _derived(conflist: Conflist, plugin: Plugin, version: str) -> JsonObject:
    return {**plugin.conf, "name": conflist.name, "cniVersion": version}


def _environment(command: Command, path: Sequence[str]) -> dict[str, str]:
    return {"CNI_COMMAND": command, "CNI_PATH": ":".join(path)}


def _bytes(conf: JsonObject) -> bytes:
    return json.dumps(conf).encode()
