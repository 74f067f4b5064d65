"""The two processes behind a lab: the maker of its namespaces, and its supervisor.

Both begin as copies of a program that may be anything, so they first let go of all that
is the program's. See :mod:`emulator.substrate.lab` for how they live and die.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from emulator.errors import PodwireError, Problem
from emulator.substrate import control, libc, privilege
from emulator.substrate.sandbox import private_mounts

Body = Callable[["Start"], None]
"""The supervisor's own work: builds the lab, calls ``ready``, serves until told to end."""


class Start:
    """What the supervisor is given: where it is, and how to tell the caller."""

    def __init__(
        self, folder: Path, listener: socket.socket, report: socket.socket, keep: bool
    ) -> None:
        self.folder = folder
        self.control = listener
        self.began = time.perf_counter()
        self.open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._report = report
        self._keep = keep

    def progress(self, done: int, total: int) -> None:
        """Tell the caller how far building is."""
        control.send(self._report, ("progress", (done, total)))

    def ready(self, facts: dict[str, Any]) -> None:
        """The lab is up. One that is to stay waits here until the caller has written it down."""
        control.send(self._report, ("ready", facts))
        if self._keep:
            control.receive(self._report)
            libc.outlive_parent()
            control.send(self._report, ("kept", None))
        self._report.close()


def be_alone(lock: int, me: int, log: int, *sockets: socket.socket) -> None:
    """In the child of a program that may be anything: keep nothing of it but what is named.

    A pipe of the caller held open here would never end for whoever reads it. Objects that
    own the descriptors closed here must not be collected, or they would close others
    that have got the same numbers since.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, no child could be waited for
    gc.disable()
    gc.freeze()
    signal.set_wakeup_fd(-1)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    # null and log are the host's files: a file open for writing below a mount of the lab
    # would keep that mount from becoming read-only
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    kept = {0, 1, 2, lock, me, *(end.fileno() for end in sockets)}
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in kept:
            with suppress(OSError):  # the listing's own descriptor is gone by now
                os.close(fd)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir("/")
    os.umask(0o022)
    os.setsid()
    gc.enable()


def make_world(
    begun: Start, link: socket.socket, caller: int, how: privilege.Level, body: Body
) -> NoReturn:
    """In the first child: make the namespaces, then the supervisor inside them."""
    step = "a user namespace"
    try:
        libc.set_name("podwire-maker")
        if how != "root":
            libc.unshare(libc.CLONE_NEWUSER)
            control.send(link, ("map", None))
            control.receive(link)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        step = "network, mount and PID namespaces"
        libc.unshare(
            libc.CLONE_NEWNS
            | libc.CLONE_NEWNET
            | libc.CLONE_NEWPID
            | libc.CLONE_NEWUTS
            | libc.CLONE_NEWIPC
        )
        step = "the supervisor"
        me = os.pidfd_open(os.getpid())
        supervisor = os.fork()
        if supervisor == 0:
            link.close()
            os.close(caller)
            _supervise(begun, me, body)
        control.send(link, ("pid", supervisor))
        _watch(link, caller, supervisor)
    except EOFError:
        pass
    except OSError as error:
        with suppress(OSError):
            control.send(link, ("refused", (step, error.errno or 0)))
    except BaseException:  # the child must not go on as a second copy of the caller
        traceback.print_exc()
    os._exit(0)


def _watch(link: socket.socket, caller: int, supervisor: int) -> None:
    """Return when the caller ends, the lab ends, or the lab is to stay."""
    lab = os.pidfd_open(supervisor)
    # The supervisor's things are not ours to keep alive. Not by a list from /proc: the
    # supervisor, in the same mount namespace, may have mounted its own by now, without us.
    kept = sorted({0, 1, 2, caller, lab, link.fileno()})
    for below, above in pairwise([*kept, resource.getrlimit(resource.RLIMIT_NOFILE)[0]]):
        os.closerange(below + 1, above)
    poll = select.poll()
    for fd in (link.fileno(), caller, lab):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if lab in ready:
            os.waitpid(supervisor, 0)
            return
        if caller in ready:
            return
        try:
            control.receive(link)
            return
        except (EOFError, ConnectionError):
            # a lab that ends with its caller: the link has served
            poll.unregister(link.fileno())


def _supervise(begun: Start, maker: int, body: Body) -> NoReturn:
    """As process 1 of the lab: private mounts, then the supervisor's work. Never returns."""
    code = 1
    report = begun._report
    try:
        libc.die_with_parent(maker)
        os.close(maker)
        libc.set_name("podwire-lab")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        try:
            private_mounts()
        except OSError as error:
            raise privilege.refusal(f"mounting {error.filename}", error) from error
        libc.sethostname("podwire")
        body(begun)
        code = 0
    except PodwireError as error:
        _tell(report, error)
    except (EOFError, ConnectionError):
        pass  # the caller went away
    except OSError as error:
        place = f"supervisor: {error.filename or 'system call'}"
        _tell(report, PodwireError(Problem(place, error.strerror or "", "the lab to start")))
    except BaseException:  # a fault of ours must reach the caller and the log, and no further
        _tell(report, PodwireError(f"supervisor: {traceback.format_exc()}"))
    os._exit(code)


def _tell(report: socket.socket, error: PodwireError) -> None:
    with suppress(OSError):
        print(error, file=sys.stderr)
    with suppress(OSError):
        control.send(report, ("error", error))
