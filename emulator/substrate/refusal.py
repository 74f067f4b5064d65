"""What the kernel refuses, in words: the resource, the error, the remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from emulator.errors import KernelRefused, Problem, Unsupported
from emulator.plan.resources import Resource
from emulator.plan.text import line
from emulator.substrate import stack

_HINTS = {
    errno.EEXIST: "something outside of Podwire made it; remove it or take the lab down",
    errno.ENETUNREACH: "the gateway is not in a connected network of that interface",
    errno.EXFULL: "a bridge takes at most 1023 ports: use more nodes with fewer pods each",
    errno.EMFILE: "raise the limit on open files: ulimit -n",
    errno.ENFILE: "raise fs.file-max",
    errno.ENOSPC: "raise user.max_net_namespaces (sysctl), or take other labs down",
    errno.ENOMEM: "the machine is out of memory for this lab",
    errno.ECHILD: "what makes the namespaces was killed: was the memory short? see dmesg",
    errno.EPERM: "podwire doctor says what this privilege can do",
    errno.ENOBUFS: "the neighbour table may be full: podwire doctor",
}

_NO_TUN = {
    errno.ENOENT: "sudo modprobe tun",
    errno.ENODEV: "sudo modprobe tun",
    errno.EACCES: "sudo chmod 0666 /dev/net/tun, which is how distributions have it",
}
"""Without root the device file decides; the device itself is made in a namespace of the user's."""


def guard(r: Resource, action: Callable[[], object]) -> None:
    """Do something for a resource; an OSError comes out as ``refused`` says it."""
    try:
        action()
    except OSError as error:
        raise refused(r, error.errno or 0, error.strerror or str(error)) from error


def refused(r: Resource, number: int, words: str) -> KernelRefused | Unsupported:
    """The error to raise for a resource, with an errno and the kernel's own words."""
    place = line(r).partition("\n")[0]
    name = errno.errorcode.get(number, str(number))
    found = f"{name} ({words or os.strerror(number)})"
    if number in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT) and not stack.IPV6 and ":" in place:
        return Unsupported(Problem(place, found, "a kernel with IPv6", stack.WITHOUT_IPV6))
    if number == errno.EOPNOTSUPP and r.kind in ("vxlan", "veth", "bridge"):
        return Unsupported(
            Problem(
                place,
                found,
                f"a kernel with {r.kind} devices",
                f"load it with: sudo modprobe {r.kind}; or use a kernel that has it",
            )
        )
    if r.kind == "tun" and number in _NO_TUN:
        return Unsupported(
            Problem(place, found, "/dev/net/tun, open to this user", _NO_TUN[number])
        )
    if number == errno.ENOENT and r.kind == "qdisc":
        return Unsupported(
            Problem(place, found, "a kernel with this qdisc", "sudo modprobe sch_tbf sch_htb")
        )
    return KernelRefused(Problem(place, found, "the kernel to accept it", _HINTS.get(number, "")))
