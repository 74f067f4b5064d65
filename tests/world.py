"""Runs the body of a test in a child with network, mount and (for a user) user namespaces of
its own and an empty ``/run``: what the body leaves behind is gone when the child ends."""

from __future__ import annotations

import contextlib
import os
import resource
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from emulator.substrate import libc
from emulator.substrate.kernel import Kernel

NAMES = Path("/run/netns")
FILES = Path("/run/files")


def in_a_world(body: Callable[[], None]) -> None:
    """Run ``body`` there; AssertionError with its traceback when it raises."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            _enter()
            body()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, encoding="utf-8") as report:
        text = report.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"in a world of its own:\n{text}"


def _enter() -> None:
    uid, gid = os.getuid(), os.getgid()
    user = libc.CLONE_NEWUSER if uid else 0
    libc.unshare(user | libc.CLONE_NEWNET | libc.CLONE_NEWNS)
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("none", "/run", "tmpfs")
    NAMES.mkdir()
    FILES.mkdir()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def kernel() -> Iterator[Kernel]:
    """The running kernel, for the body of a test in a world."""
    found = Kernel(NAMES, FILES)
    try:
        yield found
    finally:
        found.close()
