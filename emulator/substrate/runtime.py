"""Where labs keep their runtime files, and which labs run.

One directory per lab below ``$XDG_RUNTIME_DIR/podwire`` (root: ``/run/podwire``; else
``/tmp/podwire-<uid>``), mode 0700. The supervisor holds a lock on it for as long as it
lives; a directory whose lock is free is what a killed lab left, and is removed by the
next command that looks.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from emulator.errors import LabGone, PodwireError, Problem, SpecError


class World(NamedTuple):
    """A running lab: its supervisor as the host sees it.

    ``start_ticks`` tells the process from a later one with the same id. ``user``: the
    lab lives in a user namespace (made without root).
    """

    name: str
    folder: Path
    pid: int
    start_ticks: int
    user: bool

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.folder / "control.sock"

    def alive(self) -> bool:
        """Whether the supervisor still runs."""
        return start_ticks(self.pid) == self.start_ticks


def base() -> Path:
    """The user's directory of labs, made when it is missing. PodwireError if that fails."""
    xdg = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() == 0:
        path = Path("/run/podwire")
    elif xdg and os.access(xdg, os.W_OK):
        path = Path(xdg) / "podwire"
    else:
        path = Path(f"/tmp/podwire-{os.geteuid()}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise PodwireError(
            Problem(str(path), error.strerror or "", "a directory for running labs")
        ) from error
    status = path.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PodwireError(
            Problem(
                str(path),
                f"owner {status.st_uid}, mode {status.st_mode & 0o777:o}",
                f"owner {os.geteuid()}, mode 700",
                "remove it, or set XDG_RUNTIME_DIR to a directory of your own",
            )
        )
    return path


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@contextmanager
def _registry(root: Path) -> Iterator[None]:
    """Held while directories are made or reclaimed, so that both cannot meet."""
    with open(root / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claim(name: str) -> tuple[Path, int]:
    """A directory for a new lab and its lock (a descriptor; to be inherited by the supervisor).

    SpecError when a lab of that name runs.
    """
    root = base()
    folder = root / name
    with _registry(root):
        _reclaim(root)
        if folder.exists():
            raise SpecError(
                Problem(
                    f"lab {name}",
                    "a running lab of that name",
                    "a new name",
                    f"podwire down {name}, podwire apply, or podwire up --name other",
                )
            )
        try:
            folder.mkdir(mode=0o700)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise PodwireError(
                Problem(str(folder), error.strerror or "", "a new run directory", _remedy(error))
            ) from error
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, lock


def _remedy(error: OSError) -> str:
    import errno

    return {
        errno.ENOSPC: "the disk is full: free some space",
        errno.EMFILE: "raise the limit on open files: ulimit -n",
    }.get(error.errno or 0, "")


def _reclaim(root: Path) -> None:
    for folder in root.iterdir():
        if not folder.is_dir():
            continue
        try:
            fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(fd)


def describe(folder: Path, name: str, pid: int, user: bool) -> World:
    """Write down a lab that is up."""
    world = World(name, folder, pid, start_ticks(pid) or 0, user)
    text = json.dumps({"pid": pid, "start_ticks": world.start_ticks, "user": user})
    temporary = folder / "lab.json.new"
    temporary.write_text(text)
    temporary.rename(folder / "lab.json")
    return world


def worlds() -> list[World]:
    """Every running lab of this user; directories of dead ones are removed on the way."""
    root = base()
    with _registry(root):
        _reclaim(root)
    found = []
    for folder in sorted(root.iterdir()):
        try:
            data = json.loads((folder / "lab.json").read_text())
        except (OSError, ValueError):
            continue
        world = World(folder.name, folder, data["pid"], data["start_ticks"], data["user"])
        if world.alive():
            found.append(world)
    return found


def find(name: str | None) -> World:
    """The lab of that name, or the only one that runs. LabGone, SpecError."""
    running = worlds()
    for world in running:
        if world.name == name:
            return world
    names = ", ".join(world.name for world in running) or "none"
    if name is not None:
        raise LabGone(
            Problem(f"lab {name}", f"running labs: {names}", "a running lab", "podwire up")
        )
    if len(running) == 1:
        return running[0]
    if not running:
        raise LabGone(Problem("lab", "no running lab", "one", "podwire up SPEC"))
    raise SpecError(Problem("lab", f"several: {names}", "one", "name it: --lab NAME"))


def forget(world: World) -> None:
    """Remove the directory of a lab that is gone."""
    root = base()
    with _registry(root):
        shutil.rmtree(world.folder, ignore_errors=True)
