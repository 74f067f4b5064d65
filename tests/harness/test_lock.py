from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from emulator.errors import PodwireError
from emulator.harness.lock import measuring


def test_the_second_waits_for_the_first_and_says_for_whom(tmp_path: Path) -> None:
    path = tmp_path / "run" / "measuring.lock"
    told, done = os.pipe()
    lines: list[str] = []
    with measuring(path, "bring-up", lines.append):
        child = os.fork()
        if child == 0:
            said: list[str] = []

            def say(text: str) -> None:
                os.write(done, f"{text}\n".encode())
                said.append(text)

            with measuring(path, "second", say):
                os.write(done, b"mine\n" if said else b"not waited\n")
            os._exit(0)
        heard = os.read(told, 4096).decode()
        assert heard == f"waiting for bring-up (process {os.getpid()}) (Ctrl-C gives up)\n"
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(told, 4096) == b"mine\n"
    assert lines == []
    os.close(told)
    os.close(done)


def test_who_only_counts_waits_for_who_measures_alone(tmp_path: Path) -> None:
    path = tmp_path / "measuring.lock"
    lines: list[str] = []
    with (
        measuring(path, "first", lines.append, undisturbed=True),
        measuring(path, "second", lines.append, undisturbed=True),
        open(path) as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert lines == []


def test_a_forked_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "measuring.lock"
    hold, release = os.pipe()
    with measuring(path, "first", print):
        child = os.fork()
        if child == 0:
            os.read(hold, 1)
            os._exit(0)
    lines: list[str] = []
    with measuring(path, "second", lines.append):
        assert json.loads(path.read_text())["holder"] == "second"
    assert lines == []
    os.write(release, b"x")
    os.waitpid(child, 0)
    os.close(hold)
    os.close(release)


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(PodwireError, match="lock file"),
        measuring(tmp_path / "lock", "me", print),
    ):
        pass
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_every_user_may_write_a_name_into_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    before = os.umask(0o077)
    try:
        with measuring(path, "first", print):
            assert path.stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)


def test_the_name_of_another_user_cannot_command_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 1, "holder": "\x1b[2Jnothing"}))
    holding, told = os.pipe()
    hold, release = os.pipe()
    child = os.fork()
    if child == 0:
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(told, b"x")
        os.read(hold, 1)
        os._exit(0)
    os.read(holding, 1)
    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(text)
        os.write(release, b"x")

    with measuring(path, "second", say):
        assert lines == ["waiting for another run (Ctrl-C gives up)"]
    os.waitpid(child, 0)
    for descriptor in (holding, told, hold, release):
        os.close(descriptor)
