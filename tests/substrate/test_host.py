"""Programs on the host: outputs, codes, deadlines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest

from emulator.errors import PodwireError, Unsupported
from emulator.substrate.host import Dialogue, run_on_host

ANSWER = "import sys\nprint('ready', flush=True)\nsys.stdin.read()\nsys.exit(3)"
SLOW = "import sys; sys.stdin.read(); import signal; signal.pause()"


def test_both_outputs_and_the_code_come_back() -> None:
    script = "import os, sys; print(os.environ['WORD']); sys.stderr.write(input()); sys.exit(4)"
    ended = run_on_host((sys.executable, "-c", script), timeout_s=20, env={"WORD": "one"},
                        stdin=b"two\n")  # fmt: skip
    assert (ended.stdout, ended.stderr, ended.returncode) == (b"one\n", b"two", 4)


@pytest.mark.parametrize("start", [lambda argv: run_on_host(argv, timeout_s=1), Dialogue])
def test_a_program_that_is_missing_is_unsupported(
    start: Callable[[Sequence[str]], object],
) -> None:
    with pytest.raises(Unsupported, match="no-such-program: found not installed"):
        start(("no-such-program",))


def test_past_the_deadline_a_program_is_killed() -> None:
    with pytest.raises(PodwireError, match=r"still running after 0\.2 s"):
        run_on_host((sys.executable, "-c", SLOW), timeout_s=0.2)


def test_a_dialogue_gives_its_lines_and_ends_with_its_input() -> None:
    dialogue = Dialogue((sys.executable, "-c", ANSWER))
    assert dialogue.line(20) == "ready\n"
    ended = dialogue.end(20)
    assert ended.returncode == 3 and ended.argv[0] == sys.executable


def test_lines_that_come_at_once_are_given_one_by_one() -> None:
    dialogue = Dialogue((sys.executable, "-c", "print('one\\ntwo\\nthree')"))
    assert (dialogue.line(20), dialogue.line(20)) == ("one\n", "two\n")
    assert dialogue.end(20).stdout == b"three\n"


def test_a_dialogue_that_says_nothing_is_killed_at_the_deadline() -> None:
    dialogue = Dialogue((sys.executable, "-c", SLOW))
    with pytest.raises(PodwireError, match="still running"):
        dialogue.line(0.2)
    assert dialogue._process.returncode == -9


def test_the_end_of_a_program_reads_as_an_empty_line() -> None:
    dialogue = Dialogue((sys.executable, "-c", "pass"))
    assert dialogue.line(20) == ""
    assert dialogue.end(20).returncode == 0
