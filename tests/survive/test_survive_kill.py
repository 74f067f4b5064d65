"""``kill -9`` at any moment: of the supervisor, of the command line, of a process of the lab."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from callers import KINDS, SPEC, Caller
from waiting import until

pytestmark = pytest.mark.kernel

NAME = "flannel-vxlan"
MOMENTS = 4 if len(KINDS) == 3 else 6
"""Random moments for each kind of caller and each thing that is killed."""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _nothing_runs(caller: Caller) -> None:
    until(lambda: not caller.processes(), f"an end of {caller.processes()}")


def _interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _moments(caller: Caller, what: str, longest_s: float) -> list[float]:
    chance = random.Random(f"{caller.kind} {what}")
    return [chance.uniform(0.0, longest_s) for _ in range(MOMENTS)]


def _gone(caller: Caller) -> None:
    """Nothing is left but, at most, a stale directory, which the next command removes.

    A namespace lives by a process in it or one that holds it open, and none runs; its number
    says nothing, for the kernel gives numbers again to the labs of others.
    """
    _nothing_runs(caller)
    assert "no lab runs" in caller.podwire("ls").stdout
    assert caller.left() == []


def test_supervisor_killed_during_up(caller: Caller) -> None:
    mounts, interfaces = Path("/proc/self/mountinfo").read_text(), _interfaces()
    for moment in _moments(caller, "supervisor", 0.12):
        up = caller.start(caller.argv("up", SPEC))
        try:
            pid = until(
                lambda up=up: caller.supervisors() or (up.poll() is not None and [0]),  # type: ignore[misc]
                "a supervisor",
            )[0]
            time.sleep(moment)
            _kill(pid)
            _, err = up.communicate(timeout=20)
        finally:
            up.kill()
        if up.returncode:  # it was up, if it was killed late enough
            assert up.returncode == 1 and "the supervisor died" in err, err
            assert "Traceback" not in err
        _gone(caller)
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert _interfaces() == interfaces
    caller.podwire("up", SPEC)
    assert "good" in caller.podwire("verify").stdout


def test_command_killed_during_up(caller: Caller) -> None:
    for moment in _moments(caller, "up", 0.45):
        up = caller.start(caller.argv("up", SPEC))
        time.sleep(moment)
        up.kill()
        up.communicate(timeout=10)
        # either it was up, then it stays; or not, then nothing of it stays
        until(
            lambda: len(caller.processes()) == len(caller.supervisors()),
            f"the helpers of up to end: {caller.processes()}",
        )
        rows = json.loads(caller.podwire("ls", "-o", "json").stdout)
        if rows:
            assert [row["status"] for row in rows] == ["up"]
            caller.podwire("verify", "--no-probes")
            caller.podwire("down")
        _nothing_runs(caller)
        assert caller.left() == []
    caller.podwire("up", SPEC)
    caller.podwire("down")


def test_killed_during_down(either: Caller) -> None:
    for moment in _moments(either, "down", 0.25)[: MOMENTS // 2]:
        either.podwire("up", SPEC)
        down = either.start(either.argv("down"))
        time.sleep(moment)
        down.kill()
        down.communicate(timeout=10)
        if json.loads(either.podwire("ls", "-o", "json").stdout):
            either.podwire("verify", "--no-probes")
            either.podwire("down")
        _gone(either)


def test_supervisor_killed_while_it_is_used(either: Caller) -> None:
    either.podwire("up", SPEC)
    (pid,) = either.supervisors()
    used = [
        either.start(either.argv("exec", "n1-p1", "--", "sleep", "60")),
        either.start(either.argv("capture", "n1:eth0", "-w", str(either.home / "x.pcap"))),
    ]
    until(lambda: {"sleep", "tcpdump"} <= set(either.processes().values()), "both to run")
    _kill(pid)
    for one in used:
        _, err = one.communicate(timeout=10)
        assert one.returncode not in (0, None), err
        assert "Traceback" not in err
    _gone(either)
    gone = either.podwire("verify", code=1)
    assert "no running lab" in gone.stderr
    either.podwire("up", SPEC)


def test_command_killed_while_it_is_used(either: Caller) -> None:
    either.podwire("up", SPEC)
    before = either.processes()
    used = either.start(either.argv("exec", "n1-p1", "--", "sleep", "60"))
    until(lambda: "sleep" in either.processes().values(), "the program to run")
    used.kill()
    used.communicate(timeout=10)
    until(lambda: either.processes() == before, "the program to end with its command")
    checking = either.start(either.argv("verify"), stdout=subprocess.DEVNULL)
    time.sleep(0.2)
    checking.kill()
    checking.communicate(timeout=10)
    until(lambda: either.processes() == before, "the check to end")
    assert "good" in either.podwire("verify").stdout


CONTAINERS = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: containers}
spec:
  network: {plugin: flannel, backend: vxlan}
  nodes: {count: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: n1
  restartPolicy: Always
  containers:
  - {name: server, image: x, command: [sh, -c, "sleep 1001 & sleep 1002"]}
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  nodeName: n1
  restartPolicy: Never
  containers:
  - {name: job, image: x, command: [sleep, "1003"]}
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  nodeName: n1
  restartPolicy: OnFailure
  containers:
  - {name: job, image: x, command: ["true"]}
"""


def _sleeps(caller: Caller) -> dict[str, int]:
    """Process ids by the argument of ``sleep``."""
    found = {}
    for pid, name in caller.processes().items():
        if name == "sleep":
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if len(words) > 1:
                    found[words[1].decode()] = pid
    return found


def test_process_of_the_lab_killed(either: Caller) -> None:
    spec = either.folder / "containers.yaml"
    spec.write_text(CONTAINERS)
    either.podwire("up", str(spec))
    sleeps = until(lambda: len(found := _sleeps(either)) == 3 and found, "all containers to run")
    until(lambda: _container(either, "done/job")["state"] == "ended", "the job to be done")
    assert "good" in either.podwire("verify").stdout
    shell = until(lambda: [p for p, n in either.processes().items() if n == "sh"], "a shell")[0]
    _kill(shell)
    _kill(sleeps["1003"])

    again = until(
        lambda: (now := _sleeps(either)).get("1002", sleeps["1002"]) != sleeps["1002"] and now,
        "the server to be started again",
    )
    # what the killed one had started went with it
    until(lambda: not Path(f"/proc/{sleeps['1001']}").exists(), "the server's child to end")
    assert "1003" not in again
    verified = either.podwire("verify", code=1).stdout
    assert "web/server: running, after 1 restart (last killed by signal 9)" in verified
    assert "once/job: killed by signal 9" in verified
    assert "kernel: " in verified and " 0 deviations" in verified
    listed = either.podwire("ls").stdout
    assert "once/job ended (code -9)" in listed
    states = {
        p["name"]: p for p in json.loads(either.podwire("ls", "-o", "json").stdout)[0]["processes"]
    }
    assert states["web/server"]["restarts"] == 1
    assert states["done/job"] | {"pid": 0} == {
        "ns": "done", "name": "done/job", "state": "ended", "pid": 0, "restarts": 0, "code": 0
    }  # fmt: skip


def _container(caller: Caller, name: str) -> dict[str, object]:
    rows = json.loads(caller.podwire("get", "processes", "-o", "json").stdout)
    return next(row for row in rows if row["name"] == name)
