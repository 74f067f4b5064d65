"""The network namespaces of a lab: their descriptors, sockets and interface indices.

Interface indices are chosen here, unique in the whole lab: nothing is looked up while
building, and the two ends of a veth pair find each other when reading.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from emulator.errors import KernelRefused, Problem
from emulator.plan.resources import Netns
from emulator.substrate import libc, meanwhile
from emulator.substrate.netlink import Netlink
from emulator.substrate.refusal import guard

_MOST_SOCKETS = 256

FIRST_INDEX = 64
"""Below are those of ``lo``, and of the tunnels that the kernel itself puts into each namespace
when somebody loads their modules, which may be at any time."""

ALONE = 16
"""So many namespaces are made in the time that a child takes to start."""


class Trace(Protocol):
    """Hears every operation that reaches the kernel (the replay experiment records them)."""

    def netns(self, ns: str) -> None: ...
    def enter(self, ns: str) -> None: ...
    def netlink(self, ns: str, buffer: bytes, relocations: list[tuple[int, str]]) -> None: ...
    def ethtool(self, ns: str, dev: str, request: bytes) -> None: ...
    def sysctl(self, ns: str, name: str, value: str) -> None: ...
    def nft(self, ns: str, text: str) -> None: ...


class Namespaces:
    """To be used from one thread of the process that holds them; only a socket may be lent to
    another thread."""

    def __init__(self, names: Path, files: Path, trace: Trace | None = None) -> None:
        """``names``: where namespaces get a name (``/run/netns``); ``files``: where each
        namespace's own files lie."""
        self.names = names
        self.files = files
        self.trace = trace
        self.fds: dict[str, int] = {}
        self.fresh: set[str] = set()
        """Those made since ``fresh`` was cleared: they have the values of birth."""
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._index: dict[str, dict[str, int]] = {}
        self._next_index = FIRST_INDEX
        self._sockets: dict[str, Netlink] = {}

    @contextmanager
    def creating(self, names: Sequence[str]) -> Iterator[None]:
        """New namespaces. Inside, the thread is in one of them and the first few are there;
        a child process makes the others meanwhile. Afterwards all are there.

        KernelRefused with the first that cannot be made.
        """
        for ns in names:
            guard(Netns(ns), lambda ns=ns: self._must_be_free(ns))  # type: ignore[misc]
        for ns in names[:ALONE]:
            guard(Netns(ns), lambda ns=ns: self._add(ns, meanwhile.namespace()))  # type: ignore[misc]
        others = names[ALONE:]
        with meanwhile.namespaces(len(others)) as made:
            yield
            for ns in others:
                guard(Netns(ns), lambda ns=ns: self._add(ns, next(made)))  # type: ignore[misc]

    def _must_be_free(self, ns: str) -> None:
        if ns in self.fds:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), ns)

    def _add(self, ns: str, fd: int) -> None:
        high = self.fds[ns] = _high(fd)
        os.symlink(f"/proc/{os.getpid()}/fd/{high}", f"{self.names}/{ns}")
        self.fresh.add(ns)
        if self.trace:
            self.trace.netns(ns)

    def adopt(self, ns: str, path: Path) -> None:
        """Take in a namespace that somebody else made and holds (``/run/netns/<ns>``)."""
        self.fds[ns] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def forget(self, ns: str) -> None:
        """Let a namespace go; the kernel removes it when nobody else holds it."""
        fd = self.fd(ns)
        found = self._sockets.pop(ns, None)
        if found:
            found.close()
        os.close(fd)
        del self.fds[ns]
        name = self.names / ns
        if name.is_symlink():  # not so where the namespace was adopted
            name.unlink()
        self._index.pop(ns, None)

    def close(self) -> None:
        """Let every namespace go."""
        self.close_sockets()
        for ns in list(self.fds):
            self.forget(ns)
        os.close(self._home)

    def fd(self, ns: str) -> int:
        """The descriptor of a namespace. KernelRefused when the lab has none of that name."""
        found = self.fds.get(ns)
        if found is None:
            words = "no such namespace in the lab"
            raise KernelRefused(Problem(f"{ns} netns", f"ENOENT ({words})", "one of the lab's"))
        return found

    def enter(self, ns: str) -> None:
        """Put the calling thread into a namespace of the lab. KernelRefused when it has none
        of that name."""
        libc.setns(self.fd(ns), libc.CLONE_NEWNET)
        if self.trace:
            self.trace.enter(ns)

    def leave(self) -> None:
        """Put the calling thread back into the namespace that the lab was made from."""
        libc.setns(self._home, libc.CLONE_NEWNET)

    def socket(self, ns: str) -> Netlink:
        """A route socket of a namespace; the thread is in that namespace afterwards."""
        self.enter(ns)
        found = self._sockets.get(ns)
        if found is None:
            if len(self._sockets) >= _MOST_SOCKETS:
                self.close_sockets()
            found = self._sockets[ns] = Netlink()
        return found

    @contextmanager
    def other_socket(self, ns: str, protocol: int) -> Iterator[Netlink]:
        """A socket of another netlink family for a moment; the thread is in that namespace.
        OSError EPROTONOSUPPORT where the kernel has no such family."""
        self.enter(ns)
        found = Netlink(protocol)
        try:
            yield found
        finally:
            found.close()

    def sockets(self, names: Sequence[str]) -> list[Netlink]:
        """Route sockets of some namespaces, all open at the same time."""
        if len(self._sockets) + len(names) > _MOST_SOCKETS:
            self.close_sockets()
        return [self.socket(ns) for ns in names]

    def close_sockets(self) -> None:
        """Close every route socket (a forked child must not read the replies of its parent)."""
        for found in self._sockets.values():
            found.close()
        self._sockets.clear()

    def index(self, ns: str, name: str) -> int:
        """The index of an interface, chosen at the first question. ``lo`` is always 1."""
        if name == "lo":
            return 1
        own = self._index.setdefault(ns, {})
        found = own.get(name)
        if found is None:
            found = own[name] = self._next_index
            self._next_index += 1
        return found

    def file(self, ns: str, path: str) -> Path:
        """Where a file of a namespace lies for the process that holds the lab."""
        return self.files / ns / path.lstrip("/")

    def learn(self, ns: str, name: str, number: int) -> None:
        """An interface that is there already has this index."""
        self._index.setdefault(ns, {})[name] = number
        self._next_index = max(self._next_index, number + 1)

    def unlearn(self, ns: str, name: str) -> None:
        """The interface is gone."""
        self._index.get(ns, {}).pop(name, None)


def _high(fd: int) -> int:
    """The same descriptor with a number that leaves the low ones free.

    libnftables waits by select(2), which aborts the process for a socket above 1023.
    """
    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 1024)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return fd  # the limit on open files is lower: then no number is too high
    os.close(fd)
    return high
