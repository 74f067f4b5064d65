"""Becomes an ordinary user and runs a command (``as_user.py SETTINGS.json COMMAND …``).

For root. Everything that the machine would have to be changed for is changed in a mount
namespace of this process alone: an entry in ``/etc/passwd``, ranges of subordinate ids,
programs and libraries that are to be missing, and directories on the way to Python and to
this checkout that are closed to others (a clone below ``/root``), and ``/dev/net/tun``, which
distributions leave open to everybody.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys
from pathlib import Path

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = [word.encode() for word in (source, target, kind)]
    if _LIBC.mount(*words, ctypes.c_ulong(flags), data.encode()):
        sys.exit(f"as_user: mount {source} {target}: {os.strerror(ctypes.get_errno())}")


def closed_ancestor(path: Path) -> Path | None:
    """The uppermost directory on the way to ``path`` that others may not pass."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def open_the_way(paths: list[Path]) -> None:
    """Lay an open, empty directory over each closed one, with only ``paths`` in it."""
    closed: dict[Path, list[Path]] = {}
    for path in sorted(set(paths)):
        if (folder := closed_ancestor(path)) is not None:
            closed.setdefault(folder, []).append(path)
    for folder, inside in closed.items():
        held = [(path, os.open(path, os.O_PATH)) for path in inside]
        mount("tmpfs", str(folder), "tmpfs", data="mode=755")
        for path, fd in held:
            path.mkdir(parents=True, exist_ok=True)
            mount(f"/proc/self/fd/{fd}", str(path), flags=MS_BIND | MS_REC)


def open_tun() -> None:
    tun = Path("/dev/net/tun")
    if tun.exists() and not tun.stat().st_mode & stat.S_IWOTH:
        device = tun.stat().st_rdev
        mount("tmpfs", str(tun.parent), "tmpfs", data="mode=755")
        os.mknod(tun, 0o666 | stat.S_IFCHR, device)
        tun.chmod(0o666)


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    if _LIBC.unshare(CLONE_NEWNS):
        sys.exit(f"as_user: unshare: {os.strerror(ctypes.get_errno())}")
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    for target, source in settings["instead"].items():
        if not Path(target).exists():
            sys.exit(f"as_user: {target} is not here: is the package that brings it installed?")
        mount(source, target, flags=MS_BIND)
    open_tun()
    open_the_way([Path(path) for path in settings["needed"]])
    os.setgroups([])
    os.setresgid(*[settings["uid"]] * 3)
    os.setresuid(*[settings["uid"]] * 3)
    for path in settings["needed"]:
        if not os.access(path, os.R_OK | os.X_OK):
            sys.exit(f"as_user: {path} cannot be read by others: chmod -R o+rX {path}")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
