"""The encrypted wire of Weave's sleeve, with libsodium as the other end."""

from __future__ import annotations

import ctypes
import hashlib
import socket
from base64 import b64encode
from ctypes.util import find_library
from typing import Final

import pytest
from own_programs import FAR, NEAR, datagram, ipv4, running, udp
from sleeve_lab import FOREIGN, NAME, ONE, OWN, POD, THERE, Frame, ethernet, lab, raw
from world import in_a_world, kernel

from emulator.datapath import sleeve

pytestmark = pytest.mark.kernel

PASSWORD: Final = "ABCDEFGH"
WITH_DF: Final = 1 << 63
NUMBER_B, CODE_B = 8, 16
DO, MTU_DISCOVER = 2, 10


class Other:
    """The router at the other end: opens what it gets, seals what it sends."""

    def __init__(self) -> None:
        self._nacl = ctypes.CDLL(find_library("sodium"))
        self.private, self.public = self.pair()

    def pair(self) -> tuple[bytes, bytes]:
        public, private = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
        self._nacl.crypto_box_keypair(public, private)
        return private.raw, public.raw

    def agree(self, near: bytes) -> None:
        shared = ctypes.create_string_buffer(32)
        self._nacl.crypto_box_beforenm(shared, near, self.private)
        self._key = hashlib.sha256(shared.raw + PASSWORD.encode()).digest()

    def open(self, data: bytes) -> tuple[int, list[Frame]]:
        """The number of a datagram from a peer with a smaller name, and the frames in it."""
        assert data[:6] == raw(NAME)
        number, sealed = data[6:14], data[14:]
        plain = ctypes.create_string_buffer(len(sealed) - CODE_B)
        size = ctypes.c_ulonglong(len(sealed))
        nonce = bytes(16) + number
        assert not self._nacl.crypto_secretbox_open_easy(plain, sealed, size, nonce, self._key)
        found, at, frames = plain.raw, 0, []
        while at < len(found):
            end = at + 14 + int.from_bytes(found[at + 12 : at + 14], "big")
            names = found[at : at + 6].hex(":"), found[at + 6 : at + 12].hex(":")
            frames.append(Frame(*names, found[at + 14 : end]))
            at = end
        return int.from_bytes(number, "big"), frames

    def seal(self, number: int, frame: Frame) -> bytes:
        """To that peer: whoever has the greater name has the first bit of the nonce."""
        plain = frame.packed()
        sealed = ctypes.create_string_buffer(len(plain) + CODE_B)
        size = ctypes.c_ulonglong(len(plain))
        nonce = b"\x80" + bytes(15) + number.to_bytes(8, "big")
        self._nacl.crypto_secretbox_easy(sealed, plain, size, nonce, self._key)
        return raw(ONE) + number.to_bytes(8, "big") + sealed.raw


def test_what_goes_over_the_wire() -> None:
    in_a_world(_wire)


def _wire() -> None:
    other = Other()
    private, public = other.pair()
    other.agree(public)
    keys = {ONE: other.public}
    with kernel() as machine:
        rows = [
            f"{row} {b64encode(keys.get(row.split()[1], public)).decode()}"
            if row.startswith("peer") else row
            for row in lab(machine).splitlines()
        ]  # fmt: skip
        rows += [f"private {b64encode(private).decode()}", f"password {PASSWORD}"]
        one = udp(machine, "far", FAR, sleeve.PORT)
        with running(machine, "sleeve-nacl", "\n".join(rows) + "\n"):
            pod = udp(machine, "pod", OWN, 9)

            # nothing of it can be read, and with the key all of it
            pod.setsockopt(socket.IPPROTO_IP, MTU_DISCOVER, DO)
            pod.sendto(b"who has a secret?", (FOREIGN, 9))
            data, number, frame = _next(other, one)
            assert b"secret" not in data and raw(THERE) not in data
            assert frame.frame[:14] == ethernet(POD, THERE, b"") and number & WITH_DF
            assert len(data) == 6 + NUMBER_B + CODE_B + 14 + len(frame.frame)

            # each number once
            pod.sendto(b"again", (FOREIGN, 9))
            assert _next(other, one)[1] == number + 1

            # what is sealed arrives; once, and only from whom it says
            def back(text: bytes) -> Frame:
                inner = ipv4(FOREIGN, OWN, datagram(FOREIGN, OWN, text))
                return Frame(ONE, NAME, ethernet(THERE, POD, inner))

            far = 5 << 20
            good = other.seal(far, back(b"first"))
            cut = good[:-1]
            turned = good[:-1] + bytes([good[-1] ^ 1])
            for wrong in (cut, turned, good, good, other.seal(far - (2 << 20), back(b"too old"))):
                one.sendto(wrong, (NEAR, sleeve.PORT))
            for late in (far - 1, far - (1 << 20), far + (3 << 20), far + (3 << 20) | WITH_DF):
                one.sendto(other.seal(late, back(b"%d" % (late & ~WITH_DF))), (NEAR, sleeve.PORT))
            one.sendto(raw(ONE) + back(b"in the clear").packed(), (NEAR, sleeve.PORT))
            one.sendto(other.seal(far + (3 << 20) + 1, back(b"last")), (NEAR, sleeve.PORT))
            heard = []
            while not heard or heard[-1] != b"last":
                heard.append(pod.recv(100))
            numbers = [b"%d" % n for n in (far - 1, far - (1 << 20), far + (3 << 20))]
            assert heard == [b"first", *numbers, numbers[-1], b"last"]


def _next(other: Other, one: socket.socket) -> tuple[bytes, int, Frame]:
    """A datagram with a frame of the pod's; a bridge has words of its own for multicast groups."""
    while True:
        data = one.recv(65535)
        number, frames = other.open(data)
        for frame in frames:
            if frame.frame[6:12] == raw(POD):
                return data, number, frame


def test_the_path_s_mtu_leaves_room_for_number_and_code() -> None:
    assert sleeve.path_mtu(1500, encrypted=True) == sleeve.path_mtu(1500) - NUMBER_B - CODE_B
