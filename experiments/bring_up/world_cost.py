"""What a standing lab costs, seen from the host: its processes and their memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from emulator.substrate.runtime import World

_PROC = Path("/proc")


class Cost(NamedTuple):
    """``user_kib``: the proportional set sizes of all processes together."""

    processes: int
    user_kib: int


def cost(place: World) -> Cost:
    """Count the processes of a world and what they hold. PermissionError when not ours."""
    found = inhabitants(pid_namespace(place))
    return Cost(len(found), sum(map(_proportional_kib, found)))


def pid_namespace(place: World) -> str:
    """The name of the world's PID namespace, to ask for its inhabitants once it is gone."""
    return os.readlink(_PROC / str(place.pid) / "ns/pid")


def inhabitants(namespace: str) -> list[int]:
    """The processes of a PID namespace as the host numbers them.

    Without the dead whom their parent has not noticed yet: a lab that was kept is an orphan,
    and the host's process 1 may take a second to look.
    """
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "ns/pid") == namespace and not _dead(entry):
                    found.append(int(entry.name))
            except OSError:
                continue  # of somebody else, or gone meanwhile
    return found


def _dead(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def _proportional_kib(pid: int) -> int:
    """Shared pages count by the share; 0 when the process has ended meanwhile."""
    try:
        rows = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
