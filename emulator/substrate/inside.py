"""Python in a lab: functions that run in a child which has entered the lab's namespaces."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from emulator.errors import LabGone, PodwireError, Problem
from emulator.substrate import libc
from emulator.substrate.runtime import World
from emulator.substrate.sandbox import NAMES, private_files

T = TypeVar("T")


def enter_world(world: World) -> None:
    """Put the calling process into the lab (children are then in its PID namespace too).

    LabGone when it is not there any more. Must be single-threaded for a lab without root.
    """
    try:
        fd = os.pidfd_open(world.pid)
    except ProcessLookupError as error:
        raise _gone(world) from error
    try:
        if not world.alive():
            raise _gone(world)
        if world.user:
            # one at a time: the rest needs the capabilities that the first gives
            libc.setns(fd, libc.CLONE_NEWUSER)
        libc.setns(
            fd,
            libc.CLONE_NEWNS
            | libc.CLONE_NEWPID
            | libc.CLONE_NEWNET
            | libc.CLONE_NEWUTS
            | libc.CLONE_NEWIPC,
        )
    except OSError as error:
        if not world.alive():
            raise _gone(world) from error
        raise PodwireError(
            Problem(
                f"entering lab {world.name}",
                error.strerror or str(error),
                "a lab that was started from here",
                "one from a container or user namespace is entered from there",
            )
        ) from error
    finally:
        os.close(fd)


def enter_netns(ns: str) -> None:
    """Put the calling thread, which is in the lab, into a namespace by its name."""
    try:
        fd = os.open(NAMES / ns, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise LabGone(Problem(ns, "no such namespace in the lab", "one of the spec")) from error
    libc.setns(fd, libc.CLONE_NEWNET)
    os.close(fd)


def _gone(world: World) -> LabGone:
    return LabGone(Problem(f"lab {world.name}", "gone", "a running lab", "podwire up"))


def inside(world: World, work: Callable[[], T], *, own_pid: bool = False) -> T:
    """Run a function in a child that has entered the lab; returns its pickled result.

    With ``own_pid`` it is in the lab's PID namespace too (costs one more fork), which
    threads and ``/proc/self`` need. It ends with this process. Raises what the function
    raised where that is an error of ours, else PodwireError with its traceback; so too
    for a result that cannot be pickled.
    """
    sys.stdout.flush()  # or the child would write again what is buffered here
    sys.stderr.flush()
    me = os.pidfd_open(os.getpid())
    r, w = os.pipe()
    child = 0
    with os.fdopen(r, "rb") as stream:
        try:
            child = os.fork()
            if child == 0:
                _work_inside(world, work, w, me, own_pid)
        finally:
            os.close(w)
            os.close(me)
        try:
            answer = stream.read()
        except BaseException:  # Ctrl-C: nothing of ours goes on
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            os.waitpid(child, 0)
    try:
        kind, value = pickle.loads(answer)
    except (EOFError, pickle.UnpicklingError):
        raise PodwireError(
            Problem(f"lab {world.name}", "a helper process died", "an answer", "was it killed?")
        ) from None
    if kind == "error":
        raise value
    result: T = value
    return result


def _work_inside(
    world: World, work: Callable[[], object], answer: int, starter: int, own_pid: bool
) -> NoReturn:
    try:
        libc.die_with_parent(starter)
        enter_world(world)
        if own_pid:
            _fork_and_wait()
        data = pickle.dumps(("result", work()))
    except PodwireError as error:
        data = pickle.dumps(("error", error))
    except BaseException:  # the child must not go on as a second copy of the caller
        data = pickle.dumps(("error", PodwireError(traceback.format_exc())))
    try:
        with os.fdopen(answer, "wb") as stream:
            stream.write(data)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _fork_and_wait() -> None:
    """Go on in a child, which is then in the PID namespace that was entered."""
    me = os.pidfd_open(os.getpid())
    child = os.fork()
    if child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.waitpid(child, 0)
        os._exit(0)
    libc.die_with_parent(me)
    os.close(me)


def read_file(ns: str, path: str) -> bytes:
    """In a process of the lab: a file as a namespace sees it. PodwireError."""
    enter_netns(ns)
    private_files(ns)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise PodwireError(Problem(f"{ns}:{path}", error.strerror or "", "a file")) from error


def write_file(ns: str, path: str, data: bytes) -> None:
    """In a process of the lab: write a file of a namespace's own. PodwireError."""
    enter_netns(ns)
    private_files(ns)
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise PodwireError(
            Problem(
                f"{ns}:{path}",
                error.strerror or "",
                "a place to write",
                "a place of the lab writes only below /run, /tmp and /var",
            )
        ) from error


def proc_net(world: World, ns: str, name: str) -> str:
    """The text of ``/proc/net/<name>`` in a namespace of the lab."""
    # the host's procfs: the child does not exist in the lab's, whose PID namespace it is not in
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)

    def work() -> str:
        enter_netns(ns)
        fd = os.open(f"thread-self/net/{name}", os.O_RDONLY, dir_fd=proc)
        with os.fdopen(fd) as file:
            return file.read()

    try:
        return inside(world, work)
    finally:
        os.close(proc)


def foreground(world: World, work: Callable[[], None]) -> int:
    """Run a function in the lab, PID namespace included, on this terminal; returns its code."""
    sys.stdout.flush()
    sys.stderr.flush()
    me = os.pidfd_open(os.getpid())
    try:
        with lent_terminal():
            first = os.fork()
            if first == 0:
                _in_foreground(world, work, me)
            _, status = os.waitpid(first, 0)
    finally:
        os.close(me)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def lent_terminal() -> Iterator[None]:
    """While a child has the terminal: Ctrl-C is for it; afterwards the terminal is ours again.

    A shell makes itself the foreground group and, from within its PID namespace, cannot
    name the group to give the terminal back to.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    ours = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    try:
        yield
    finally:
        if ours and os.tcgetpgrp(0) != os.getpgrp():
            stop = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, stop)
        signal.signal(signal.SIGINT, before)


def _in_foreground(world: World, work: Callable[[], None], starter: int) -> NoReturn:
    code = 1
    try:
        libc.die_with_parent(starter)
        enter_world(world)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        me = os.pidfd_open(os.getpid())
        second = os.fork()
        if second == 0:
            libc.die_with_parent(me)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            work()
            code = 0
        else:
            _, status = os.waitpid(second, 0)
            code = os.waitstatus_to_exitcode(status)
    except KeyboardInterrupt:
        code = 130
    except PodwireError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except BaseException:  # the child must not go on as a second copy of the caller
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)
