"""Datapaths of Open vSwitch: the kernel's part alone, into which somebody in user space writes
flows; and how they look as text and as commands.

What is there is described here. The flows come and go with traffic, as learnt neighbours do, and
are in no plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from emulator.plan.resources import Key


class OvsDatapath(NamedTuple):
    """A datapath (existence only). The interface of its name is its own port, number 0."""

    ns: str
    name: str

    @property
    def kind(self) -> str:
        return "ovs-datapath"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)


class OvsVxlan(NamedTuple):
    """A port of a datapath that is a VXLAN tunnel to wherever a flow says, on this UDP port; also
    the interface of that name, which goes with the datapath."""

    ns: str
    name: str
    datapath: str
    port: int

    @property
    def kind(self) -> str:
        return "ovs-vxlan"

    @property
    def key(self) -> Key:
        return (self.ns, "device", self.name)


class OvsVport(NamedTuple):
    """An interface that is a port of a datapath: what it receives goes there, and nowhere else."""

    ns: str
    dev: str
    datapath: str

    @property
    def kind(self) -> str:
        return "ovs-vport"

    @property
    def key(self) -> Key:
        return (self.ns, "ovs-vport", self.dev)


OvsDevice = OvsDatapath | OvsVxlan
Ovs = OvsDatapath | OvsVxlan | OvsVport

KINDS = (OvsDatapath, OvsVxlan, OvsVport)
"""In the order in which they are made."""


def ovs_line(r: Ovs) -> str:
    """One line."""
    if type(r) is OvsDatapath:
        return f"{r.ns} ovs-datapath {r.name}"
    if type(r) is OvsVxlan:
        return f"{r.ns} ovs-vxlan {r.name} datapath {r.datapath} dstport {r.port}"
    assert type(r) is OvsVport
    return f"{r.ns} ovs-vport {r.dev} datapath {r.datapath}"


def ovs_command(r: Ovs) -> str:
    """By ovs-dpctl, which makes no tunnel that leaves its ends to flows: iproute2 does."""
    dpctl = f"ip netns exec {r.ns} ovs-dpctl"
    if type(r) is OvsDatapath:
        return f"{dpctl} add-dp {r.name}\n"
    if type(r) is OvsVxlan:
        return (
            f"ip -n {r.ns} link add name {r.name} type vxlan external dstport {r.port}"
            " udp6zerocsumrx\n"
            f"{dpctl} add-if {r.datapath} {r.name}\n"
        )
    assert type(r) is OvsVport
    return f"{dpctl} add-if {r.datapath} {r.dev}\n"
