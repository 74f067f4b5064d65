"""The system calls that Python 3.11 lacks: namespaces, mounts, clone, prctl; files 0 to 2."""

from __future__ import annotations

import ctypes
import os
import platform
import select
import signal
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_CLONE_PARENT = 0x00008000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 1

_SYSCALLS = {
    "x86_64": {"clone": 56, "mount_setattr": 442},
    "aarch64": {"clone": 220, "mount_setattr": 442},
}

_C = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for fresh ones. OSError."""
    _check(_C.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """Enter the namespace(s) behind a descriptor (of a namespace, or a pidfd). OSError."""
    _check(_C.setns(fd, flags), "setns")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). OSError with the target as its file name."""
    _check(
        _C.mount(
            source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
        ),
        target,
    )


def umount(target: str) -> None:
    """Detach a mount lazily. OSError."""
    _check(_C.umount2(target.encode(), MNT_DETACH), target)


def make_read_only(target: str, *, recursive: bool = True) -> None:
    """Make a mount, and all below it, read-only (mount_setattr, Linux 5.12). OSError."""

    class MountAttr(ctypes.Structure):
        _fields_ = (
            ("attr_set", ctypes.c_uint64),
            ("attr_clr", ctypes.c_uint64),
            ("propagation", ctypes.c_uint64),
            ("userns_fd", ctypes.c_uint64),
        )

    attr = MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    _check(
        _C.syscall(
            _number("mount_setattr"),
            _AT_FDCWD,
            target.encode(),
            _AT_RECURSIVE if recursive else 0,
            ctypes.byref(attr),
            ctypes.sizeof(attr),
        ),
        target,
    )


def die_with_parent(parent: int = -1) -> None:
    """Ask for SIGKILL when the parent *thread* ends; ``parent`` is a pidfd of its process.

    Where that one has ended already, nobody would send the signal: this process exits.
    """
    _check(_C.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if parent >= 0:
        gone = select.poll()
        gone.register(parent, select.POLLIN)
        if gone.poll(0):
            os._exit(1)


def outlive_parent() -> None:
    """Take ``die_with_parent`` back."""
    _check(_C.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Be the parent of what our descendants leave behind. OSError."""
    _check(_C.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def set_name(name: str) -> None:
    """The name of this process in ``ps`` (15 characters)."""
    _C.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def sethostname(name: str) -> None:
    """The host name of this UTS namespace. OSError."""
    raw = name.encode()
    _check(_C.sethostname(raw, len(raw)), "sethostname")


def fork_sibling() -> int:
    """Fork a child whose parent is *our* parent (clone with CLONE_PARENT).

    After ``setns`` to a PID namespace only children are in it; this makes such a child
    one that the caller's own parent can wait for. Only to be followed by exec.
    """
    pid = _C.syscall(_number("clone"), _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    return _check(pid, "clone")


def stdio_open() -> None:
    """Put /dev/null where the caller has closed standard input, output or errors.

    Else what is opened next would have that number, and be taken for it. OSError.
    """
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _number(name: str) -> int:
    machine = platform.machine()
    if machine not in _SYSCALLS:
        raise OSError(38, f"no system call numbers for {machine}", name)
    return _SYSCALLS[machine][name]
