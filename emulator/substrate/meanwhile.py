"""New network namespaces, made by a child process while this one computes.

The kernel needs a quarter of a millisecond for each, and its caller nothing but the
descriptor. Measured in docs/decisions/0010-namespaces-meanwhile.md.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from array import array
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from emulator.substrate import libc

_AT_ONCE = 100
"""Descriptors in one message; the kernel takes 253."""


def namespace() -> int:
    """A descriptor of a new namespace, which the calling thread is in afterwards. OSError."""
    libc.unshare(libc.CLONE_NEWNET)
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def namespaces(count: int) -> Iterator[Iterator[int]]:
    """Inside, a child makes so many; ``next`` waits for a descriptor. OSError as the child
    had it, EMFILE where this process cannot hold so many."""
    if not count:
        yield iter(())
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            _make(count, theirs)
        finally:
            os._exit(0)
    theirs.close()
    made = _taken(ours)
    try:
        yield made
    finally:
        made.close()
        ours.close()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _make(count: int, link: socket.socket) -> None:
    """In the child. A message is an errno and descriptors."""
    while count:
        made: list[int] = []
        number = 0
        try:
            while count and len(made) < _AT_ONCE:
                made.append(namespace())
                count -= 1
        except OSError as error:
            number, count = error.errno or errno.EIO, 0
        _send(link, number, made)
        for fd in made:
            os.close(fd)


def _send(link: socket.socket, number: int, fds: list[int]) -> None:
    while True:
        try:
            socket.send_fds(link, [number.to_bytes(4, "big")], fds)
            return
        except OSError as error:
            # the user's descriptors on the way, of all labs, are as many as one may have open
            if error.errno != errno.ETOOMANYREFS:
                raise
            time.sleep(0.001)


def _taken(link: socket.socket) -> Generator[int, None, None]:
    while True:
        # not socket.recv_fds, which forgets its flags
        room = socket.CMSG_SPACE(_AT_ONCE * array("i").itemsize)
        data, rights, flags, _ = link.recvmsg(4, room, socket.MSG_CMSG_CLOEXEC)
        fds = array("i", b"".join(payload for *_, payload in rights))
        try:
            while fds:
                yield fds.pop(0)
        finally:
            for fd in fds:  # nobody wants them any more
                os.close(fd)
        number = int.from_bytes(data, "big")
        if flags & socket.MSG_CTRUNC:
            number = errno.EMFILE
        elif not data:
            number = errno.ECHILD  # it was killed
        if number:
            raise OSError(number, os.strerror(number))
