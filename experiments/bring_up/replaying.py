"""The floor as a lab: replay.c builds what a trace holds, in a world like Podwire's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from emulator.errors import KernelRefused, PodwireError, Problem
from emulator.substrate.host import Dialogue
from emulator.substrate.runtime import World
from emulator.substrate.sandbox import PROCFS
from experiments.bring_up import build, sealed

_TIMEOUT_S = 300.0


@contextmanager
def replayed(
    trace: bytes, look: Callable[[dict[str, Any]], sealed.Facts] = lambda report: {}
) -> Iterator[tuple[World, dict[str, Any]]]:
    """Replay a trace; inside, what it built stands.

    Yields the world and the program's report ``{seconds, operations, failures, pid, fds}``,
    with what ``look`` adds: it runs in the world once everything is built, and is given the
    report. KernelRefused when the kernel refused any operation, Unsupported without gcc.
    """
    program = build.replay().read_bytes()

    def body() -> tuple[dict[str, Any], Callable[[], sealed.Facts]]:
        # the world's own /run: the caller's files may lie where the world has its own too
        here = PROCFS.parent
        (here / "trace").write_bytes(trace)
        (here / "replay").write_bytes(program)
        (here / "replay").chmod(0o700)
        dialogue = Dialogue((str(here / "replay"), str(here / "trace"), str(PROCFS), "hold"))
        report = _report(dialogue)
        return {**report, **look(report)}, dict

    with sealed.world("bring-up-replay", body) as (place, facts):
        yield place, facts


def _report(dialogue: Dialogue) -> dict[str, Any]:
    text = dialogue.line(_TIMEOUT_S)
    report: dict[str, Any] = json.loads(text) if text else {"failures": None}
    if report["failures"] == 0:
        return report
    ended = dialogue.end(_TIMEOUT_S)
    words = ended.stderr.decode(errors="replace").strip() or f"an end with {ended.returncode}"
    if ended.returncode == 1:
        raise KernelRefused(Problem("replay", words, "the kernel to accept every operation"))
    raise PodwireError(Problem("replay", words, "a trace to be replayed"))
