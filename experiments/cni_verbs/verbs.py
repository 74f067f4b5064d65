"""ADD, CHECK and DEL of many pods on one node, each timed as a runtime would see it.

The chains and the way to run a binary are those of ``podwire up``; only who calls is another one:
a child inside the lab, without supervisor, journal and looks at the kernel in between.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from emulator.conflist import chain
from emulator.conflist.chain import Outcome, Run
from emulator.conflist.model import Conflist, parse
from emulator.conflist.requests import Invocation, Target
from emulator.conflist.results import Result
from emulator.errors import PodwireError
from emulator.substrate import inside
from emulator.substrate.binaries import Binaries, Job
from emulator.substrate.runtime import World

FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")
TIMEOUT_S = 30.0


class Called(NamedTuple):
    """One verb for the n-th pod: when it began, seconds from the first call, and what it took."""

    pod: int
    began_s: float
    took_s: float


class Timed(NamedTuple):
    """All calls by verb, in the order of the pods; ``failed`` says what went wrong."""

    calls: dict[str, list[Called]]
    failed: tuple[str, ...]


def measure(world: World, node: str, pods: Sequence[str], text: str, at_once: int) -> Timed:
    """ADD and CHECK for each pod in turn, then DEL from the last to the first one.

    ``at_once``: so many pods at a time. PodwireError for a conflist that cannot be run.
    """
    conflist = parse(text, "conflist")
    answer: Timed = inside.inside(
        world, lambda: _inside(node, pods, conflist, at_once), own_pid=True
    )
    return answer


def _inside(node: str, pods: Sequence[str], conflist: Conflist, at_once: int) -> Timed:
    binaries = Binaries(inside.enter_netns, at_once)

    def drive(chains: Sequence[Run[Any]]) -> list[Any]:
        return binaries.drive([Job(node, one, FOLDERS, TIMEOUT_S) for one in chains])

    (supported,) = drive([chain.supported(conflist, FOLDERS, node)])
    if isinstance(supported, PodwireError):
        raise supported
    version = chain.choose(conflist, supported, "conflist")
    begin = time.monotonic()
    targets = [Target(_container(pod), f"/run/netns/{pod}", "eth0", (), {}) for pod in pods]
    attached = drive([_attach(conflist, version, target, node, begin) for target in targets])
    results = [None if isinstance(one, PodwireError) else one[2] for one in attached]
    order = range(len(pods) - 1, -1, -1)
    detached = drive(
        [_detach(conflist, version, targets[at], node, begin, results[at]) for at in order]
    )[::-1]
    calls: dict[str, list[Called]] = {"add": [], "check": [], "del": []}
    for pod, (up, down) in enumerate(zip(attached, detached, strict=True), 1):
        if not isinstance(up, PodwireError):
            calls["add"].append(Called(pod, *up[0]))
            calls["check"].append(Called(pod, *up[1]))
        if not isinstance(down, PodwireError):
            calls["del"].append(Called(pod, *down))
    failed = [str(one) for one in (*attached, *detached) if isinstance(one, PodwireError)]
    return Timed(calls, tuple(dict.fromkeys(failed)))


Span = tuple[float, float]


def _timed(run: Run[Any], begin: float) -> Generator[Invocation, Outcome, tuple[Span, Any]]:
    before = time.monotonic()
    answer = yield from run
    return (before - begin, time.monotonic() - before), answer


def _attach(
    conflist: Conflist, version: str, target: Target, node: str, begin: float
) -> Run[tuple[Span, Span, Result]]:
    add, result = yield from _timed(chain.add(conflist, version, target, FOLDERS, node), begin)
    check, _ = yield from _timed(
        chain.check(conflist, version, target, FOLDERS, node, result), begin
    )
    return add, check, result


def _detach(
    conflist: Conflist, version: str, target: Target, node: str, begin: float,
    result: Result | None,
) -> Run[Span]:  # fmt: skip
    span, _ = yield from _timed(
        chain.delete(conflist, version, target, FOLDERS, node, result), begin
    )
    return span


def _container(pod: str) -> str:
    return hashlib.sha256(f"cni-verbs {pod}".encode()).hexdigest()
