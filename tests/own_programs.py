"""Our own daemons beside a plain socket that plays the other end, for tests of their wire."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import until

from emulator.plan import Op
from emulator.plan.resources import Addr, Interface, Netns, Resource, veth
from emulator.substrate import compiler
from emulator.substrate.kernel import Kernel

NEAR, FAR, FAR2 = "192.168.1.1", "192.168.1.2", "192.168.1.3"
SETTINGS, LOG = Path("/run/settings"), Path("/run/log")
ETH_P_ALL = 3
ICMP = 1
UDP = 17

CABLE: tuple[Resource, ...] = (
    Netns("near"),
    Netns("far"),
    veth("far", "eth0", "near", "eth0"),
    *(
        row
        for ns, last in (("near", 1), ("far", 2))
        for row in (
            Interface(ns, "lo", True, 65536),
            Interface(ns, "eth0", True, 1500, f"02:00:00:00:00:0{last}"),
        )
    ),
    Addr("near", "eth0", f"{NEAR}/24"),
    Addr("far", "eth0", f"{FAR}/24"),
    Addr("far", "eth0", f"{FAR2}/24"),
)
"""Two namespaces and a cable; the far one has two addresses, to be two peers."""


def build(machine: Kernel, resources: Iterable[Resource]) -> None:
    """Make them, and wait until the cable carries: a moment after its ends are up."""
    machine.apply([Op("create", r, None) for r in resources])
    for ns in ("near", "far"):
        look = ("ip", "-n", ns, "-br", "link", "show", "dev", "eth0")
        until(lambda look=look: b" UP " in subprocess.check_output(look), "a carrier")  # type: ignore[misc]


class Running:
    """A program of ours in namespace ``near``."""

    def __init__(self, machine: Kernel, name: str, settings: str) -> None:
        SETTINGS.write_text(settings)
        machine.enter("near")
        argv = [compiler.program(name), SETTINGS]
        with LOG.open("w") as log:
            self.process = subprocess.Popen(argv, stderr=log)
        machine.leave()
        self.settled(settings)

    def settled(self, settings: str) -> None:
        active = Path(f"{SETTINGS}.active")
        until(lambda: active.exists() and active.read_text() == settings, "settings in force")

    def reread(self, settings: str) -> None:
        SETTINGS.write_text(settings)
        self.process.send_signal(signal.SIGHUP)
        self.settled(settings)

    def reread_wrong(self, settings: str) -> None:
        """Settings that are refused; returns when they have been read."""
        before = self.said()
        SETTINGS.write_text(settings)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.said() != before, "a word about the settings")

    def said(self) -> str:
        return LOG.read_text()


@contextmanager
def running(machine: Kernel, name: str, settings: str) -> Iterator[Running]:
    found = Running(machine, name, settings)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()


def udp(machine: Kernel, ns: str, address: str, port: int) -> socket.socket:
    machine.enter(ns)
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    made.settimeout(2.0)
    machine.leave()
    return made


def watch(machine: Kernel, ns: str, dev: str) -> socket.socket:
    """Whatever passes an interface."""
    machine.enter(ns)
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    made.bind((dev, ETH_P_ALL))
    made.settimeout(2.0)
    machine.leave()
    return made


def checksum(data: bytes) -> int:
    """The Internet checksum; 0 over data that carries a right one."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header(packet: bytes) -> tuple[int, int, str, str, bool]:
    """(TTL, protocol, source, destination, DF) of an IPv4 packet whose header is right."""
    assert checksum(packet[:20]) == 0
    ttl, protocol = packet[8], packet[9]
    source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    return ttl, protocol, source, target, bool(packet[6] & 0x40)


def ipv4(
    source: str, target: str, payload: bytes, *, ttl: int = 64, protocol: int = UDP, flags: int = 0
) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, flags, ttl, protocol, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def datagram(source: str, target: str, data: bytes, port: int = 9) -> bytes:
    """A UDP datagram with its checksum, to be a payload of :func:`ipv4`."""
    length = 8 + len(data)
    pseudo = socket.inet_aton(source) + socket.inet_aton(target) + struct.pack(">HH", UDP, length)
    body = struct.pack(">HHHH", port, port, length, 0) + data
    return body[:6] + struct.pack(">H", checksum(pseudo + body)) + data


def whole(packet: bytes) -> bool:
    """Whether the checksum of a UDP datagram in an IPv4 packet is right."""
    pseudo = packet[12:20] + struct.pack(">HH", UDP, len(packet) - 20)
    return checksum(pseudo + packet[20:]) == 0
