"""The process on the host that holds QEMU: when it ends, however it ends, so does the guest.

It writes down what the guest's console says.  Until the guest is ready it hangs on whoever
starts it, so that Ctrl-C while booting leaves nothing.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from emulator.substrate import libc
from emulator.substrate.maker import be_alone

CONSOLE = "console.log"
_MOST_B = 4 << 20
"""So much of the console is kept; a guest that says more than that says nothing new."""


def keep(link: socket.socket, folder: Path, lock: int, words: Sequence[str]) -> None:
    """Fork the keeper of a guest. It hangs on ``link`` until a byte comes over it.

    The caller's copies of ``link``'s other end and of ``lock`` are the caller's to close.
    """
    me = os.pidfd_open(os.getpid())
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            _keeper(link, folder, lock, me, words)
        os._exit(0)
    os.close(me)
    os.waitpid(between, 0)


def code(words: Sequence[str], seconds: float) -> int | None:
    """The code that a program ends with in that time, negative for a signal. It is killed when it
    does not end, for None, or when this process ends before."""
    me, null = os.pidfd_open(os.getpid()), os.open(os.devnull, os.O_RDWR)
    child = os.fork()
    if child == 0:
        os.dup2(null, 0)
        _emulate(words, null, me)
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    try:
        in_time = bool(poll.poll(round(seconds * 1000)))
    finally:
        signal.pidfd_send_signal(ended, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        for fd in (me, null, ended):
            os.close(fd)
    return os.waitstatus_to_exitcode(status) if in_time else None


def spawn(words: Sequence[str], output: int, at_3: int, env: Mapping[str, str]) -> tuple[int, int]:
    """Start a program that dies with this process: its number, and a descriptor of it.

    It writes to ``output``, finds ``at_3`` as descriptor 3 and has ``env`` besides our own. Ctrl-C
    in our terminal is ours to hear, not its.
    """
    me = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        os.setsid()
        output, me = (os.dup(fd) if fd == 3 else fd for fd in (output, me))
        os.dup2(at_3, 3)
        os.set_inheritable(3, True)  # where it was 3 before, nothing was copied
        os.environ.update(env)
        _emulate(words, output, me)
    os.close(me)
    return child, os.pidfd_open(child)


def _keeper(
    link: socket.socket, folder: Path, lock: int, caller: int, words: Sequence[str]
) -> NoReturn:
    try:
        log = os.open(folder / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        be_alone(lock, caller, log, link)
        libc.set_name("podwire-vm")
        os.umask(0o077)
        os.chdir(folder)
        _hold(link, words)
    except BaseException:  # this is a copy of a program that must not go on
        traceback.print_exc()
    finally:
        os._exit(0)


def _hold(link: socket.socket, words: Sequence[str]) -> None:
    console, theirs = os.pipe()
    me = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        _emulate(words, theirs, me)
    os.close(theirs)
    ended = os.pidfd_open(child)
    # found by other commands: the rename makes it whole
    Path("qemu.new").write_text(f"{os.getpid()} {child}")
    os.rename("qemu.new", "qemu")
    poll = select.poll()
    for fd in (console, ended, link.fileno()):
        poll.register(fd, select.POLLIN)
    with open(CONSOLE, "wb", buffering=0) as log:
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if console in ready:
                part = os.read(console, 1 << 16)
                if not part:
                    poll.unregister(console)
                elif log.tell() < _MOST_B:
                    log.write(part)
            elif ended in ready:
                os.waitpid(child, 0)
                return
            if link.fileno() in ready:
                if not _told(link):
                    os.kill(child, signal.SIGKILL)
                poll.unregister(link.fileno())
                link.close()


def _told(link: socket.socket) -> bool:
    """Whether the caller has said that the guest is ready, rather than gone away."""
    try:
        return bool(link.recv(1))
    except OSError:
        return False


def _emulate(words: Sequence[str], console: int, keeper: int) -> NoReturn:
    try:
        libc.die_with_parent(keeper)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(console, 1)
        os.dup2(console, 2)
        os.execv(words[0], list(words))
    except BaseException:  # this is a copy of a program that must not go on
        with suppress(OSError):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(127)
