"""Sysctls of the network namespace that the calling thread is in.

A fresh namespace's values are learnt once from the first one that is made; what a new
namespace is born with is not written again. Entries below /proc/sys/net of all
namespaces share one hash chain per procfs mount, so that a write costs the more the more
namespaces there are: a fresh mount now and then keeps it cheap.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from emulator.plan.resources import Sysctl
from emulator.substrate import libc

_PER_MOUNT = 100


class Sysctls:
    """Reads and writes; knows the values that namespaces of this kernel are born with."""

    def __init__(self) -> None:
        self._born: dict[str, str | None] = {}
        self._used = 0
        self._mount = Path("/proc")
        self._fresh: Path | None = None

    def refresh_at(self, folder: Path) -> None:
        """Use fresh procfs mounts at ``folder`` (in a mount namespace of our own)."""
        folder.mkdir(parents=True, exist_ok=True)
        self._fresh = folder

    def use_own_procfs(self) -> None:
        """In a forked child: what the parent keeps mounted is the parent's to change."""
        self._fresh = None

    def learn_birth(self, sysctls: Iterable[Sysctl]) -> None:
        """Read what a fresh namespace has of these; the calling thread is in one."""
        for generic in {_generic(r.name) for r in sysctls} - self._born.keys():
            self._born[generic] = self._read_at(Path("/proc"), generic)

    def born_with(self, r: Sysctl) -> bool:
        """Whether a fresh namespace already has the value (or lacks an optional sysctl).

        To be asked of what has been learnt.
        """
        generic = _generic(r.name)
        value = self._born[generic]
        if value is None:
            # connection tracking comes with the first rule that needs it
            return r.if_present and not r.name.startswith("net/netfilter/")
        return value == r.value and r.name == generic

    def read(self, name: str) -> str | None:
        """The value, words joined by single spaces; None where the kernel has no such sysctl."""
        return self._read_at(self._procfs(), name)

    @staticmethod
    def _read_at(procfs: Path, name: str) -> str | None:
        try:
            with open(f"{procfs}/sys/{name}") as file:
                return " ".join(file.read().split())
        except FileNotFoundError:
            return None

    def write(self, r: Sysctl) -> None:
        """Write a value. OSError as the kernel has it."""
        path = f"{self._procfs()}/sys/{r.name}"
        try:
            fd = os.open(path, os.O_WRONLY)
        except FileNotFoundError:
            if r.if_present:
                return
            raise
        try:
            os.write(fd, r.value.encode())
        except OSError as error:
            if error.errno == errno.ENOENT:
                words = f"value {r.value!r} is not available here"
                raise OSError(errno.EINVAL, words, path) from error
            raise
        finally:
            os.close(fd)

    def give_back(self, r: Sysctl) -> None:
        """Write the value of birth: of the namespace, or of a new interface in it. OSError.

        That of a namespace has been learnt; nothing where a fresh one has no such sysctl.
        """
        generic = _generic(r.name)
        value = self._born[generic] if generic == r.name else self.read(generic)
        if value is not None:
            self.write(r._replace(value=value))

    def _procfs(self) -> Path:
        if self._fresh is None:
            return self._mount
        if self._used % _PER_MOUNT == 0:
            if self._used:
                libc.umount(str(self._fresh))
            libc.mount(
                "proc", str(self._fresh), "proc", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
            )
        self._used += 1
        return self._fresh


def _generic(name: str) -> str:
    """``net/ipv4/conf/eth0/x`` is born with the value of ``net/ipv4/conf/default/x``."""
    parts = name.split("/")
    if len(parts) == 5 and parts[2] == "conf" and parts[3] != "all":
        parts[3] = "default"
    return "/".join(parts)
