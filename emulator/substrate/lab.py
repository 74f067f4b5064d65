"""Starting a lab: a supervisor in namespaces of its own, which dies with everything in it.

Two processes besides the caller. Its child, the *maker*, makes the namespaces; the maker's
child is process 1 of the new PID namespace and becomes the *supervisor*. The supervisor
dies with the maker (by the kernel's parent-death signal), the maker with the caller (it
watches it). A lab that is to stay lets go of its maker when everything is written down;
whoever is killed before that moment, nothing is left.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from emulator.errors import PodwireError, Problem
from emulator.substrate import control, libc, privilege, runtime
from emulator.substrate.maker import Body, Start, be_alone, make_world
from emulator.substrate.runtime import World

_DEATH_S = 10.0


def start(
    name: str,
    body: Body,
    *,
    keep: bool,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[World, dict[str, Any]]:
    """Start a lab and wait until it is up. Returns it and the facts that ``ready`` was told.

    ``keep``: it outlives this process. PodwireError (of the lab's own, too), OSError:
    nothing is left.
    """
    libc.stdio_open()
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
            try:
                be_alone(lock, me, log.fileno(), listener, makers_link, supervisors_report)
                begun = Start(folder, listener, supervisors_report, keep)
                make_world(begun, makers_link, me, how, body)
            except BaseException:  # the child must not go on as a second copy of the caller
                traceback.print_exc()
            finally:
                os._exit(1)
        undo.callback(_bury, maker, report)
        makers_link.close()
        supervisors_report.close()
        pid = _converse(link, maker, how)
        facts = _listen(report, progress)
        world = World(name, folder, pid, runtime.start_ticks(pid) or 0, how != "root")
        runtime.describe(world)
        if keep:
            _let_go(report, link)
            undo.pop_all()
            with suppress(ChildProcessError):  # where SIGCHLD is ignored the kernel has reaped it
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
            if word == "map":
                privilege.map_ids(maker, how)
                control.send(link, "mapped")
                continue
        except (EOFError, ConnectionError):
            raise PodwireError(
                Problem("starting the lab", "its maker died", "a supervisor", "try again")
            ) from None
        if word == "pid":
            return int(value)
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


__all__ = ["Body", "Start", "end", "start"]
