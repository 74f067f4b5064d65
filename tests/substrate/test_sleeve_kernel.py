"""The process of Weave's sleeve: what is on the wire, who gets which frame, what is too long."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import struct
from collections.abc import Iterator

import pytest
from own_programs import (
    FAR,
    FAR2,
    NEAR,
    build,
    datagram,
    header,
    ipv4,
    running,
    udp,
    watch,
    whole,
)
from sleeve_lab import (
    BESIDE,
    BESIDE_MAC,
    BROADCAST,
    FOREIGN,
    NAME,
    ONE,
    OWN,
    POD,
    SETTINGS,
    THERE,
    TWO,
    Frame,
    ethernet,
    lab,
    ports_forward,
    raw,
)
from waiting import until
from world import in_a_world, kernel

from emulator.datapath import sleeve
from emulator.plan import Op
from emulator.plan.resources import (
    Interface,
    Veth,
)

pytestmark = pytest.mark.kernel

PATH_MTU = 1438
DO, DONT, MTU_DISCOVER = 2, 0, 10


def frames(data: bytes, sender: str = NAME) -> list[Frame]:
    """What is in a datagram of a sender."""

    def each() -> Iterator[Frame]:
        at = 6
        while at < len(data):
            (length,) = struct.unpack_from(">H", data, at + 12)
            names = data[at : at + 6].hex(":"), data[at + 6 : at + 12].hex(":")
            yield Frame(*names, data[at + 14 : at + 14 + length])
            at += 14 + length
        assert at == len(data)

    assert data[:6] == raw(sender)
    return list(each())


def together(peer: socket.socket) -> list[Frame]:
    """The pod's frames in the next datagram that has any; a bridge has words of its own."""
    while True:
        all_of_it = frames(peer.recv(65535))
        if ours := [frame for frame in all_of_it if frame.frame[6:12] == raw(POD)]:
            return ours


def heard(peer: socket.socket) -> Frame:
    """The next frame from the pod."""
    return together(peer)[0]


def test_what_goes_over_the_wire() -> None:
    in_a_world(_wire)


def _wire() -> None:
    with kernel() as machine:
        settings = lab(machine)
        one, two = (udp(machine, "far", address, sleeve.PORT) for address in (FAR, FAR2))
        with running(machine, "sleeve", settings) as process:
            pod = udp(machine, "pod", OWN, 9)
            outer = watch(machine, "far", "eth0")
            port = watch(machine, "near", sleeve.PORT_OF_BRIDGE)

            # nobody knows where that address lives: all get it
            pod.sendto(b"who?", (FOREIGN, 9))
            for peer, name in ((one, ONE), (two, TWO)):
                source, target, frame = heard(peer)
                assert (source, target) == (NAME, name)
                assert frame[:14] == ethernet(POD, THERE, b"")
                assert header(frame[14:])[2:] == (OWN, FOREIGN, True)
                assert whole(frame[14:]), "checksums are complete when the frame is captured"

            # with DF inside goes DF outside, and no checksum of UDP
            packet = until(lambda: _next(outer, one), "a datagram to the first peer")
            assert header(packet)[2:] == (NEAR, FAR, True) and packet[26:28] == b"\0\0"

            # the peer that sends from the address is the one that it lives at
            back = ethernet(THERE, POD, ipv4(FOREIGN, OWN, datagram(FOREIGN, OWN, b"me")))
            one.sendto(raw(ONE) + Frame(ONE, NAME, back).packed(), (NEAR, sleeve.PORT))
            assert pod.recv(100) == b"me"
            pod.sendto(b"to you", (FOREIGN, 9))
            frame = heard(one).frame
            assert frame.endswith(b"to you")
            pod.sendto(b"to another", (BESIDE, 9))
            assert heard(two).frame.endswith(b"to another"), "and nothing before"
            assert heard(one).frame.endswith(b"to another")

            # what waits for the same peer shares a datagram, as long as the path takes it
            process.process.send_signal(signal.SIGSTOP)
            for size in (100, 200, 1300, 300):
                pod.sendto(bytes(size), (FOREIGN, 9))
            process.process.send_signal(signal.SIGCONT)
            shared = [[len(f.frame) - 42 for f in together(one)] for _ in range(3)]
            assert shared == [[100, 200], [1300], [300]]

            # from strangers, for others, cut short: none of it arrives
            late = ethernet(THERE, POD, ipv4(FOREIGN, OWN, datagram(FOREIGN, OWN, b"last")))
            for wrong in (
                raw(BESIDE_MAC) + Frame(ONE, NAME, back).packed(),
                raw(ONE) + Frame(ONE, TWO, back).packed(),
                raw(ONE) + Frame(ONE, NAME, back).packed()[:-1],
                raw(ONE) + Frame(ONE, NAME, bytes(22)).packed(),
            ):
                one.sendto(wrong, (NEAR, sleeve.PORT))
            several = Frame(ONE, NAME, late).packed() * 2
            one.sendto(raw(ONE) + several, (NEAR, sleeve.PORT))
            assert [pod.recv(100), pod.recv(100)] == [b"last", b"last"]
            senders = {frame[6:12] for frame in inside(port)}
            assert senders >= {raw(POD), raw(THERE)} and bytes(6) not in senders


