"""What the kernel refuses, in words: the resource, the error, the remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from emulator.errors import KernelRefused, Problem, Unsupported
from emulator.plan.ovs import KINDS as OVS_KINDS
from emulator.plan.resources import Resource, Tunnel
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

_DEVICES = {
    "vxlan": "vxlan",
    "veth": "veth",
    "bridge": "bridge",
    "geneve": "geneve",
    "dummy": "dummy",
    "wireguard": "wireguard",
    "tunnel": "",
    "ip6tnl": "ip6_tunnel",
}
"""Devices that a kernel may lack, with their modules; of tunnels most are called as theirs."""

_NO_OVS = {
    errno.ENOENT: "sudo modprobe openvswitch",
    errno.EAFNOSUPPORT: "sudo modprobe vport_vxlan",
}
"""Where there is neither, Weave itself falls back to its other way."""

_NO_FOU = {
    errno.ENOENT: "sudo modprobe fou, or run with --on vm",
    errno.EPERM: "sudo podwire, since the kernel asks for root's privilege; or run with --on vm",
    errno.EAFNOSUPPORT: "sudo modprobe fou6, or run with --on vm",
}
WITHOUT_NETEM = "sudo modprobe sch_netem, or run with --on vm"

_NO_TUN = {
    errno.ENOENT: "sudo modprobe tun",
    errno.ENODEV: "sudo modprobe tun",
    errno.EACCES: "sudo chmod 0666 /dev/net/tun, which is how distributions have it",
}
"""Without root the device file decides; the device itself is made in a namespace of the user's."""


_SHAPERS = "sudo modprobe -a sch_tbf sch_htb, or run with --on vm"
_IPSEC = "sudo modprobe -a xfrm_user esp4 gcm, or run with --on vm"


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
    if number == errno.EOPNOTSUPP and r.kind in _DEVICES:
        kind = r.device if type(r) is Tunnel else r.kind
        return Unsupported(
            Problem(
                place,
                found,
                f"a kernel with {kind} devices",
                f"load it with: sudo modprobe {_DEVICES.get(kind, kind)}, or run with --on vm",
            )
        )
    if isinstance(r, OVS_KINDS) and number in _NO_OVS:
        return Unsupported(
            Problem(
                place,
                found,
                "a kernel with Open vSwitch's datapath",
                f"{_NO_OVS[number]}, or run with --on vm; or say "
                "backend: sleeve, which is what Weave falls back to",
            )
        )
    if r.kind == "fou" and number in _NO_FOU:
        return Unsupported(Problem(place, found, "a kernel with foo-over-UDP", _NO_FOU[number]))
    if r.kind == "tun" and number in _NO_TUN:
        return Unsupported(
            Problem(place, found, "/dev/net/tun, open to this user", _NO_TUN[number])
        )
    if number == errno.ENOENT and r.kind == "netem":
        return Unsupported(Problem(place, found, "a kernel with sch_netem", WITHOUT_NETEM))
    absent = errno.EPROTONOSUPPORT, errno.ENOSYS, *[errno.ENOENT] * (r.kind == "xfrm-state")
    if r.kind in ("xfrm-policy", "xfrm-state") and number in absent:
        return Unsupported(Problem(place, found, "a kernel with IPsec (ESP, AES-GCM)", _IPSEC))
    # not where it is the qdisc above that is not there
    if number == errno.ENOENT and r.kind == "qdisc" and "Failed to find" not in words:
        return Unsupported(Problem(place, found, "a kernel with this qdisc", _SHAPERS))
    return KernelRefused(Problem(place, found, "the kernel to accept it", _HINTS.get(number, "")))
