from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.harness import store

SCRIPT = Path(__file__).with_name("killed_run.py")
ROOT = Path(store.__file__).parents[2]


def start(results: Path, *more: str, blocks: str = "100000") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(results), blocks, *more], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_leaves_every_finished_cell_and_the_run_resumes(tmp_path: Path, seed: int) -> None:
    wanted = random.Random(seed).randrange(3, 60)
    process = start(tmp_path)
    assert process.stdout
    for line in process.stdout:
        if int(line) >= wanted:
            break
    os.kill(process.pid, signal.SIGKILL)
    said = [line, *process.stdout.read().splitlines()]
    process.wait()
    finished = int(said[-1])

    folder = store.unfinished(tmp_path, "killed")
    assert folder
    read = store.read(folder)
    assert finished * 2 <= len(read.rows) <= (finished + 1) * 2
    assert store.describe(folder).startswith("an unfinished run with ")
    assert len(read.complete()) % 4 == 0

    again = start(tmp_path, "resume")
    assert again.stdout
    for line in again.stdout:
        if int(line) >= 5:
            break
    os.kill(again.pid, signal.SIGKILL)
    again.stdout.read()
    again.wait()
    later = store.read(folder)
    assert later.rows[: len(read.rows)] == read.rows
    blocks = [(row.block, row.condition, row.metric) for row in later.complete()]
    assert len(blocks) == len(set(blocks))
