"""A place over the loopback address of this machine, a place of scripted answers, recorded data."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from emulator.errors import PodwireError, Unsupported
from emulator.measure import tool
from emulator.measure.tool import TOOLS
from emulator.place import Completed


class LocalRunning:
    """A child of the test."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._argv = tuple(argv)
        self._child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **env},
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._child.pid

    def poll(self) -> int | None:
        return self._child.poll()

    def wait(self, timeout_s: float) -> Completed:
        try:
            stdout, stderr = self._child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise PodwireError(f"{self._argv[0]} still ran after {timeout_s} s") from error
        return Completed(self._argv, self._child.returncode, stdout, stderr)

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()


class LocalPlace:
    """Loopback, as a small but true implementation of the process port."""

    name = "loopback"
    ip = "127.0.0.1"

    def __init__(self) -> None:
        self.started: list[LocalRunning] = []

    def start(
        self,
        argv: Sequence[str],
        *,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> LocalRunning:
        if shutil.which(argv[0]) is None:
            raise Unsupported(f"{argv[0]} is not installed; it is in {TOOLS.get(argv[0])}")
        pinned = ["taskset", "-c", ",".join(map(str, cpus)), *argv] if cpus else argv
        running = LocalRunning(pinned, env or {})
        self.started.append(running)
        return running

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        return self.start(argv, cpus=cpus, env=env).wait(timeout_s)

    def listening(self, protocol: str, port: int) -> bool:
        state = {"tcp": "0A", "udp": "07"}[protocol]
        rows = [
            line.split()
            for table in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6")
            for line in Path(table).read_text().splitlines()[1:]
        ]
        return any(int(row[1].rpartition(":")[2], 16) == port and row[3] == state for row in rows)

    def counters(self, interface: str) -> Mapping[str, int]:
        folder = Path("/sys/class/net") / interface / "statistics"
        names = ("bytes", "packets", "dropped", "errors")
        return {
            f"{way}_{name}": int((folder / f"{way}_{name}").read_text())
            for way in ("rx", "tx")
            for name in names
        }

    def snmp(self) -> Mapping[str, int]:
        lines = Path("/proc/net/snmp").read_text().splitlines()
        found = {}
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            owner = names.partition(":")[0]
            for name, value in zip(names.split()[1:], values.split()[1:], strict=True):
                found[f"{owner}.{name}"] = int(value)
        return found


class ScriptedRunning:
    """A process that has its end written down; ``hangs`` never ends by itself."""

    pid = 4711

    def __init__(self, completed: Completed, hangs: bool) -> None:
        self._completed, self.hangs, self.killed = completed, hangs, False

    def poll(self) -> int | None:
        return None if self.hangs and not self.killed else self._completed.returncode

    def wait(self, timeout_s: float) -> Completed:
        if self.hangs:
            self.killed = True
            raise PodwireError(f"killed after {timeout_s} s")
        return self._completed

    def kill(self) -> None:
        self.killed = True


class ScriptedPlace:
    """``answer(argv)`` says what a program writes, (stdout, stderr), or None to hang."""

    name = "pod-a"
    ip = "10.244.0.2"

    def __init__(
        self, answer: Callable[[Sequence[str]], tuple[bytes, bytes] | None], listens: bool = True
    ) -> None:
        self._answer, self._listens = answer, listens
        self.commands: list[tuple[tuple[str, ...], tuple[int, ...] | None]] = []
        self.started: list[ScriptedRunning] = []

    def start(
        self,
        argv: Sequence[str],
        *,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> ScriptedRunning:
        assert env == tool.SURROUNDINGS, "English with decimal points, a folder that is there"
        self.commands.append((tuple(argv), None if cpus is None else tuple(cpus)))
        answer = self._answer(argv)
        stdout, stderr = answer or (b"", b"")
        running = ScriptedRunning(Completed(tuple(argv), 0, stdout, stderr), answer is None)
        self.started.append(running)
        return running

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        return self.start(argv, cpus=cpus, env=env).wait(timeout_s)

    def listening(self, protocol: str, port: int) -> bool:
        return self._listens

    def counters(self, interface: str) -> Mapping[str, int]:
        return {}

    def snmp(self) -> Mapping[str, int]:
        return {}


@pytest.fixture
def loopback() -> Iterator[LocalPlace]:
    """Two ends on 127.0.0.1; nothing that was started may outlive the test."""
    place = LocalPlace()
    yield place
    alive = [running.pid for running in place.started if running.poll() is None]
    for running in place.started:
        running.kill()
    assert alive == []


@pytest.fixture
def scripted() -> type[ScriptedPlace]:
    """The class of scripted places."""
    return ScriptedPlace


@pytest.fixture
def recorded() -> Callable[[str], bytes]:
    """The recorded output of a real tool, by file name."""
    folder = Path(__file__).parent / "data"
    return lambda name: (folder / name).read_bytes()
