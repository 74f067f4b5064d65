"""The three levels of privilege, and how a process without root becomes one of a lab."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from emulator.errors import Problem, Unsupported

Level = Literal["root", "subordinate ids", "one id"]

_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE_SYSCTL = Path("/proc/sys/kernel/unprivileged_userns_clone")
_MAX = Path("/proc/sys/user/max_user_namespaces")


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
        rows = Path(f"/etc/sub{kind}").read_text().splitlines()
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
    if subordinate("uid") and subordinate("gid") and shutil.which("newuidmap"):
        return "subordinate ids"
    return "one id"


def refusal(step: str, error: OSError) -> Unsupported:
    """The error for a system that forbids what a lab needs, with the remedy that fits."""
    remedy = "run it with sudo"
    if _read(_APPARMOR) == "1":
        remedy = (
            "AppArmor restricts user namespaces here (Ubuntu 24.04): "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run with sudo"
        )
    elif _read(_CLONE_SYSCTL) == "0":
        remedy = "sudo sysctl kernel.unprivileged_userns_clone=1, or run with sudo"
    elif _read(_MAX) == "0":
        remedy = "sudo sysctl user.max_user_namespaces=10000, or run with sudo"
    elif os.geteuid() == 0:
        remedy = "root without CAP_SYS_ADMIN (a container?): start it privileged"
    return Unsupported(
        Problem(
            f"making the lab's namespaces: {step}",
            error.strerror or str(error),
            "a system that lets this user make namespaces",
            remedy,
        )
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def map_ids(pid: int, how: Level) -> None:
    """Map ids of the user namespace that process ``pid`` (a child of ours) has made."""
    if how == "subordinate ids":
        for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
            found = subordinate("uid" if kind == "uid" else "gid")
            assert found is not None
            first, count = found
            subprocess.run(
                [f"new{kind}map", str(pid), "0", str(own), "1", "1", str(first), str(count)],
                check=True,
                capture_output=True,
            )
        return
    Path(f"/proc/{pid}/setgroups").write_text("deny")
    Path(f"/proc/{pid}/uid_map").write_text(f"0 {os.geteuid()} 1")
    Path(f"/proc/{pid}/gid_map").write_text(f"0 {os.getegid()} 1")
