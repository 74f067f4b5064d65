"""Offloads of an interface through ethtool's ioctl: what is *requested*, not what is active.

The active state of a bridge follows its ports; the requested one is what somebody set.
"""

from __future__ import annotations

import array
import errno
import fcntl
import functools
import socket
import struct
from fnmatch import fnmatchcase
from typing import NamedTuple

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES = 0x1B, 0x37, 0x3A, 0x3B
_ETH_SS_FEATURES = 4
# Patterns, as the program ethtool has them: kernels keep adding kinds of TCP segmentation
# (accecn in 6.17), and one that was left on would still pass packets of 64 KiB.
_TSO = "tx-tcp*-segmentation"
_GSO = "tx-generic-segmentation"
_GRO = "rx-gro"
_TX = "tx-checksum-*"


def _ioctl(sock: socket.socket, dev: str, data: bytearray) -> None:
    buffer = array.array("B", data)
    address, _ = buffer.buffer_info()
    fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, struct.pack("=16sQ16x", dev.encode(), address))
    data[:] = buffer.tobytes()


class Offloads(NamedTuple):
    """Requested: segmentation of TCP and of others, aggregation, checksums."""

    tso: bool
    gso: bool
    gro: bool
    tx: bool


class FeatureBits(NamedTuple):
    """Where the kernel at hand keeps each feature: bit masks, and 32-bit blocks in all."""

    tso: int
    gso: int
    gro: int
    tx: int
    blocks: int

    def mask(self, offloads: Offloads) -> int:
        """The bits of those that are on."""
        return sum(bits for on, bits in zip(offloads, self, strict=False) if on)


@functools.cache
def feature_bits() -> FeatureBits:
    """Ask the kernel for the names of its features; their numbers differ between versions."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        return _feature_bits(sock, "lo")


def _feature_bits(sock: socket.socket, dev: str) -> FeatureBits:
    data = bytearray(struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _ETH_SS_FEATURES, 0))
    _ioctl(sock, dev, data)
    (count,) = struct.unpack_from("=I", data, 16)
    data = bytearray(struct.pack("=III", _GSTRINGS, _ETH_SS_FEATURES, count) + bytes(32 * count))
    _ioctl(sock, dev, data)
    names = [data[12 + 32 * i : 44 + 32 * i].split(b"\0", 1)[0].decode() for i in range(count)]

    def mask(wanted: str) -> int:
        return sum(1 << i for i, name in enumerate(names) if fnmatchcase(name, wanted))

    return FeatureBits(mask(_TSO), mask(_GSO), mask(_GRO), mask(_TX), (count + 31) // 32)


def requested(sock: socket.socket, dev: str) -> Offloads:
    """The offloads as requested. OSError (ENODEV where the interface is gone).

    Checksums that a device has no choice about (``lo``) count as requested.
    """
    bits = feature_bits()
    data = bytearray(struct.pack("=II", _GFEATURES, bits.blocks) + bytes(16 * bits.blocks))
    _ioctl(sock, dev, data)
    choice = value = 0
    for block in range(bits.blocks):
        available, part = struct.unpack_from("=II", data, 8 + 16 * block)
        choice |= available << (32 * block)
        value |= part << (32 * block)
    checksums = bool(value & bits.tx) or not choice & bits.tx
    return Offloads(
        bool(value & bits.tso), bool(value & bits.gso), bool(value & bits.gro), checksums
    )


def change(sock: socket.socket, dev: str, on: int, off: int) -> bytearray:
    """Request the features of mask ``on`` and drop those of ``off``. Returns the request."""
    bits = feature_bits()
    request = bytearray(struct.pack("=II", _SFEATURES, bits.blocks))
    for block in range(bits.blocks):
        shift = 32 * block
        request += struct.pack("=II", (on | off) >> shift & 0xFFFFFFFF, on >> shift & 0xFFFFFFFF)
    sent = bytearray(request)
    try:
        _ioctl(sock, dev, sent)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    return request
