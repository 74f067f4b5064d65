"""What a process of the lab sees: one network namespace, its own host name and files.

``/run``, ``/tmp`` and the writable parts of ``/var`` are the namespace's own, shared by
all its processes; the rest of the file system is the host's, read-only. Files that the
plan puts below ``/etc`` lie over the host's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from emulator.substrate import libc

NAMES = Path("/run/netns")
FILES = Path("/run/podwire/files")
PROCFS = Path("/run/podwire/proc")
OWN = ("/var/lib", "/var/log", "/var/cache", "/var/tmp", "/tmp", "/run")


_SYSTEM = ("/usr/sbin", "/sbin")


def private_mounts() -> None:
    """For process 1 of a lab: own /proc, /sys, /run, all else read-only. OSError names the mount.

    ``/tmp`` stays the host's here, since Podwire itself may be installed below it and load
    a module late; programs of the lab get one of their own (:func:`private_files`).
    """
    libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)
    libc.make_read_only("/")
    quiet = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    libc.mount("proc", "/proc", "proc", quiet)
    libc.mount("/proc/sys", "/proc/sys", "", libc.MS_BIND)
    _read_only_but("/proc/sys", "/proc/sys/net")
    _sysfs()
    libc.mount("tmpfs", "/run", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755")
    if Path("/dev/shm").is_dir():
        libc.mount("tmpfs", "/dev/shm", "tmpfs", quiet, "mode=1777")
    for folder in (NAMES, FILES, PROCFS):
        folder.mkdir(parents=True)


def _sysfs() -> None:
    """A sysfs of the current network namespace; only its interfaces can be written."""
    libc.mount("sysfs", "/sys", "sysfs", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    _read_only_but("/sys", "/sys/devices/virtual/net")


def _read_only_but(top: str, part: str) -> None:
    """What there is once for the whole machine is not for a lab to write, not even root's."""
    libc.mount(part, part, "", libc.MS_BIND)
    libc.make_read_only(top, recursive=False)


def environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """The environment of a program: ours and ``more``; it is root there, so it finds sbin.

    A place has a ``/tmp`` of its own and no other: the caller's TMPDIR does not exist there.
    """
    found = {**os.environ, "TMPDIR": "/tmp", **(more or {})}
    path = found.get("PATH", os.defpath).split(":")
    found["PATH"] = ":".join([*path, *(folder for folder in _SYSTEM if folder not in path)])
    return found


def private_files(ns: str) -> None:
    """Give the calling process the file system of namespace ``ns``.

    To be called inside the network namespace, so that ``/sys`` shows its interfaces.
    ``/run`` comes last: the other directories' sources lie below it.
    """
    libc.unshare(libc.CLONE_NEWNS | libc.CLONE_NEWUTS)
    libc.sethostname(ns[:64])
    _sysfs()
    own = FILES / ns
    etc = own / "etc"
    if etc.is_dir():
        for path in sorted(p for p in etc.rglob("*") if p.is_file()):
            target = Path("/etc") / path.relative_to(etc)
            if target.exists():
                libc.mount(str(path), str(target), "", libc.MS_BIND)
    for place in OWN:
        source = own / place.lstrip("/")
        source.mkdir(parents=True, exist_ok=True)
        if place in ("/tmp", "/var/tmp"):
            os.chmod(source, 0o1777)
        # with what is mounted there: folders of CNI binaries that lie below such a place
        libc.mount(str(source), place, "", libc.MS_BIND | libc.MS_REC)
