"""The verbs: which binary is run next, given what the last one answered.

Each verb is a generator of invocations that is sent an outcome for each of them. Who runs the
binaries, where, and how many at once, is not known here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from emulator.conflist import requests, results
from emulator.conflist.model import Conflist, Plugin
from emulator.conflist.requests import Invocation, Target, number
from emulator.conflist.results import Garbage, Result
from emulator.errors import PodwireError, Problem

T = TypeVar("T")


class Outcome(NamedTuple):
    """How a run ended. ``trouble`` says why it did not end by itself, or never began."""

    code: int
    output: bytes
    errors: bytes
    trouble: str = ""


Run = Generator[Invocation, Outcome, T]


class PluginFailed(PodwireError):
    """A binary failed: which one, doing what, and what it said."""


def supported(
    conflist: Conflist, path: Sequence[str], where: str
) -> Run[Mapping[str, tuple[str, ...]]]:
    """VERSION of each binary of the list: what it supports, oldest first. PluginFailed."""
    found: dict[str, tuple[str, ...]] = {}
    for plugin in conflist.plugins:
        if plugin.type in found:
            continue
        outcome = yield requests.ask_version(plugin.type, path, conflist.versions[-1])
        output = _output(outcome, "VERSION", plugin, where, "the versions that it supports")
        try:
            found[plugin.type] = results.versions(output)
        except Garbage as bad:
            raise _failed("VERSION", plugin, where, str(bad), "a list of versions") from None
    return found


def choose(conflist: Conflist, found: Mapping[str, tuple[str, ...]], title: str) -> str:
    """The newest version that the conflist allows and every binary supports. PodwireError."""
    for version in reversed(conflist.versions):
        if all(version in found[plugin.type] for plugin in conflist.plugins):
            return version
    binaries = (
        "; ".join(
            f"{name} supports {', '.join(versions) or 'none that we know'}"
            for name, versions in found.items()
            if not set(versions) & set(conflist.versions)
        )
        or "each binary supports another one of them"
    )
    raise PodwireError(
        Problem(
            title,
            f"cniVersion {' or '.join(conflist.versions)}",
            "a version that all binaries of the list support",
            binaries,
        )
    )


def add(
    conflist: Conflist, version: str, target: Target, path: Sequence[str], where: str
) -> Run[Result]:
    """ADD of each plugin in order; the last result. PluginFailed: then DEL is owed."""
    last: Result | None = None
    for plugin in conflist.plugins:
        previous = results.previous(last, version) if last else None
        outcome = yield requests.attach("ADD", conflist, plugin, version, target, path, previous)
        output = _output(outcome, "ADD", plugin, where, "a result")
        try:
            last = results.result(output, version)
        except Garbage as bad:
            raise _failed("ADD", plugin, where, str(bad), "a result as JSON") from None
    assert last is not None  # a conflist has at least one plugin
    return last


def delete(
    conflist: Conflist,
    version: str,
    target: Target,
    path: Sequence[str],
    where: str,
    added: Result | None,
) -> Run[None]:
    """DEL of each plugin in reverse; ``added`` is the result of ADD, None where that failed.

    PluginFailed by the first that fails; those before it in the list are then not asked.
    """
    previous = None
    if added and number(version) >= requests.PREVIOUS_ON_DELETE_SINCE:
        previous = results.previous(added, version)
    for plugin in reversed(conflist.plugins):
        outcome = yield requests.attach("DEL", conflist, plugin, version, target, path, previous)
        _output(outcome, "DEL", plugin, where, "success, also when there is nothing to delete")


def check(
    conflist: Conflist,
    version: str,
    target: Target,
    path: Sequence[str],
    where: str,
    added: Result,
) -> Run[bool]:
    """CHECK of each plugin in order; False where this conflist or version has no CHECK.

    PluginFailed by the first that finds something wrong.
    """
    if conflist.disable_check or number(version) < requests.CHECK_SINCE:
        return False
    previous = results.previous(added, version)
    for plugin in conflist.plugins:
        outcome = yield requests.attach("CHECK", conflist, plugin, version, target, path, previous)
        _output(outcome, "CHECK", plugin, where, "an attachment as ADD left it")
    return True


def status(conflist: Conflist, version: str, path: Sequence[str], where: str) -> Run[bool]:
    """STATUS of each plugin; False where this version has none. PluginFailed."""
    if number(version) < requests.STATUS_SINCE:
        return False
    for plugin in conflist.plugins:
        outcome = yield requests.status(conflist, plugin, version, path)
        _output(outcome, "STATUS", plugin, where, "a plugin that is ready for ADD")
    return True


def collect(
    conflist: Conflist,
    version: str,
    path: Sequence[str],
    where: str,
    valid: Sequence[tuple[str, str]],
) -> Run[bool]:
    """GC of each plugin with what is still attached; False where there is no GC.

    One that fails does not keep the others from being asked. PluginFailed with all of them.
    """
    if conflist.disable_gc or number(version) < requests.GC_SINCE:
        return False
    problems: list[Problem | str] = []
    for plugin in conflist.plugins:
        outcome = yield requests.collect(conflist, plugin, version, path, valid)
        try:
            _output(outcome, "GC", plugin, where, "success")
        except PluginFailed as failed:
            problems += failed.problems
    if problems:
        raise PluginFailed(*problems)
    return True


def _output(outcome: Outcome, command: str, plugin: Plugin, where: str, expected: str) -> bytes:
    """What it printed, if it ended well. PluginFailed with its own words."""
    if not outcome.trouble and outcome.code == 0:
        return outcome.output
    said = _last_line(outcome.errors)
    # the specification once named standard error for errors; binaries print to standard output
    failure = results.failure(outcome.output) or results.failure(outcome.errors)
    if outcome.trouble:
        found = outcome.trouble
    elif failure:
        found = str(failure)
    else:
        ended = f"signal {-outcome.code}" if outcome.code < 0 else f"exit code {outcome.code}"
        found = f"{ended} without an error object"
    raise _failed(command, plugin, where, found, expected, said)


def _failed(
    command: str, plugin: Plugin, where: str, found: str, expected: str, said: str = ""
) -> PluginFailed:
    place = f"{where}: {plugin.type} {command} ({plugin.place})"
    return PluginFailed(Problem(place, found, expected, f"it said: {said}" if said else ""))


def _last_line(errors: bytes) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:200] if lines else ""
