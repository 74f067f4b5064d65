"""A program that dies with who started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

from emulator.bench import keeper

ROOT = Path(keeper.__file__).parents[2]
TELLS = "echo $WHO; echo $(ps -o sid= -p $$) $$ >&2; echo over 3 >&3; exec 3>&-; sleep 1000"


def test_it_has_what_it_was_given(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "output").open("wb") as output:
        pid, ended = keeper.spawn(
            ["/bin/sh", "-c", TELLS], output.fileno(), theirs.fileno(), {"WHO": "me"}
        )
        theirs.close()
        assert ours.makefile().readline() == "over 3\n"
        said, session = (tmp_path / "output").read_text().splitlines()
        assert said == "me"
        assert session.split() == [str(pid)] * 2, "Ctrl-C in our terminal is not for it"
        signal.pidfd_send_signal(ended, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ended)
    assert "WHO" not in os.environ


@pytest.mark.parametrize("named", ["at_3", "output", "neither"])
def test_whatever_numbers_its_files_have(named: str) -> None:
    program = """
import os, sys
from emulator.bench import keeper
named = sys.argv[1]
os.close(3) if os.path.exists("/proc/self/fd/3") else None
(r, at_3), (r2, output) = os.pipe(), os.pipe()
r, r2, at_3, output = (os.dup(fd) for fd in (r, r2, at_3, output))
os.closerange(3, min(r, r2, at_3, output))
wanted = {"at_3": at_3, "output": output}.get(named, 0)
if wanted:
    os.dup2(wanted, 3, inheritable=False)
    os.close(wanted)
at_3, output = (3 if fd == wanted else fd for fd in (at_3, output))
pid, _ = keeper.spawn(["/bin/sh", "-c", "echo over 3 >&3; echo out"], output, at_3, {})
os.close(at_3), os.close(output)
print(open(r).read() + open(r2).read(), end="")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, named], capture_output=True, text=True, timeout=30,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("over 3\nout\n", "")


def test_it_dies_with_who_started_it() -> None:
    program = """
import os, sys, time
from emulator.bench import keeper
print(keeper.spawn(["/bin/sleep", "1000"], 2, 0, {})[0], flush=True)
time.sleep(1000)
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert starter.stdout
    with starter.stdout as told:
        pid = int(told.readline())
        assert Path(f"/proc/{pid}").exists()
        starter.kill()
        starter.wait()
    until(lambda: not Path(f"/proc/{pid}/exe").exists(), "it is gone", 10)


def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        pid, ended = keeper.spawn(["/no/such/program"], output.fileno(), 0, {})
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127
        os.close(ended)
    assert "FileNotFoundError" in (tmp_path / "output").read_text()
