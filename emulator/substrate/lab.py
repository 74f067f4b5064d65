"""Starting a lab: a supervisor in namespaces of its own, which dies with everything in it.

Two processes besides the caller. Its child, the *maker*, makes the namespaces; the maker's
child is process 1 of the new PID namespace and becomes the *supervisor*. The supervisor
dies with the maker (by the kernel's parent-death signal), the maker with the caller (it
watches it). A lab that is to stay lets go of its maker when everything is written down;
whoever is killed before that moment, nothing is left.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from emulator.errors import PodwireError, Problem
from emulator.substrate import control, libc, privilege, runtime
from emulator.substrate.runtime import World
from emulator.substrate.sandbox import private_mounts

Body = Callable[["Start"], None]
"""The supervisor's own work: builds the lab, calls ``ready``, serves until told to end."""

_DEATH_S = 10.0


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


def start(
    name: str,
    body: Body,
    *,
    keep: bool,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[World, dict[str, Any]]:
    """Start a lab and wait until it is up. Returns it and the facts that ``ready`` was told.

    ``keep``: it outlives this process. PodwireError (of the lab's own, too): nothing is left.
    """
    how = privilege.level()
    folder, lock = runtime.claim(name)
    with ExitStack() as ours, ExitStack() as undo:
        # while the lock is held no other lab can take the directory
        ours.callback(os.close, lock)
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        listener = ours.enter_context(control.listen(folder))
        log = ours.enter_context(_log(folder))
        me = os.pidfd_open(os.getpid())
        ours.callback(os.close, me)
        link, makers_link = (ours.enter_context(end) for end in socket.socketpair())
        report, supervisors_report = (ours.enter_context(end) for end in socket.socketpair())
        sys.stdout.flush()
        sys.stderr.flush()
        maker = os.fork()
        if maker == 0:
            _be_alone(lock, me, log.fileno(), listener, makers_link, supervisors_report)
            _make_world(
                Start(folder, listener, supervisors_report, keep), makers_link, me, how, body
            )
        undo.callback(_bury, maker, report)
        makers_link.close()
        supervisors_report.close()
        pid = _converse(link, maker, how)
        facts = _listen(report, progress)
        world = World(name, folder, pid, runtime.start_ticks(pid) or 0, how != "root")
        runtime.describe(world)
        if keep:
            _let_go(report, link)
            os.waitpid(maker, 0)
        else:
            world = world._replace(maker=maker)
        undo.pop_all()
    return world, facts


def end(world: World, timeout_s: float = _DEATH_S) -> None:
    """Kill a lab and wait until nothing of it is left to see; the kernel frees the rest later.

    PodwireError when it does not die within the deadline.
    """
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(world.pid)
        try:
            if world.alive():
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                _await_end(world, fd, timeout_s)
        finally:
            os.close(fd)
    if world.maker:
        _kill(world.maker)
    runtime.forget(world)


def _await_end(world: World, pidfd: int, timeout_s: float) -> None:
    """Until the supervisor has ended.

    As process 1 it also waits for whoever started a program in the lab to take note of
    the program's end. That may take for ever (a stopped ``podwire exec``), and is not
    waited for: the program is dead, and the supervisor has let everything go.
    """
    deadline = time.monotonic() + timeout_s
    while not _ends(pidfd, 0.1):
        if runtime.released(world):
            return
        if time.monotonic() > deadline:
            raise PodwireError(
                Problem(
                    f"lab {world.name}",
                    f"process {world.pid} alive {timeout_s:g} s after SIGKILL",
                    "its end",
                    "is it stuck in the kernel? see dmesg",
                )
            )


# --- the caller's side ------------------------------------------------------------------


def _log(folder: Path) -> Any:
    try:
        return open(folder / "supervisor.log", "ab", buffering=0)
    except OSError as error:
        raise runtime.unusable(folder, error) from error


def _converse(link: socket.socket, maker: int, how: privilege.Level) -> int:
    """Map the ids of the maker's user namespace when it asks; returns the supervisor's pid."""
    while True:
        try:
            word, value = control.receive(link)
        except EOFError:
            raise PodwireError(
                Problem("starting the lab", "its maker died", "a supervisor", "try again")
            ) from None
        if word == "map":
            privilege.map_ids(maker, how)
            control.send(link, "mapped")
        elif word == "pid":
            return int(value)
        else:
            step, number = value
            raise privilege.refusal(step, OSError(number, os.strerror(number)))


def _listen(report: socket.socket, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    while True:
        try:
            kind, value = control.receive(report)
        except (EOFError, ConnectionError):
            raise _died() from None
        if kind == "progress":
            if progress:
                progress(*value)
        elif kind == "error":
            raise value
        else:
            facts: dict[str, Any] = value
            return facts


def _let_go(report: socket.socket, link: socket.socket) -> None:
    """First the supervisor lets go of its maker, then the maker may end."""
    try:
        control.send(report, "keep")
        control.receive(report)
        control.send(link, "leave")
    except (EOFError, ConnectionError):
        raise _died() from None


def _died() -> PodwireError:
    return PodwireError(
        Problem(
            "starting the lab",
            "the supervisor died",
            "a lab",
            "was it killed, or the memory short? see dmesg",
        )
    )


def _bury(maker: int, report: socket.socket) -> None:
    """Kill a maker, and with it the supervisor; wait until both are gone."""
    _kill(maker)
    # the supervisor has the only other end of this; it closes late in its death
    report.settimeout(_DEATH_S)
    with suppress(OSError):
        while report.recv(1 << 16):
            pass


def _kill(maker: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(maker, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(maker, 0)


def _ends(pidfd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


# --- the maker and the supervisor -------------------------------------------------------


def _be_alone(lock: int, me: int, log: int, *sockets: socket.socket) -> None:
    """In the child of a program that may be anything: keep nothing of it but what is named.

    A pipe of the caller held open here would never end for whoever reads it. Objects that
    own the descriptors closed here must not be collected, or they would close others
    that have got the same numbers since.
    """
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.enable()


def _make_world(
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