def _next(outer: socket.socket, peer: socket.socket) -> bytes:
    """The next packet on the cable, if it brings a peer what the pod sent: a bridge has words of
    its own."""
    frame = outer.recv(2000)
    wanted = socket.inet_aton(peer.getsockname()[0])
    ours = frame[12:14] == b"\x08\0" and frame[30:34] == wanted and raw(POD) in frame[34:]
    return frame[14:] if ours else b""


def inside(port: socket.socket) -> Iterator[bytes]:
    """What has passed an interface until now."""
    port.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            yield port.recv(2000)


def test_what_is_too_long() -> None:
    in_a_world(_too_long)


def _too_long() -> None:
    with kernel() as machine:
        settings = lab(machine)
        one, two = (udp(machine, "far", address, sleeve.PORT) for address in (FAR, FAR2))
        assert sleeve.path_mtu(1500) == PATH_MTU
        with running(machine, "sleeve", settings):
            pod = udp(machine, "pod", OWN, 9)
            back = ethernet(THERE, POD, ipv4(FOREIGN, OWN, datagram(FOREIGN, OWN, b"me")))
            one.sendto(raw(ONE) + Frame(ONE, NAME, back).packed(), (NEAR, sleeve.PORT))
            assert pod.recv(100) == b"me"

            # to all peers: dropped without a word
            pod.setsockopt(socket.IPPROTO_IP, MTU_DISCOVER, DO)
            pod.sendto(bytes(PATH_MTU + 1 - 28), (BESIDE, 9))
            # to one: the sender is told, as if by the destination
            pod.sendto(bytes(PATH_MTU + 1 - 28), (FOREIGN, 9))
            until(lambda: _refused(pod, PATH_MTU + 1), "word of the path's MTU")
            pod.sendto(bytes(PATH_MTU + 1 - 28), (BESIDE, 9))
            pod.sendto(bytes(PATH_MTU - 28), (FOREIGN, 9))
            frame = heard(one).frame
            assert len(frame) == PATH_MTU + 14

            # without DF it goes as it is, and the underlay's kernel cuts it
            pod.setsockopt(socket.IPPROTO_IP, MTU_DISCOVER, DONT)
            pod.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            pod.sendto(bytes(range(256)) * 100, (BROADCAST, 9))
            for peer in (one, two):
                frame = heard(peer).frame
                assert len(frame) == 14 + 28 + 25600 and whole(frame[14:])


def _refused(sender: socket.socket, length: int) -> bool:
    """Whether the kernel knows that a path does not take a packet with DF so long."""
    try:
        sender.sendto(bytes(length - 28), (FOREIGN, 9))
    except OSError as error:
        assert error.errno == errno.EMSGSIZE
        return True
    return False


def test_it_outlives_its_interface() -> None:
    def body() -> None:
        with kernel() as machine:
            settings = lab(machine)
            one = udp(machine, "far", FAR, sleeve.PORT)
            pod = udp(machine, "pod", OWN, 9)
            made = [r for r in sleeve.node(SETTINGS) if type(r) in (Veth, Interface)]
            up = next(r for r in made if type(r) is Interface and r.name == sleeve.CAPTURED)
            down = up._replace(up=False)
            with running(machine, "sleeve", settings) as process:
                machine.apply([Op("change", down, up)])
                machine.apply([Op("change", up, down)])
                ports_forward()
                pod.sendto(b"up again", (FOREIGN, 9))
                assert heard(one).frame.endswith(b"up again")

                cable = next(r for r in made if type(r) is Veth)
                machine.apply([Op("delete", cable, cable)])
                until(lambda: "waiting for vethwe-pcap" in process.said(), "that it misses it")
                build(machine, made)
                ports_forward()
                until(lambda: process.said().endswith("2 peers\n"), "that it has it")
                pod.sendto(b"made again", (FOREIGN, 9))
                assert heard(one).frame.endswith(b"made again")

    in_a_world(body)


def test_checksums_that_are_left_to_a_device_never_come() -> None:
    """Why ``tx`` is off on pods' ends: no device behind a captured frame completes them."""

    def body() -> None:
        with kernel() as machine:
            settings = lab(machine, tx=True)
            one = udp(machine, "far", FAR, sleeve.PORT)
            with running(machine, "sleeve", settings):
                udp(machine, "pod", OWN, 9).sendto(b"who?", (FOREIGN, 9))
                frame = heard(one).frame
                assert frame.endswith(b"who?") and not whole(frame[14:])

    in_a_world(body)
