"""Who calls podwire in tests: root, a user with subordinate ids, a user with one id.

Each has a runtime directory of its own, so that labs of the machine's user stay out of
sight. As root all three are there; anybody else can only be who they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parent.parent
SPEC = str(ROOT / "topologies/flannel-vxlan.yaml")
UNPRIVILEGED = ("user", "one id") if os.geteuid() == 0 else ("user",)
KINDS = ("root", *UNPRIVILEGED) if os.geteuid() == 0 else UNPRIVILEGED
_UIDS = {"user": 54321, "one id": 54322}
_AS_USER = Path(__file__).parent / "as_user.py"


class Caller:
    """Runs commands as somebody. ``folder`` is a directory of the caller's own."""

    def __init__(
        self, kind: str, folder: Path, missing: Sequence[str] = (), env: Mapping[str, str] = {}
    ) -> None:
        """``missing``: files that are not to be there (an empty file is, for root's tests)."""
        self.kind = kind
        self.folder = folder
        self.run = folder / "run"
        self.home = folder / "home"
        self.run.mkdir(parents=True)
        self.home.mkdir()
        self._prefix: list[str] = []
        ours = ("XDG_RUNTIME_DIR", "PYTHONUNBUFFERED")
        self.env = {k: v for k, v in os.environ.items() if k not in ours}
        self.env |= {"PYTHONPATH": str(ROOT), "PODWIRE_RUN": str(self.run), "HOME": str(self.home)}
        self.env |= {"LC_ALL": "C.UTF-8", **env}
        if os.geteuid() != 0:
            assert kind == "user" and not missing, "only root can be others and hide files"
        elif kind != "root" or missing:
            self._prefix = [sys.executable, str(_AS_USER), str(self._settings(missing))]

    def _settings(self, missing: Sequence[str]) -> Path:
        uid = _UIDS.get(self.kind, 0)
        empty = self.folder / "empty"
        empty.touch()
        instead = {path: str(empty) for path in missing}
        if self.kind == "user":
            rows = {
                "passwd": Path("/etc/passwd").read_text()
                + f"podwire-test:x:{uid}:{uid}::{self.home}:/bin/sh\n",
                "subuid": f"podwire-test:{uid + 100_000}:65536\n",
                "subgid": f"podwire-test:{uid + 100_000}:65536\n",
            }
            for name, text in rows.items():
                file = self.folder / name
                file.write_text(text)
                instead[f"/etc/{name}"] = str(file)
        needed = [Path(sys.executable).resolve().parent, ROOT, self.folder]
        needed += [Path(p) for p in (sys.prefix, sys.base_prefix, *sys.path) if p]
        settings = {
            "uid": uid,
            "instead": instead,
            "needed": [str(path) for path in needed if path.is_dir()],
        }
        file = self.folder / "as_user.json"
        file.write_text(json.dumps(settings))
        for path in (self.run, self.home):
            os.chown(path, uid, uid)
        self.folder.chmod(0o755)
        return file

    def start(self, argv: Sequence[str], **more: Any) -> subprocess.Popen[str]:
        """Start a command."""
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE, "text": True, "env": self.env, **more}  # fmt: skip
        return subprocess.Popen([*self._prefix, *argv], **more)

    def podwire(
        self, *words: str, code: int | None = 0, timeout_s: float = 60.0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb to its end; AssertionError when its code is not ``code``."""
        started = self.start(self.argv(*words), stdin=subprocess.PIPE)
        try:
            out, err = started.communicate(stdin, timeout=timeout_s)
        finally:
            started.kill()
        if code is not None:
            assert started.returncode == code, f"podwire {words}: {started.returncode}\n{out}{err}"
        return subprocess.CompletedProcess(words, started.returncode, out, err)

    @staticmethod
    def argv(*words: str) -> list[str]:
        """The command line of a verb."""
        return [sys.executable, "-m", "emulator.cli", *words]

    def python(self, program: str, *words: str, timeout_s: float = 60.0) -> str:
        """Run a program of Python; its output. AssertionError when it fails."""
        ended = self.start([sys.executable, "-c", program, *words])
        try:
            out, err = ended.communicate(timeout=timeout_s)
        finally:
            ended.kill()
        assert ended.returncode == 0, out + err
        return out

    def processes(self) -> dict[int, str]:
        """What runs with this caller's runtime directory, by process id."""
        mark = f"PODWIRE_RUN={self.run}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    if state not in "ZX":
                        found[int(folder.name)] = (folder / "comm").read_text().strip()
            except OSError:
                continue
        return found

    def supervisors(self) -> list[int]:
        """Processes 1 of labs of this caller, by their ids outside."""
        return [pid for pid in self.processes() if _inner_id(pid) == 1]

    def left(self) -> list[str]:
        """What is in the runtime directory, but for the lock of the registry."""
        base = self.run / "podwire"
        return sorted(p.name for p in base.iterdir() if p.name != ".lock") if base.is_dir() else []

    def close(self) -> None:
        """Take all labs down; nothing may be left."""
        if self.run.is_dir():
            self.podwire("down", "--all", code=None)
            shutil.rmtree(self.run, ignore_errors=True)


class MakeCaller(Protocol):
    """Makes a caller of a kind, whose labs are down after the test."""

    def __call__(self, kind: str, **more: Any) -> Caller: ...


def _inner_id(pid: int) -> int:
    """The id of a process in its own PID namespace; 0 when it is gone."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    ids = next(row.split()[1:] for row in rows if row.startswith("NSpid:"))
    return int(ids[-1]) if len(ids) > 1 else 0
