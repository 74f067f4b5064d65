"""TUN devices, which are made through a device file and not by netlink."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

BORN_MTU = 1500
IFF_TUN = 1
_IFF_NO_PI = 0x1000
_SETIFF, _SETPERSIST, _SETIFINDEX = 0x400454CA, 0x400454CB, 0x400454DA
_MOST = 15


def create(name: str, index: int) -> None:
    """A TUN device in the calling thread's network namespace that stays when nobody has it open.

    OSError: EEXIST, ERANGE (the name), ENOENT, EACCES, ENODEV (the device file).
    """
    if len(name.encode()) > _MOST:  # the kernel would cut it
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE), name)
    if _exists(name):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _SETIFINDEX, struct.pack("=I", index))
        fcntl.ioctl(fd, _SETIFF, struct.pack("=16sH22x", name.encode(), IFF_TUN | _IFF_NO_PI))
        fcntl.ioctl(fd, _SETPERSIST, 1)
    finally:
        os.close(fd)


def _exists(name: str) -> bool:
    """Whether the namespace has an interface of the name: to one the kernel would attach."""
    with Path("/proc/thread-self/net/dev").open() as rows:
        return any(row.partition(":")[0].strip() == name for row in rows)
