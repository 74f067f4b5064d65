"""The proxy of flannel's udp: what is on the wire, what it does to TTLs, to whom it answers."""

from __future__ import annotations

import socket
import struct

import pytest
from own_programs import (
    CABLE,
    FAR,
    FAR2,
    ICMP,
    NEAR,
    UDP,
    build,
    checksum,
    datagram,
    header,
    ipv4,
    running,
    udp,
    watch,
    whole,
)
from waiting import until
from world import in_a_world, kernel

from emulator.plan import Op
from emulator.plan.resources import Addr, Interface, Route, Tun

pytestmark = pytest.mark.kernel

OWN, THERE, NOWHERE = "10.244.1.0", "10.244.2.9", "10.244.9.9"
DEVICE = (
    Tun("near", "flannel0"),
    Interface("near", "flannel0", True, 1472),
    Addr("near", "flannel0", f"{OWN}/32"),
    Route("near", "10.244.0.0/16", "", "flannel0"),
)
PORT = 8285
MTU_DISCOVER, DONT = 10, 0
"""Options of IP that Python does not name."""


def settings(peer: str) -> str:
    return (
        f"device flannel0\naddress {OWN}\nlisten {NEAR} {PORT}  # as flannel has it\n"
        f"peer 10.244.2.0/24 {peer} {PORT}\n"
    )


def test_what_goes_over_the_wire() -> None:
    in_a_world(_wire)


def _wire() -> None:
    with kernel() as machine:
        build(machine, [*CABLE, *DEVICE])
        far, other = udp(machine, "far", FAR, PORT), udp(machine, "far", FAR2, PORT)
        with running(machine, "udp-proxy", settings(FAR)) as proxy:
            own = udp(machine, "near", OWN, 9)
            own.sendto(b"there", (THERE, 9))
            packet, sender = far.recvfrom(2000)
            # the packet itself and nothing else, one hop older, its checksums complete
            assert sender == (NEAR, PORT)
            assert header(packet)[:4] == (63, UDP, OWN, THERE)
            assert packet[28:] == b"there" and whole(packet)

            own.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            own.sendto(b"too old", (THERE, 9))
            own.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
            own.sendto(b"old", (THERE, 9))
            assert far.recv(2000)[28:] == b"old", "what has no hop left is dropped"

            # larger than the device takes: cut by the kernel before it gets there
            own.setsockopt(socket.IPPROTO_IP, MTU_DISCOVER, DONT)
            own.sendto(bytes(3000), (THERE, 9))
            assert sorted(len(far.recv(2000)) for _ in range(3)) == [132, 1468, 1468]

            seen = watch(machine, "near", "flannel0")
            back = ipv4(THERE, OWN, datagram(THERE, OWN, b"back"), ttl=9)
            late = ipv4(THERE, OWN, datagram(THERE, OWN, b"late"), ttl=1)
            for wrong in (b"", back[:19], b"\x65" + back[1:], late, back):
                far.sendto(wrong, (NEAR, PORT))
            assert own.recv(100) == b"back"
            assert header(seen.recv(100))[0] == 8, "a hop here as well"

            proxy.reread(settings(FAR2))
            own.sendto(b"moved", (THERE, 9))
            assert other.recv(2000)[28:] == b"moved"
            # its device goes, and comes again
            machine.apply([Op("delete", DEVICE[0], DEVICE[0])])
            until(lambda: "waiting for flannel0" in proxy.said(), "that it misses it")
            build(machine, DEVICE)
            until(lambda: proxy.said().endswith("1 peers\n"), "that it has it")
            again = udp(machine, "near", OWN, 10)
            again.sendto(b"back", (THERE, 9))
            assert other.recv(2000)[28:] == b"back"
            # its settings are wrong: it goes on as before
            proxy.reread_wrong("peer 10.244.2.0\n")
            again.sendto(b"still", (THERE, 9))
            assert other.recv(2000)[28:] == b"still"


def test_a_destination_that_nobody_has() -> None:
    """The answer is for whoever sent it, but its sender is this node, so the node drops it as
    a packet from Mars: it is seen on the device and nowhere else."""
    in_a_world(_unreachable)


def _unreachable() -> None:
    with kernel() as machine:
        build(machine, [*CABLE, *DEVICE])
        with running(machine, "udp-proxy", settings(FAR)):
            seen = watch(machine, "near", "flannel0")
            own = udp(machine, "near", OWN, 9)
            own.sendto(b"anybody?", (NOWHERE, 9))
            question, answer = seen.recv(100), seen.recv(100)
            assert header(answer) == (8, ICMP, OWN, OWN, False)
            assert answer[20:22] == b"\3\0" and checksum(answer[20:]) == 0
            assert answer[28:] == question[:28]

            # none about ICMP, nor about a later fragment
            machine.enter("near")
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            machine.leave()
            raw.sendto(ipv4(OWN, NOWHERE, struct.pack(">BBHHH", 8, 0, 0, 0, 0), protocol=ICMP),
                       (NOWHERE, 0))  # fmt: skip
            raw.sendto(ipv4(OWN, NOWHERE, bytes(8), flags=5), (NOWHERE, 0))
            own.sendto(b"again", (NOWHERE, 9))
            later = [seen.recv(100) for _ in range(4)]
            assert [header(packet)[1] for packet in later] == [ICMP, UDP, UDP, ICMP]
            assert later[3][28:] == later[2][:28]


def test_segments_and_checksums_are_the_kernels() -> None:
    """A connection of large writes: what is read from the device are packets of its MTU."""
    in_a_world(_segments)


def _segments() -> None:
    with kernel() as machine:
        build(machine, [*CABLE, *DEVICE])
        far = udp(machine, "far", FAR, PORT)
        with running(machine, "udp-proxy", settings(FAR)):
            machine.enter("near")
            sender = socket.socket()
            machine.leave()
            sender.bind((OWN, 1000))
            sender.setblocking(False)
            sender.connect_ex((THERE, 80))
            syn = far.recv(2000)
            (number,) = struct.unpack(">I", syn[24:28])

            far.sendto(_welcome(number), (NEAR, PORT))
            assert len(far.recv(2000)) == 40
            sender.send(bytes(10_000))
            got = 0
            while got < 10_000:
                packet = far.recv(65_536)
                assert len(packet) <= 1472
                pseudo = packet[12:20] + struct.pack(">HH", 6, len(packet) - 20)
                assert checksum(pseudo + packet[20:]) == 0
                got += len(packet) - 40


def _welcome(number: int) -> bytes:
    """SYN and ACK to a SYN, with an MSS of 1432."""
    head = struct.pack(">HHIIBBHHH", 80, 1000, 0, number + 1, 24 << 2, 0x12, 65535, 0, 0)
    options = struct.pack(">BBH", 2, 4, 1432)
    pseudo = socket.inet_aton(THERE) + socket.inet_aton(OWN) + struct.pack(">HH", 6, 24)
    right = struct.pack(">H", checksum(pseudo + head + options))
    return ipv4(THERE, OWN, head[:16] + right + head[18:] + options, protocol=6)
