"""A filter for programs that insist on ``setgroups``, which a user namespace of one id forbids.

tcpdump gives up when it may not drop its supplementary groups, though there is nothing to
drop. Under the filter the call returns success and has no effect.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_RET_ALLOW = 0x7FFF0000
_RET_ERRNO_0 = 0x00050000
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_AUDIT_ARCH_AT, _NUMBER_AT = 4, 0

_MACHINES = {"x86_64": (0xC000003E, 116), "aarch64": (0xC00000B7, 159)}
"""Audit architecture and number of setgroups; other architectures stay without a filter."""


def pretend_setgroups() -> None:
    """Let ``setgroups`` succeed without effect in this process and its children. OSError.

    Needs CAP_SYS_ADMIN in the process's user namespace, which every process of a lab has.
    """
    if platform.machine() not in _MACHINES:
        return
    architecture, number = _MACHINES[platform.machine()]
    # loads and jumps of classic BPF over struct seccomp_data; jumps count from the next one
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, _AUDIT_ARCH_AT),
            (_JUMP_EQUAL, 0, 3, architecture),
            (_LOAD, 0, 0, _NUMBER_AT),
            (_JUMP_EQUAL, 0, 1, number),
            (_RETURN, 0, 0, _RET_ERRNO_0),
            (_RETURN, 0, 0, _RET_ALLOW),
        )
    )
    held = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "seccomp")
