"""One run at a time: two that measure at once would measure each other.

Runs that only count, or whose time is not this machine's, do not mind company, but would be
measured by who measures speed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator.errors import PodwireError, Problem


@contextmanager
def measuring(
    path: Path, holder: str, say: Callable[[str], None], *, undisturbed: bool = False
) -> Iterator[None]:
    """Hold the lock at ``path``; wait for it as long as it takes, having said who has it.

    With ``undisturbed``, together with others whom nothing disturbs.

    ``holder`` is what others are told about this run.  The lock ends with the process however
    that ends.  Ctrl-C ends the waiting.
    """
    descriptor, ours = _open(path)
    kind = fcntl.LOCK_SH if undisturbed else fcntl.LOCK_EX
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for {_read(descriptor)} (Ctrl-C gives up)")
            fcntl.flock(descriptor, kind)
        if ours:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "holder": holder}).encode(), 0)
        yield
    finally:
        # A process forked meanwhile shares the lock: closing alone would leave it locked.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _open(path: Path) -> tuple[int, bool]:
    """A descriptor, and whether it can be written: flock needs no more than reading.

    Who makes the file lets everybody write a name into it. It is opened without O_CREAT first,
    which the kernel refuses for another user's file in a folder like /tmp.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            return os.open(path, os.O_RDWR | flags), True
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
            if os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, 0o666)
            return descriptor, True
    except PermissionError:
        pass
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        return os.open(path, os.O_RDONLY | flags), False
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> PodwireError:
    return PodwireError(
        Problem(f"lock file {path}", error.strerror or str(error), "a file that can be opened",
                "remove it, or make its folder writable")
    )  # fmt: skip


def _read(descriptor: int) -> str:
    try:
        held = json.loads(os.pread(descriptor, 4096, 0))
        said = f"{held['holder']} (process {held['pid']})"
        return said if said.isprintable() else "another run"
    except (ValueError, KeyError, TypeError):
        return "another run"
