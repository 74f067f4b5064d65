"""A node with one pod and a process of Weave's sleeve, for tests of its wire."""

from __future__ import annotations

import struct
from subprocess import check_output
from typing import NamedTuple

from own_programs import CABLE, FAR, FAR2, build
from waiting import until

from emulator.datapath import sleeve
from emulator.plan.resources import (
    Addr,
    Bridge,
    File,
    Interface,
    Neigh,
    Netns,
    Process,
    Resource,
    veth,
)
from emulator.substrate.kernel import Kernel

NAME, ONE, TWO = ("7e:00:00:00:00:01", "7e:00:00:00:00:02", "7e:00:00:00:00:03")
POD, THERE, ALL = "02:00:00:00:01:01", "02:00:00:00:02:02", "ff:ff:ff:ff:ff:ff"
OWN, FOREIGN, BESIDE = "10.32.0.1", "10.40.0.1", "10.44.0.1"
BROADCAST = "10.47.255.255"
BESIDE_MAC = "02:00:00:00:03:03"


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


class Frame(NamedTuple):
    """A frame as it travels: the names of two routers, and the frame."""

    source: str
    target: str
    frame: bytes

    def packed(self) -> bytes:
        head = raw(self.source) + raw(self.target) + struct.pack(">H", len(self.frame))
        return head + self.frame


def ethernet(source: str, target: str, packet: bytes) -> bytes:
    return raw(target) + raw(source) + b"\x08\x00" + packet


PEERS = [sleeve.Peer(ONE, FAR), sleeve.Peer(TWO, FAR2)]
SETTINGS = sleeve.SleeveSettings("near", "weave", NAME, "full", "weaver", "/x", 1500, PEERS)


def lab(machine: Kernel, *, tx: bool = False) -> str:
    """A node with one pod on its bridge; the settings of its process."""
    made = list(sleeve.node(SETTINGS))
    end = sleeve.features("full", "pod")._replace(tx=tx)
    build(machine, [*CABLE, Bridge("near", "weave"), *_bridge(), *(
        r for r in made if type(r) not in (File, Process)),
        Netns("pod"), Interface("pod", "lo", True, 65536),
        veth("near", "vethwepl", "pod", "eth0"),
        Interface("near", "vethwepl", True, sleeve.MTU, "", "weave", True,
                  *sleeve.features("full", "node")),
        Interface("pod", "eth0", True, sleeve.MTU, POD, "", False, *end),
        Addr("pod", "eth0", f"{OWN}/12"),
        *(Neigh("pod", "eth0", address, mac) for address, mac in
          ((FOREIGN, THERE), (BESIDE, BESIDE_MAC), (BROADCAST, ALL)))])  # fmt: skip
    ports_forward()
    (settings,) = (r.text for r in made if type(r) is File)
    return settings


def ports_forward() -> None:
    """A port does when the kernel has heard that its cable is alive, which takes a moment."""
    ports = ("bridge", "-n", "near", "link")
    until(lambda: check_output(ports).count(b"state forwarding") == 2, "ports that forward")


def _bridge() -> tuple[Resource, ...]:
    offloads = sleeve.features("full", "bridge")
    return (Interface("near", "weave", True, sleeve.MTU, NAME, "", False, *offloads),)
