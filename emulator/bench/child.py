"""In the guest: how a process becomes the command that was ordered.

It stands in a mount namespace in which the host's folders are where the host has them.
"""

from __future__ import annotations

import fcntl
import io
import os
import signal
import sys
import termios
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from emulator.bench.frames import Order
from emulator.substrate import libc

HOST = Path("/run/podwire-host")
"""The host's files, which may be written through as far as its user may."""


def become(order: Order, stdio: tuple[int, int, int], terminal: bool) -> NoReturn:
    """In the child: be the command."""
    code = 1
    try:
        os.setsid()
        if terminal:
            fcntl.ioctl(stdio[0], termios.TIOCSCTTY, 0)
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        Path("/proc/self/oom_score_adj").write_text("0")
        libc.unshare(libc.CLONE_NEWNS)
        libc.mount("none", "/", "", libc.MS_REC | libc.MS_PRIVATE)
        for path in sorted(order.see):  # what is in one of them comes after it
            show(path, write=path in order.write)
        os.environ.clear()
        os.environ.update(order.env)
        os.chdir(order.cwd)
        code = _call(order) if order.call else _execute(order.argv)
    except BaseException:  # this is a copy of the agent that must not go on as it
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _call(order: Order) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = _output(1)
    sys.stderr = _output(2)
    sys.argv = ["podwire", *order.argv]
    module, _, name = order.call.partition(":")
    function: Callable[[list[str]], int | None] = getattr(import_module(module), name)
    try:
        return function(order.argv) or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)


def _output(fd: int) -> io.TextIOWrapper:
    return open(
        fd, "w", buffering=1 if fd == 2 or os.isatty(fd) else -1, closefd=False,
        errors="backslashreplace" if fd == 2 else "strict",
    )  # fmt: skip


def _execute(argv: list[str]) -> int:
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
    return 127


def show(path: str, *, write: bool) -> None:
    """Lay a file or folder of the host where the host has it, unless it is to be seen there anyway.

    Some folders the guest has for itself, ``/tmp`` for one: those stay as they are, and files that
    a command names are laid into them one by one. What the host has not is for the command to
    complain of.
    """
    theirs = f"{HOST}{path}"
    if not os.path.exists(theirs) or (not write and _seen(path)):
        return
    if not os.path.isdir(theirs) or os.path.islink(theirs):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(theirs):
        with suppress(FileExistsError):
            os.symlink(os.readlink(theirs), path)
        return
    if not os.path.isdir(theirs):
        Path(path).touch()
    elif write or not os.path.ismount(path):
        os.makedirs(path, exist_ok=True)
    else:
        return
    libc.mount(theirs, path, "", libc.MS_BIND)
    if not write:
        libc.make_read_only(path, recursive=False)


def _seen(path: str) -> bool:
    """Whether what is there is the host's."""
    there = (os.stat("/").st_dev, os.stat(HOST).st_dev)
    return os.path.exists(path) and os.stat(path).st_dev in there
