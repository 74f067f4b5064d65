"""Programs of a cluster that are interrupted, dropped or never get to run; endings that fail."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from callers import SPEC, Caller
from waiting import until

from emulator import Cluster
from emulator.cli import main
from emulator.errors import LabGone, PodwireError
from emulator.foreign import Foreign
from emulator.substrate import lab, libc, process, program, runtime

pytestmark = pytest.mark.kernel


@pytest.fixture
def c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of its own for each test."""
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    with Cluster.from_file(SPEC) as cluster:
        yield cluster


@contextmanager
def ctrl_c_after(seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()


def _held() -> tuple[int, str]:
    """What this process holds: the number of its descriptors, and its children."""
    gc.collect()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return len(os.listdir("/proc/self/fd")), children


def test_ctrl_c_ends_a_program_that_is_waited_for(c: Cluster) -> None:
    before = _held()
    with ctrl_c_after(0.3), pytest.raises(KeyboardInterrupt):
        c.node("n1").run(["sleep", "60"])
    assert _held() == before


@pytest.mark.parametrize("stumble", [KeyboardInterrupt(), OSError(errno.EMFILE, "")])
def test_program_that_nobody_would_know_of_is_ended(
    stumble: BaseException, c: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*_: object) -> None:
        raise stumble

    before = _held()
    monkeypatch.setattr(process, "Process", raising)
    with pytest.raises(type(stumble)):
        c.node("n1").start(["sleep", "60"])
    assert _held() == before


def test_ctrl_c_while_a_program_enters(c: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    real = process._enter

    def slowly(world: runtime.World, ns: str) -> None:
        time.sleep(0.6)
        real(world, ns)

    before = _held()
    monkeypatch.setattr(process, "_enter", slowly)
    with ctrl_c_after(0.2), pytest.raises(KeyboardInterrupt):
        c.node("n1").start(["sleep", "60"])
    assert _held() == before


KILLED = """
import os, signal, sys, time
from emulator import Cluster
from emulator.substrate import process
def enter(world, ns):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
process._enter = enter
with Cluster.from_file(sys.argv[1]) as c:
    c.node("n1").run(["true"])
"""


def test_caller_that_is_killed_while_a_program_enters(somebody: Caller) -> None:
    started = somebody.start([*somebody.argv()[:1], "-c", KILLED, SPEC])
    assert started.communicate(timeout=30) == ("", "")
    assert started.returncode == -signal.SIGKILL


def test_place_that_cannot_be_entered(c: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def spent(ns: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "unshare")

    monkeypatch.setattr("emulator.substrate.inside.private_files", spent)
    monkeypatch.setattr("emulator.substrate.process.private_files", spent)
    for action in (lambda: c.node("n1").read_file("/x"), lambda: c.node("n1").run(["true"])):
        with pytest.raises(PodwireError, match="entering n1: found No space left") as error:
            action()
        assert "Traceback" not in str(error.value)


def test_programs_that_nobody_waits_for_hold_nothing(c: Cluster) -> None:
    before = _held()
    for _ in range(3):
        c.node("n1").start(["echo", "unread"])
    until(lambda: all(p.poll() is not None for p in c._programs), "their ends")
    late = c.node("n1").start(["echo", "read later"])
    until(lambda: late.poll() is not None, "its end")
    c.node("n1").run(["true"])
    assert late.wait(5.0).stdout == b"read later\n"
    c.end_programs()
    assert _held() == before


def test_wrong_environment_is_an_error_of_this_process(c: Cluster) -> None:
    pid = os.getpid()
    with pytest.raises(TypeError):
        c.node("n1").start(["true"], env=["A=1"])  # type: ignore[arg-type]
    with pytest.raises(PodwireError):
        c.node("n1").start(["true"], env={"A": 1})  # type: ignore[dict-item]
    assert os.getpid() == pid


BUSY = "trap 'echo last; exit 0' INT; while :; do echo line; done"
DEAF = "trap '' INT; echo begun; while :; do sleep 0.1; done"


def test_ctrl_c_during_a_copy_is_for_the_program(c: Cluster) -> None:
    found = io.BytesIO()
    busy = c.node("n1").start(["sh", "-c", BUSY])
    with ctrl_c_after(0.3):
        assert busy.stream(found).returncode == 0
    assert found.getvalue().endswith(b"line\nlast\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("seconds", [0.3, None])
def test_copy_ends_when_the_program_heeds_nothing(
    seconds: float | None, c: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_PATIENCE_S", 0.3)
    found = io.BytesIO()
    deaf = c.node("n1").start(["sh", "-c", DEAF])
    with ctrl_c_after(0.3) if seconds is None else nullcontext():
        assert deaf.stream(found, seconds).returncode == -signal.SIGKILL
    assert found.getvalue() == b"begun\n"


def test_lab_that_ends_while_a_program_enters(c: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late() -> int:
        os.kill(c.world.pid, signal.SIGKILL)
        while child := os.fork():  # until the kernel refuses a process in a lab that ends
            os.waitpid(child, 0)
        os._exit(0)

    monkeypatch.setattr(libc, "fork_sibling", too_late)
    with pytest.raises(LabGone, match="lab flannel-vxlan: found gone"):
        c.node("n1").run(["true"])


def test_lab_that_does_not_end_can_be_ended_again(
    c: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stuck:
        stuck.setattr(lab, "end", _refuse)
        with pytest.raises(PodwireError, match="stuck"):
            c.down()
    assert c.verify(probes=False).good
    c.down()


def _refuse(world: runtime.World) -> None:
    raise PodwireError(f"{world.name} is stuck")


def test_one_lab_that_does_not_end_keeps_no_other(
    c: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = lab.end

    def end(world: runtime.World) -> None:
        (_refuse if world.name == c.name else real)(world)

    other = Cluster.from_file(SPEC, name="other")
    other.up(keep=True)
    monkeypatch.setattr(lab, "end", end)
    assert main(["down", "--all"]) == 1
    said = capsys.readouterr()
    assert "other is down" in said.out and "flannel-vxlan is stuck" in said.err
    monkeypatch.undo()


def test_lab_of_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    script = "ip netns add $1; sleep 60 &"
    with Foreign("by-hand", script, ["-x"], {"-x": "127.0.0.1"}) as foreign:
        assert foreign.world.alive()
        assert main(["ls"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "by-hand", "a", "lab", "built", "by", "a", "script"
    ]  # fmt: skip
