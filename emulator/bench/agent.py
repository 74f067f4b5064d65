"""In the guest: waits for commands at its ports, and runs each in a process of its own.

Started as ``python -m emulator.bench.agent MODULE…``.  The modules are loaded once, here, and a
command that calls one of them is a fork: under emulation Python and its libraries take ten
seconds to load.  The guest ends when nobody needs it: no command runs, no lab is there, and
nothing holds it (``HOLD``).
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Collection
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from emulator.bench import work
from emulator.substrate import libc, runtime

PORTS = Path("/sys/class/virtio-ports")
"""Theirs are the names in ``/dev``; those that QEMU was told are files in them."""
PREFIX = "podwire."
HOLD = Path("/run/podwire-hold")
"""While this file is there the guest stays."""
_OPEN_FILES = 1 << 17
_LOOK_S = 1.0


def main() -> None:
    """Serve until nobody needs the guest."""
    libc.set_name("podwire-agent")
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    Path("/proc/self/oom_score_adj").write_text("-1000")  # what a lab has used up is a lab's fault
    for name in sys.argv[1:]:
        import_module(name)
    runtime.base()
    libc.adopt_orphans()  # labs that have ended: the guest's first process does not bury them
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    events = select.epoll()
    ports = {
        os.open(f"/dev/{port.name}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC): port.name
        for port in sorted(PORTS.iterdir())
        if (port / "name").read_text().startswith(PREFIX)
    }
    for port in ports:
        events.register(port, _CONNECTED)
    running: dict[int, tuple[int, int]] = {}
    served = False
    while not served or running or _needed():
        served = served or bool(running)
        for fd, _ in events.poll(_LOOK_S):
            if fd in running:
                port, pid = running.pop(fd)
                events.unregister(fd)
                os.waitid(os.P_PID, pid, os.WEXITED)
                os.close(fd)
                events.register(port, _CONNECTED)
            elif (first := _read(fd)) and (pid := os.fork()):
                events.unregister(fd)
                child = os.pidfd_open(pid)
                running[child] = fd, pid
                events.register(child, select.EPOLLIN)
            elif first:
                work.serve(fd, first)
        _bury([pid for _, pid in running.values()])


# A port whose other end is free is always "hung up": only the change is news
_CONNECTED = select.EPOLLIN | select.EPOLLET


def _read(port: int) -> bytes:
    """What has arrived at a port; nothing where its other end has merely come or gone."""
    try:
        return os.read(port, 1 << 16)
    except BlockingIOError:
        return b""


def _bury(ours: Collection[int]) -> None:
    """Reap what has been left to us, as far as none of our own is before it."""
    with suppress(ChildProcessError):
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in ours:
                return
            os.waitid(os.P_PID, dead.si_pid, os.WEXITED)


def _needed() -> bool:
    return HOLD.exists() or bool(runtime.worlds())


if __name__ == "__main__":
    main()
