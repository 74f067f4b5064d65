"""When a container is started again: the restart policy and its pauses."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from waiting import until

from emulator.plan.resources import Process
from emulator.substrate import keeper
from emulator.substrate.keeper import Keeper
from emulator.substrate.runtime import start_ticks


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time stands still, and children have numbers instead of running."""
    found = Clock()
    numbers = iter(range(100, 200))
    monkeypatch.setattr(keeper.time, "monotonic", found)
    monkeypatch.setattr(keeper.os, "fork", lambda: next(numbers))
    return found


def kept(restart: str) -> tuple[Keeper, Process]:
    wanted = Process("n1", "web/server", ("serve",), (), restart)  # type: ignore[arg-type]
    found = Keeper(lambda ns: None, 1024)
    found.start(wanted)
    return found, wanted


def end(found: Keeper, code: int) -> float | None:
    """The process ends; seconds until it is to be started again."""
    (state,) = found.states()
    found.ended(state.pid, code << 8)
    return found.due_in()


@pytest.mark.parametrize(
    ("restart", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 1, True),
        ("OnFailure", 0, False),
        ("Never", 0, False),
        ("Never", 3, False),
    ],
)
def test_policy(clock: Clock, restart: str, code: int, again: bool) -> None:
    found, _ = kept(restart)
    assert end(found, code) == (0.0 if again else None)
    (state,) = found.states()
    assert (state.state, state.code) == ("waiting" if again else "ended", code)
    found.restart_due()
    (state,) = found.states()
    assert (state.state, state.restarts) == (("running", 1) if again else ("ended", 0))


def test_pauses_grow_and_start_over(clock: Clock) -> None:
    found, _ = kept("Always")
    pauses = []
    for _ in range(8):
        pause = end(found, 1)
        assert pause is not None
        pauses.append(pause)
        clock.now += pause
        found.restart_due()
    assert pauses == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    clock.now += 600.0
    assert end(found, 1) == 0.0
    (state,) = found.states()
    assert state.restarts == 8


def test_not_before_it_is_due(clock: Clock) -> None:
    found, _ = kept("Always")
    end(found, 1)
    found.restart_due()
    end(found, 1)
    clock.now += 9.9
    found.restart_due()
    assert found.states()[0].state == "waiting" and found.due_in() == pytest.approx(0.1)


def test_stopped_is_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[set[int]] = []
    monkeypatch.setattr(keeper, "end_sessions", killed.append)
    found, wanted = kept("Always")
    found.ending(99)
    assert killed == []
    found.stop([wanted])
    assert killed == [{100}] and found.wanted() == []
    found.ended(100, 0)
    assert found.due_in() is None and found.states() == []


def test_all_of_a_session_ends() -> None:
    """Also what is in a process group of its own, as ``timeout`` makes it."""
    script = "setsid sleep 60 & a=$!; timeout 60 sleep 60 & b=$!; sleep 60 & echo $a $b $!; wait"
    leader = subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout
    with leader.stdout:
        (other, *members) = map(int, leader.stdout.readline().split())
        try:
            until(lambda: os.getsid(other) == other, "a session of its own")
            until(lambda: os.getpgid(members[0]) == members[0], "a group of its own")
            keeper.end_sessions({leader.pid})
            assert [start_ticks(pid) for pid in (leader.pid, *members)] == [None] * 3
            assert start_ticks(other)
        finally:
            os.kill(other, signal.SIGKILL)
    assert leader.wait() == -signal.SIGKILL


def test_a_system_without_room_for_a_process(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, os.strerror(11))

    monkeypatch.setattr(keeper.os, "fork", refuse)
    found, _ = kept("Always")
    (state,) = found.states()
    assert (state.state, state.code) == ("waiting", 127)
