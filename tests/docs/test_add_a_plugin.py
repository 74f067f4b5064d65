"""The how-to for a new plugin, followed step by step in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/add-a-plugin.md").read_text()
MOST_LINES = 60


def block(language: str, containing: str) -> str:
    """The block of code of the page that holds some words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)
    (found,) = (one for one in blocks if containing in one)
    return str(found)


class Copy:
    """The project in another folder, to be changed as the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("emulator", "topologies"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)

    def change(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name}: {old!r}"
        path.write_text(text.replace(old, new))

    def follow(self) -> None:
        options = self.folder / "emulator/cni/options"
        (options / "static.py").write_text(block("python", "class StaticOptions"))
        table = "emulator/cni/options/__init__.py"
        head = "PLUGINS: Final[Mapping[str, Plugin]] = {\n"
        self.change(table, head, head + block("python", "static.PLUGIN"))
        self.change(table, "    none,\n", "    none,\n    static,\n")

        room = block("python", "def node(context")
        (self.folder / "emulator/cni/static.py").write_text(room)
        second = block("python", "def leg(self")
        (self.folder / "emulator/oracle/static.py").write_text(second)
        (self.folder / "topologies/static.yaml").write_text(block("yaml", "plugin: static"))

    def podwire(self, *words: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "emulator.cli", *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    made = Copy(tmp_path)
    made.follow()
    return made


def test_the_plugin_is_small() -> None:
    blocks = ("class StaticOptions", "static.PLUGIN", "def node(context", "def leg(self")
    written = "".join(block("python", words) for words in blocks)
    assert len([row for row in written.splitlines() if row.strip()]) <= MOST_LINES


def test_it_is_read_and_compiled(copy: Copy) -> None:
    assert "good. static" in copy.podwire("check", "topologies/static.yaml")
    plan = copy.podwire("plan", "topologies/static.yaml", "--node", "n1")
    assert "n1 route 10.244.3.0/24 via " in plan


@pytest.mark.kernel
def test_the_kernel_and_the_oracle_agree_with_it(copy: Copy) -> None:
    name = f"static-{os.getpid()}"
    copy.podwire("up", "topologies/static.yaml", "--name", name)
    try:
        report = copy.podwire("verify", "--lab", name)
        assert " 0 deviations" in report and ", 0 other than predicted" in report
        assert "does not hold" not in report
    finally:
        copy.podwire("down", name)
