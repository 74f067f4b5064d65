"""The four ways to bring up a cluster, and what each is timed by.

An arm is a context manager: inside, its lab stands. It yields what took how long, the
world to look at, and how to take it down.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from emulator.cluster import Cluster
from emulator.errors import PodwireError, Problem
from emulator.place import Completed
from emulator.spec import load_text
from emulator.substrate import lab, runtime
from emulator.substrate.host import run_on_host
from emulator.substrate.runtime import World
from experiments.bring_up import record, sealed
from experiments.bring_up.replaying import replayed
from experiments.bring_up.sizes import Size
from experiments.bring_up.stock import mininet

_TIMEOUT_S = 600.0


class Standing(NamedTuple):
    """A lab that is up. ``down`` takes it down and returns the seconds that this took."""

    up_s: float
    world: World
    detail: Mapping[str, Any]
    down: Callable[[], float]


class Traces:
    """The trace of each size, recorded when it is first asked for."""

    def __init__(self) -> None:
        self._known: dict[Size, bytes] = {}

    def __contains__(self, size: Size) -> bool:
        return size in self._known

    def get(self, size: Size) -> bytes:
        """Unsupported without a compiler; PodwireError when recording fails."""
        if size not in self._known:
            with TemporaryDirectory() as folder:
                spec, trace = Path(folder, "spec.yaml"), Path(folder, "trace")
                spec.write_text(size.yaml())
                record.record(spec, trace)
                self._known[size] = trace.read_bytes()
        return self._known[size]


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


@contextmanager
def podwire(size: Size) -> Iterator[Standing]:
    """From the compiled plan in hand to the ready lab, Mininet objects included."""
    cluster = Cluster(load_text(size.yaml()), f"bring-up-{os.getpid()}")
    took = seconds(cluster.up)
    with cluster:
        yield Standing(took, cluster.world, cluster.timings, lambda: seconds(cluster.down))


def replay(traces: Traces) -> Callable[[Size], AbstractContextManager[Standing]]:
    """From the first operation to the last acknowledgement, by the C program."""

    @contextmanager
    def arm(size: Size) -> Iterator[Standing]:
        with replayed(traces.get(size)) as (world, report):
            detail = {"operations": report["operations"]}
            yield Standing(report["seconds"], world, detail, lambda: seconds(lambda: end(world)))

    return arm


@contextmanager
def stock(size: Size) -> Iterator[Standing]:
    """Constructor and start of stock Mininet; down is its ``stop``."""
    with mininet(size.hosts) as (world, report):

        def down() -> float:
            took: float = sealed.down(world, _TIMEOUT_S)["seconds"]
            lab.end(world)
            return took

        yield Standing(report["seconds"], world, {"hosts": size.hosts}, down)


@contextmanager
def command(size: Size) -> Iterator[Standing]:
    """The whole ``podwire up`` and the whole ``podwire down``, as processes."""
    name = f"bring-up-command-{os.getpid()}"
    with TemporaryDirectory() as folder:
        spec = Path(folder, "spec.yaml")
        spec.write_text(size.yaml())
        begun = time.perf_counter()
        said = _podwire("up", str(spec), "--name", name, "--timings")
        took = time.perf_counter() - begun
        world = runtime.find(name)
        try:
            detail = json.loads(said.stdout)
            yield Standing(took, world, detail, lambda: seconds(lambda: _podwire("down", name)))
        finally:
            end(world)


def compiling(size: Size) -> tuple[float, float]:
    """The whole ``podwire check`` and the whole ``podwire plan``: the seconds of each."""
    with TemporaryDirectory() as folder:
        spec = Path(folder, "spec.yaml")
        spec.write_text(size.yaml())
        check = seconds(lambda: _podwire("check", str(spec)))
        return check, seconds(lambda: _podwire("plan", str(spec)))


def end(world: World) -> None:
    """End a world if it still runs."""
    if world.alive():
        lab.end(world)


def _podwire(*arguments: str) -> Completed:
    argv = (sys.executable, "-m", "emulator.cli", *arguments)
    ended = run_on_host(argv, env={"PYTHONPATH": str(record.ROOT)}, timeout_s=_TIMEOUT_S)
    if ended.returncode:
        words = ended.stderr.decode(errors="replace").strip()
        raise PodwireError(Problem(f"podwire {arguments[0]}", words, "exit code 0"))
    return ended
