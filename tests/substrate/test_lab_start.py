"""A lab of any body: how it starts, reports, fails and ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from waiting import until

from emulator.errors import LabGone, PodwireError, Problem, SpecError
from emulator.substrate import control, inside, lab, process, runtime
from emulator.substrate.lab import Start
from emulator.substrate.seccomp import pretend_setgroups

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory, whose path is far longer than that of a socket may be."""
    path = tmp_path / ("long" * 30)
    path.mkdir()
    monkeypatch.setenv("PODWIRE_RUN", str(path))
    descriptors, children = set(os.listdir("/proc/self/fd")), _children()
    yield path
    assert [p.name for p in (path / "podwire").iterdir()] == [".lock"]
    assert _children() == children
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)


def _children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def _serve(listener: socket.socket) -> NoReturn:
    while True:
        link, _ = listener.accept()
        with link:
            control.receive(link)
            control.send(link, ("result", os.getpid()))


def test_ready_and_progress() -> None:
    def body(begun: Start) -> None:
        for done in range(1000):
            begun.progress(done, 1000)
        begun.ready({"pid": os.getpid(), "cwd": os.getcwd()})
        _serve(begun.control)

    heard: list[tuple[int, int]] = []
    world, facts = lab.start("one", body, keep=False, progress=lambda *told: heard.append(told))
    assert facts == {"pid": 1, "cwd": "/"}
    assert heard == [(done, 1000) for done in range(1000)]
    assert control.ask(world, "anything") == 1
    assert inside.inside(world, os.getpid, own_pid=True) > 1
    assert [found.name for found in runtime.worlds()] == ["one"]
    lab.end(world)
    assert runtime.worlds() == []
    with pytest.raises(LabGone):
        control.ask(world, "anything")
    lab.end(world)  # once more is as good


def _raise(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (lambda: _raise(SpecError(Problem("here", "x", "y", "z"))), r"here: found x, expected y"),
        (
            lambda: _raise(OSError(28, "No space left on device", "/x")),
            "supervisor: /x: found No sp",
        ),
        (lambda: _raise(ValueError("a fault of ours")), "ValueError: a fault of ours"),
        (lambda: os._exit(0), "the supervisor died"),
        (lambda: os.kill(1, signal.SIGKILL) or os.abort(), "the supervisor died"),
        (lambda: _raise(SystemExit(0)), "SystemExit"),
    ],
)
@pytest.mark.parametrize("keep", [True, False])
def test_failures_come_back(failure: object, message: str, keep: bool) -> None:
    def body(begun: Start) -> None:
        begun.progress(1, 2)
        failure()  # type: ignore[operator]

    with pytest.raises(PodwireError, match=message):
        lab.start("failing", body, keep=keep)


def test_kept_lab_stays_without_its_maker() -> None:
    def body(begun: Start) -> None:
        begun.ready({})
        _serve(begun.control)

    child = os.fork()
    if child == 0:
        lab.start("kept", body, keep=True)
        os._exit(0)
    os.waitpid(child, 0)
    world = runtime.find("kept")
    assert control.ask(world, "anything") == 1
    lab.end(world)


def _strange(caller: str) -> None:
    """In a child: be such a caller."""
    if caller == "ignores the end of children":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    else:
        for fd in (0, 1):
            os.close(fd)
        sys.stdin = sys.stdout = None  # type: ignore[assignment]


@pytest.mark.parametrize("caller", ["ignores the end of children", "has closed its files"])
def test_callers_with_odd_ways(caller: str) -> None:
    def body(begun: Start) -> None:
        begun.ready({})
        _serve(begun.control)

    child = os.fork()
    if child == 0:
        try:
            _strange(caller)
            lab.start("odd", body, keep=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    world = runtime.find("odd")
    assert control.ask(world, "anything") == 1
    lab.end(world)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_maker_that_fails_at_once_is_no_second_caller(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(lab, "be_alone", fail)
    unwound = folder / "unwound"
    try:
        with pytest.raises(PodwireError, match="its maker died"):
            lab.start("dying", lambda begun: None, keep=True)
    finally:
        with unwound.open("a") as file:
            file.write("once ")
    assert unwound.read_text() == "once "
    unwound.unlink()


def test_a_lab_of_the_name_that_came_meanwhile_is_left_alone() -> None:
    def body(begun: Start) -> None:
        begun.ready({})
        _serve(begun.control)

    first, _ = lab.start("same", body, keep=False)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive() and runtime.released(first), "its end")
    second, _ = lab.start("same", body, keep=False)
    lab.end(first)
    assert control.ask(second, "anything") == 1
    lab.end(second)


def test_stale_directories_of_every_kind(folder: Path) -> None:
    base = runtime.base()
    (base / "only-made").mkdir()
    (base / "locked-once").mkdir()
    (base / "locked-once" / "lock").touch()
    (base / "locked-once" / "lab.json").write_text("{broken")
    (base / "locked-once" / "supervisor.log").write_text("x")
    (base / "not-ours").mkdir()
    (base / "not-ours" / "file").touch()
    assert runtime.worlds() == []
    assert sorted(p.name for p in base.iterdir()) == [".lock", "not-ours"]
    (base / "not-ours" / "file").unlink()
    runtime.worlds()


def test_directory_that_is_not_ours_alone(folder: Path) -> None:
    runtime.base().chmod(0o755)
    with pytest.raises(PodwireError, match="mode 755, expected owner"):
        runtime.worlds()
    (folder / "podwire").chmod(0o700)
    runtime.worlds()


def test_programs_that_insist_on_setgroups() -> None:
    def body(begun: Start) -> None:
        begun.ready({})
        _serve(begun.control)

    def groups() -> tuple[bool, list[int]]:
        pretend_setgroups()
        before = os.getgroups()
        os.setgroups([7, 8])
        return os.getgroups() == before, before

    world, _ = lab.start("groups", body, keep=False)
    assert inside.inside(world, groups)[0]
    child = process.spawn(world, "", ["true"], setgroups=False)
    assert child.wait(10).returncode == 0
    lab.end(world)
