"""The three levels of privilege, and how a process without root becomes one of a lab."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from emulator.errors import Problem, Unsupported

Level = Literal["root", "subordinate ids", "one id"]

APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE_SYSCTL = Path("/proc/sys/kernel/unprivileged_userns_clone")
_LIMITS = Path("/proc/sys/user")
_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_IDS = "/etc/sub{kind}"


def is_root() -> bool:
    """Whether this process may make namespaces without a user namespace."""
    if os.geteuid() != 0:
        return False
    for row in Path("/proc/self/status").read_text().splitlines():
        if row.startswith("CapEff:"):
            return bool(int(row.split()[1], 16) >> 21 & 1)  # CAP_SYS_ADMIN
    return False


def subordinate(kind: Literal["uid", "gid"]) -> tuple[int, int] | None:
    """(first, count) of the caller's subordinate ids, or None."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = ""
    try:
        rows = Path(_IDS.format(kind=kind)).read_text().splitlines()
    except OSError:
        return None
    for row in rows:
        owner, first, count = [*row.split(":"), "", ""][:3]
        if owner in (name, str(os.geteuid())) and first.isdigit() and count.isdigit():
            return int(first), int(count)
    return None


def level() -> Level:
    """What this caller has. Whether the kernel then allows it is for the trial to say."""
    if is_root():
        return "root"
    helpers = shutil.which("newuidmap") and shutil.which("newgidmap")
    if helpers and subordinate("uid") and subordinate("gid"):
        return "subordinate ids"
    return "one id"


def refusal(step: str, error: OSError) -> Unsupported:
    """The error for a system that forbids what a lab needs, with the remedy that fits."""
    return Unsupported(
        Problem(
            f"making the lab's namespaces: {step}",
            error.strerror or str(error),
            "a system that lets this user make namespaces",
            _remedy(step, error.errno or 0),
        )
    )


def _remedy(step: str, number: int) -> str:
    if number == errno.ENOSPC:
        return f"{_spent() or 'raise the limits of namespaces, sysctl user.max_*_namespaces'}"
    if step.startswith("new"):
        return (
            f"is {step} setuid root, and this user in /etc/subuid and /etc/subgid? "
            "sudo apt-get install --reinstall uidmap, or run with sudo"
        )
    if os.geteuid() != 0:
        if _read(APPARMOR) == "1":
            return (
                "AppArmor restricts user namespaces here (Ubuntu 24.04): "
                "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run with sudo"
            )
        if _read(_CLONE_SYSCTL) == "0":
            return "sudo sysctl kernel.unprivileged_userns_clone=1, or run with sudo"
    if step == "mounting /" and number == errno.EINVAL:
        return (
            "a chroot, whose root is no mount point: bind that folder on itself and pivot_root "
            "into it, or use systemd-nspawn or a container"
        )
    if step.startswith("mounting"):
        return (
            "something hides parts of /proc or /sys, as containers do: start it with "
            "--privileged, or --security-opt systempaths=unconfined"
        )
    if any(mark.exists() for mark in _CONTAINERS):
        return "a container: start it with --privileged"
    if os.geteuid() == 0:
        return "root without CAP_SYS_ADMIN (a container?): start it with --privileged"
    return "run it with sudo"


def _spent() -> str:
    """The remedy for a kind of namespace that may not be made at all."""
    for kind in ("user", "net", "mnt", "pid", "uts", "ipc"):
        if _read(_LIMITS / f"max_{kind}_namespaces") == "0":
            alternative = ", or run with sudo" if os.geteuid() else ""
            return f"sudo sysctl user.max_{kind}_namespaces=10000{alternative}"
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def map_ids(pid: int, how: Level) -> Level:
    """Map ids of the user namespace that process ``pid`` (a child of ours) has made.

    Returns the level that it came to: one id where the system does not let us have more
    (in a rootless container, say). Unsupported when it does not let us have that.
    """
    try:
        if how == "subordinate ids" and _map_subordinate(pid):
            return how
        Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/uid_map").write_text(f"0 {os.geteuid()} 1")
        Path(f"/proc/{pid}/gid_map").write_text(f"0 {os.getegid()} 1")
        return "one id"
    except OSError as error:
        raise refusal("mapping ids", error) from error


def _map_subordinate(pid: int) -> bool:
    """Whether the helpers have done it; Unsupported when they have done half of it."""
    try:
        _map("newuidmap", pid, os.geteuid(), subordinate("uid"))
        _map("newgidmap", pid, os.getegid(), subordinate("gid"))
    except subprocess.CalledProcessError as error:
        if not _read(Path(f"/proc/{pid}/uid_map")):
            return False
        words = error.stderr.decode(errors="replace").strip()
        raise refusal(error.cmd[0], OSError(errno.EPERM, words)) from error
    return True


def _map(program: str, pid: int, own: int, more: tuple[int, int] | None) -> None:
    ids = (0, own, 1, *((1, *more) if more else ()))
    argv = [program, str(pid), *map(str, ids)]
    subprocess.run(argv, check=True, capture_output=True)
