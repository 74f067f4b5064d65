"""Batches that the kernel refuses."""

from __future__ import annotations

import errno

import pytest

from emulator.substrate import encode, rtnl
from emulator.substrate.netlink import BATCH_MESSAGES, Message, Netlink, attr_str

pytestmark = pytest.mark.kernel


def test_every_refusal_of_a_large_batch_comes_back() -> None:
    """None is lost for want of room in the socket, and the socket is as good as before."""
    count = 3 * BATCH_MESSAGES + 5
    name = attr_str(rtnl.IFLA_IFNAME, "no-such-one")
    refused = Message(rtnl.RTM_DELLINK, 0, encode.ifinfo(0) + name)
    netlink = Netlink()
    try:
        for _ in range(2):
            found = netlink.send([refused] * count)
            assert [one.number for one in found] == list(range(count))
            assert {one.errno for one in found} <= {errno.ENODEV, errno.EPERM}
    finally:
        netlink.close()
