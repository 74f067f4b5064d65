"""Python in a lab: functions that run in a child which has entered the lab's namespaces.

(Over 300 lines: entering, answering and the terminal share one order of forks.)
"""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, TypeVar

from emulator.errors import LabGone, PodwireError, Problem
from emulator.substrate import libc
from emulator.substrate.runtime import World, released
from emulator.substrate.sandbox import NAMES, OWN, private_files
from emulator.substrate.terminal import lent_terminal

T = TypeVar("T")


def enter_world(world: World) -> None:
    """Put the calling process into the lab (children are then in its PID namespace too).

    LabGone when it is not there any more. Must be single-threaded for a lab without root.
    """
    try:
        fd = os.pidfd_open(world.pid)
    except ProcessLookupError as error:
        raise gone(world) from error
    try:
        if not world.alive():
            raise gone(world)
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
            raise gone(world) from error
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


def ended(world: World) -> bool:
    """Whether the lab has ended or is about to: then it takes in nobody more."""
    return not world.alive() or released(world)


def gone(world: World) -> LabGone:
    """The error for a lab that has ended."""
    return LabGone(Problem(f"lab {world.name}", "gone", "a running lab", "podwire up"))


def inside(world: World, work: Callable[[], T], *, own_pid: bool = False) -> T:
    """Run a function in a child that has entered the lab; returns its pickled result.

    With ``own_pid`` it is in the lab's PID namespace too (costs one more fork), which
    threads and ``/proc/self`` need. It ends with this process. Raises what the function
    raised where that is an error of ours, else PodwireError with its traceback; so too
    for a result that cannot be pickled.
    """
    _flush()  # or the child would write again what is buffered here
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
        died = Problem(f"lab {world.name}", "a helper process died", "an answer", "was it killed?")
        kind, value = "error", PodwireError(died)
    if kind == "error":
        raise gone(world) if ended(world) else value
    result: T = value
    return result


def _work_inside(
    world: World, work: Callable[[], object], answer: int, starter: int, own_pid: bool
) -> NoReturn:
    try:
        libc.die_with_parent(starter)
        with os.fdopen(answer, "wb") as stream:
            stream.write(_answer(world, work, own_pid))
        _flush()
    finally:  # whatever happens, the child must not go on as a second copy of the caller
        os._exit(0)


def _answer(world: World, work: Callable[[], object], own_pid: bool) -> bytes:
    try:
        enter_world(world)
        if own_pid:
            _fork_and_wait(world)
        data = pickle.dumps(("result", work()))
        _flush()
    except PodwireError as error:
        return pickle.dumps(("error", error))
    except BaseException:  # in a child: whatever it is, its parent has to hear of it
        return pickle.dumps(("error", PodwireError(traceback.format_exc())))
    return data


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _fork(world: World) -> int:
    """Fork into the PID namespace that was entered. PodwireError."""
    try:
        return os.fork()
    except OSError as error:
        raise PodwireError(
            Problem(
                f"lab {world.name}",
                error.strerror or "",
                "a process in it",
                "podwire ls says whether it still runs",
            )
        ) from error


def _fork_and_wait(world: World) -> None:
    """Go on in a child, which is then in the PID namespace that was entered."""
    me = os.pidfd_open(os.getpid())
    child = _fork(world)
    if child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.waitpid(child, 0)
        os._exit(0)
    libc.die_with_parent(me)
    os.close(me)


def _enter_place(ns: str) -> None:
    try:
        enter_netns(ns)
        private_files(ns)
    except OSError as error:
        raise PodwireError(
            Problem(f"entering {ns}", f"{error.strerror}: {error.filename}", "a place of the lab")
        ) from error


def read_file(ns: str, path: str) -> bytes:
    """In a process of the lab: a file as a namespace sees it. PodwireError."""
    _enter_place(ns)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise PodwireError(Problem(f"{ns}:{path}", error.strerror or "", "a file")) from error


def write_file(ns: str, path: str, data: bytes) -> None:
    """In a process of the lab: write a file of a namespace's own. PodwireError."""
    _enter_place(ns)
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        hint = f"a place of the lab writes only below {', '.join(OWN)}"
        raise PodwireError(
            Problem(
                f"{ns}:{path}",
                error.strerror or "",
                "a place to write",
                hint if error.errno == errno.EROFS else "",
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
    _flush()
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


def _in_foreground(world: World, work: Callable[[], None], starter: int) -> NoReturn:
    code = 1
    try:
        libc.die_with_parent(starter)
        code = _code(world, work)
        _flush()
    finally:  # whatever happens, the child must not go on as a second copy of the caller
        os._exit(code if code >= 0 else 128 - code)


def _code(world: World, work: Callable[[], None]) -> int:
    try:
        enter_world(world)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        me = os.pidfd_open(os.getpid())
        second = _fork(world)
        if second:
            _, status = os.waitpid(second, 0)
            return os.waitstatus_to_exitcode(status)
        libc.die_with_parent(me)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work()
        return 0
    except KeyboardInterrupt:
        return 130
    except PodwireError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BaseException:
        traceback.print_exc()
        return 1
