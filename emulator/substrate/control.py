"""The control socket: one request and its answers, as pickled values with their length.

Pickle is safe here for one reason: the socket lies in a directory of mode 0700, has mode
0600, and both ends check that the other is the same user.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emulator.errors import LabGone, PodwireError, Problem
from emulator.patience import patient
from emulator.substrate.runtime import World

SOCKET = "control.sock"
_LENGTH = struct.Struct("=Q")


def send(link: socket.socket, message: object) -> None:
    """Send one message."""
    data = pickle.dumps(message)
    link.sendall(_LENGTH.pack(len(data)) + data)


def receive(link: socket.socket) -> Any:
    """Receive one message. EOFError when the other end is gone; PodwireError when it cannot
    be read, since the other end is another version of this program."""
    (size,) = _LENGTH.unpack(_exactly(link, _LENGTH.size))
    data = _exactly(link, size)
    try:
        return pickle.loads(data)
    except Exception as error:  # of any kind: classes and their fields may be others there
        raise PodwireError(
            Problem(
                "a message between podwire and a lab",
                repr(error),
                "one of this version",
                "podwire down and up again: another version has started the lab",
            )
        ) from error


def _exactly(link: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = link.recv(min(1 << 20, size - len(data)))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def listen(folder: Path) -> socket.socket:
    """The control socket in the directory of a new lab. OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(listener.fileno(), 0o600)  # what bind gives its file; a umask is of all threads
        with _short(folder) as path:
            listener.bind(path)
        listener.listen(socket.SOMAXCONN)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A path of the control socket for bind and connect, which take no more than 107 bytes."""
    fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}"
    finally:
        os.close(fd)


def same_user(link: socket.socket) -> bool:
    """Whether the other end runs as the same user."""
    raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return bool(struct.unpack("=iII", raw)[1] == os.geteuid())


def _connect(link: socket.socket, path: str, timeout_s: float) -> None:
    """Connect. A full queue of a busy supervisor refuses at once, whatever the timeout."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return link.connect(path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(0.02)


def ask(
    world: World,
    verb: str,
    *arguments: object,
    progress: Callable[[str, int, int], None] | None = None,
    timeout_s: float = 600.0,
) -> Any:
    """Ask a lab's supervisor. Raises what it raised; LabGone when it is not there, PodwireError
    when it does not answer in time or its answer cannot be read."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as link:
        link.settimeout(patient(timeout_s))
        try:
            with _short(world.folder) as path:
                _connect(link, path, timeout_s)
            if not same_user(link):
                raise ConnectionError("another user's socket")
            send(link, (verb, arguments))
            while True:
                kind, value = receive(link)
                if kind == "progress":
                    if progress:
                        progress(*value)
                elif kind == "error":
                    raise value
                else:
                    return value
        except (EOFError, ConnectionError, FileNotFoundError) as error:
            raise LabGone(
                Problem(
                    f"lab {world.name}",
                    "its supervisor went away",
                    "an answer",
                    "podwire ls; see supervisor.log in its run directory",
                )
            ) from error
        except TimeoutError as error:
            raise PodwireError(
                Problem(
                    f"lab {world.name}: {verb}",
                    f"no answer within {timeout_s:g} s",
                    "an answer",
                    "podwire down and up again",
                )
            ) from error
