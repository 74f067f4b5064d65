"""Where labs keep their runtime files, and which labs run.

One directory per lab below ``$XDG_RUNTIME_DIR/podwire`` (root: ``/run/podwire``; else
``/tmp/podwire-<uid>``; ``$PODWIRE_RUN/podwire`` goes before all of them), mode 0700. The
supervisor holds a lock on it for as long as it lives; a directory whose lock is free is
what a killed lab left, and is removed by the next command that looks.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from emulator.errors import LabGone, PodwireError, Problem, SpecError


class World(NamedTuple):
    """A running lab: its supervisor as the host sees it.

    ``start_ticks`` tells the process from a later one with the same id. ``user``: the
    lab lives in a user namespace (made without root). ``maker``: a child of this very
    process that stands between it and a lab that ends with it, or 0.
    """

    name: str
    folder: Path
    pid: int
    start_ticks: int
    user: bool
    maker: int = 0

    def alive(self) -> bool:
        """Whether the supervisor still runs."""
        return start_ticks(self.pid) == self.start_ticks


_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def base() -> Path:
    """The user's directory of labs, made when it is missing. PodwireError if that fails."""
    chosen, session = os.environ.get("PODWIRE_RUN"), os.environ.get("XDG_RUNTIME_DIR")
    if chosen:
        path = Path(chosen) / "podwire"
    elif os.geteuid() == 0:
        path = Path("/run/podwire")
    elif session and os.access(session, os.W_OK):
        path = Path(session) / "podwire"
    else:
        path = Path(f"/tmp/podwire-{os.geteuid()}")
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise unusable(path, error) from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PodwireError(
            Problem(
                str(path),
                f"owner {status.st_uid}, mode {status.st_mode & 0o777:o}",
                f"owner {os.geteuid()}, mode 700",
                "remove it, or set PODWIRE_RUN to a directory of your own",
            )
        )
    return path


def unusable(path: Path, error: OSError) -> PodwireError:
    """The error for a run directory that cannot be written."""
    remedy = {
        errno.ENOSPC: "the disk is full: free some space, or set PODWIRE_RUN to another place",
        errno.EDQUOT: "your quota is used up: free some space, or set PODWIRE_RUN",
        errno.EMFILE: "raise the limit on open files: ulimit -n",
    }.get(error.errno or 0, "set PODWIRE_RUN to a directory of your own that can be written")
    found = error.strerror or str(error)
    return PodwireError(Problem(str(path), found, "a directory for running labs", remedy))


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
    try:
        fd = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(root, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        # a process forked meanwhile shares the lock: closing alone would leave it locked
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def claim(name: str) -> tuple[Path, int]:
    """A directory for a new lab and its lock (a descriptor; to be inherited by the supervisor).

    SpecError when a lab of that name runs, or the name cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(
            Problem("name of the lab", repr(name), "small letters, digits, '-' and '.', at most 63")
        )
    try:
        return reserve(name)
    except FileExistsError:
        raise SpecError(
            Problem(
                f"lab {name}",
                "a running lab of that name",
                "a new name",
                f"podwire down {name}, podwire apply, or podwire up --name other",
            )
        ) from None


def reserve(name: str) -> tuple[Path, int]:
    """A new directory among those of labs, and its lock. FileExistsError, PodwireError."""
    root = base()
    folder = root / name
    with _registry(root):
        _reclaim(root)
        if folder.exists():
            raise FileExistsError(folder)
        try:
            folder.mkdir(mode=0o700)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise unusable(folder, error) from error
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, lock


def _reclaim(root: Path) -> None:
    for folder in root.iterdir():
        if folder.is_dir():
            _reclaim_one(folder)


def _reclaim_one(folder: Path) -> None:
    """Remove a lab's directory, unless somebody holds its lock."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # made and not yet locked when its maker was killed, or emptied but for itself
        with suppress(OSError):
            folder.rmdir()
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in folder.iterdir():
            if path.name != "lock":
                path.unlink()
        (folder / "lock").unlink()  # last: what is left of a killed removal can be removed
        folder.rmdir()
    except BlockingIOError:
        pass
    except OSError as error:
        raise unusable(folder, error) from error
    finally:
        os.close(fd)


def describe(world: World) -> None:
    """Write down a lab that is up. PodwireError."""
    rows = {"pid": world.pid, "start_ticks": world.start_ticks, "user": world.user}
    temporary = world.folder / "lab.json.new"
    try:
        temporary.write_text(json.dumps(rows))
        temporary.rename(world.folder / "lab.json")
    except OSError as error:
        raise unusable(temporary, error) from error


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
    hint = "name it: --lab NAME (podwire down NAME)"
    raise SpecError(Problem("lab", f"several: {names}", "one", hint))


def released(world: World) -> bool:
    """Whether a lab has let go of its directory: its supervisor closes nothing later."""
    try:
        fd = os.open(world.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def forget(world: World) -> None:
    """Remove the directory of a lab that is gone; one that a new lab of the name has stays."""
    root = base()
    with _registry(root):
        _reclaim_one(world.folder)
