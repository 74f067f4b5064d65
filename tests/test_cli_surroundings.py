"""What a caller may have done to the files, signals, terminal and folder that podwire gets."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from callers import KINDS, SPEC, Caller
from terminal import Terminal

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A caller with two labs, for tests that leave them as they are."""
    caller = Caller(KINDS[0], tmp_path_factory.mktemp("caller") / "caller")
    caller.podwire("up", SPEC, "--name", "one")
    caller.podwire("up", SPEC, "--name", "two")
    yield caller
    caller.close()


def by_shell(lab: Caller, line: str, *words: str) -> tuple[int, str, str]:
    """Code and both outputs of a line of shell, in which podwire with the words is ``$p``."""
    command = shlex.join(lab.argv(*words))
    started = lab.start(["bash", "-o", "pipefail", "-c", line.replace("$p", command)])
    out, err = started.communicate(timeout=30)
    return started.returncode, out, err


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_closed_files(closed: str, lab: Caller) -> None:
    hello = ("exec", "--lab", "two", "n1", "--", "sh", "-c", "cat; echo hello")
    assert by_shell(lab, f"$p {closed}", *hello) == (0, "hello\n", "")
    shown = by_shell(lab, f"$p {closed}", "get", "pods", "--lab", "two")
    assert shown[0] == 0 and "n1-p1" in shown[1]


def test_closed_output(lab: Caller) -> None:
    for words in (["exec", "--lab", "two", "n1", "--", "echo", "x"], ["ls"]):
        assert by_shell(lab, "$p >&-", *words)[::2] == (0, "")
    assert by_shell(lab, "$p <&- >&- 2>&-", "up", SPEC, "--name", "three")[0] == 0
    lab.podwire("verify", "--lab", "three", "--no-probes")
    assert by_shell(lab, "$p <&- >&- 2>&-", "down", "three")[0] == 0


def test_ends_of_children_ignored(lab: Caller) -> None:
    words = ("exec", "--lab", "two", "n1", "--", "sh", "-c", "exit 7")
    assert by_shell(lab, "trap '' CHLD; exec $p", *words) == (7, "", "")


def test_output_that_nobody_can_take(lab: Caller) -> None:
    code, _, err = by_shell(lab, "$p >/dev/full", "check", SPEC)
    assert code == 1 and "No space left on device" in err and "Exception" not in err
    assert by_shell(lab, "$p >/dev/full", "--help")[::2] == (0, "")
    assert by_shell(lab, "$p | :", "check", SPEC) == (0, "", "")


@pytest.mark.parametrize(
    "words", [["exec", "n1", "--", "sh", "-c", "exit 5"], ["capture", "n1:eth0", "--seconds", "1"]]
)
def test_terminal_of_another_session(words: list[str], lab: Caller) -> None:
    argv = ["setsid", "--wait", *lab.argv(words[0], "--lab", "two", *words[1:])]
    with Terminal(lab, argv) as terminal:
        assert terminal.end() == (5 if words[0] == "exec" else 0), terminal.seen
    assert "Traceback" not in terminal.seen


def test_working_directory_that_is_gone(lab: Caller) -> None:
    folder = lab.home / "gone"
    line = f"mkdir {folder}; cd {folder}; rmdir {folder}; $p"
    assert by_shell(lab, line, "exec", "--lab", "two", "n1", "--", "pwd") == (0, "/\n", "")


def test_command_of_no_known_letters(lab: Caller) -> None:
    said = lab.podwire("exec", "--lab", "two", "n1", "--", "/tmp/\udcff", code=3)
    assert said.stderr.count("not installed") == 1


def test_options_in_the_order_of_kubectl(lab: Caller) -> None:
    lab.podwire("exec", "two", "--", "true", code=2)
    assert lab.podwire("exec", "n1", "--lab", "two", "--", "hostname").stdout == "n1\n"
    assert "before the place" in lab.podwire("exec", "n1", "-i", "--", "true", code=2).stderr


def test_list_of_a_busy_lab(lab: Caller) -> None:
    (first, second) = lab.supervisors()
    os.kill(first, signal.SIGSTOP)
    try:
        rows = lab.podwire("ls").stdout.splitlines()
    finally:
        os.kill(first, signal.SIGCONT)
    assert len(rows) == 3 and sum("busy: try again" in row for row in rows) == 1
    assert second in lab.supervisors()


FULL = """
import sys
from emulator import Cluster
from emulator.errors import PodwireError
with Cluster.from_file(sys.argv[1]) as c:
    try:
        c.inside(lambda net: print("lost"))
    except PodwireError as error:
        assert "No space left" in str(error)
    else:
        sys.exit("nothing was told")
    assert c.verify(probes=False).good
"""


def test_full_disk_inside_is_an_error_and_no_second_program(somebody: Caller) -> None:
    with Path("/dev/full").open("w") as full:
        started = somebody.start([*somebody.argv()[:1], "-c", FULL, SPEC], stdout=full)
        assert started.communicate(timeout=30)[1] == ""
    assert started.returncode == 0
