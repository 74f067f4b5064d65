"""What tunnels add to a packet, against sums of header sizes made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import overhead
from experiments.overhead import Encapsulation

TABLE = [  # added bytes at least and at most, MTU of a link of 1500 by IPv4 and by IPv6
    (overhead.PLAIN, 0, 0, 1500, 1500),
    (overhead.IPIP, 20, 20, 1480, 1460),
    (overhead.GRE, 24, 24, 1476, 1456),
    (overhead.FOU, 28, 28, 1472, 1452),
    (overhead.GUE, 32, 32, 1468, 1448),
    (overhead.UDP, 28, 28, 1472, 1452),
    (overhead.VXLAN, 50, 50, 1450, 1430),
    (overhead.GENEVE, 50, 50, 1450, 1430),
    (overhead.WIREGUARD, 60, 75, 1440, 1420),
    (overhead.ESP_GCM, 54, 57, 1446, 1426),
    (overhead.ESP_CBC, 62, 77, 1438, 1406),
    (overhead.ESP_GCM_IN_UDP, 62, 65, 1438, 1418),
    (overhead.VXLAN_IN_ESP, 84, 87, 1416, 1396),
    (overhead.SLEEVE, 62, 62, 1438, 1418),
    (overhead.SEALED_SLEEVE, 86, 86, 1414, 1394),
]
NAMES = [one[0].name for one in TABLE]
PADDED = [one[0] for one in TABLE if one[0].padding.to > 1]


@pytest.mark.parametrize(("around", "least", "most", "mtu_v4", "mtu_v6"), TABLE, ids=NAMES)
def test_the_table(around: Encapsulation, least: int, most: int, mtu_v4: int, mtu_v6: int) -> None:
    added = {around.outer_b(size) - size for size in range(40, 1400)}
    assert (min(added), max(added)) == (least, most)
    assert around.fits(1500) == mtu_v4
    six = around.over_ipv6()
    assert six.fits(1500) == mtu_v6
    assert six.outer_b(1000) - around.outer_b(1000) == (20 if around.parts else 0)
    assert around.fits(9000) - around.fits(1500) in range(7484, 7516)


def test_frames_and_datagrams_have_the_header_of_the_cable() -> None:
    assert overhead.VXLAN.frame_b(1450) == 1514
    assert overhead.VXLAN.datagram_header_b(500) == 92
    assert overhead.PLAIN.words() == "none"
    assert overhead.UDP.words() == "IPv4 20 + UDP 8"
    assert overhead.WIREGUARD.words().endswith("tag 16 + padding to 16")


def test_wireguard_pads_to_sixteen_but_not_above_its_device() -> None:
    added = {size: overhead.WIREGUARD.outer_b(size, 1420) - size for size in (64, 65, 80, 1420)}
    assert added == {64: 60, 65: 75, 80: 60, 1420: 60}
    assert overhead.WIREGUARD.outer_b(1420) == 1484, "a device that knows no limit"


def test_wireguard_pads_where_its_device_allows_more_than_the_link() -> None:
    assert overhead.WIREGUARD.fits(1300) == 1240
    assert overhead.WIREGUARD.fits(1300, 1420) == 1232
    assert overhead.WIREGUARD.fits(1500, 1420) == 1440


def test_the_trailer_of_esp_is_aligned_with_what_it_covers() -> None:
    assert [overhead.ESP_GCM.outer_b(size) - size for size in range(64, 69)] == [56, 55, 54, 57, 56]
    assert overhead.ESP_CBC.outer_b(1438) == 1500
    assert overhead.ESP_CBC.outer_b(1439) > 1500


@given(st.sampled_from(PADDED), st.integers(20, 9000))
def test_what_is_sealed_is_a_whole_number_of_blocks(around: Encapsulation, size: int) -> None:
    to, covered, _ = around.padding
    outer = around.outer_b(size)
    assert (outer - around.added_b + covered) % to == 0
    assert 0 <= outer - around.added_b - size < to


@given(st.sampled_from([one[0] for one in TABLE]), st.integers(1280, 9000))
def test_the_largest_that_fits_fits_and_no_larger_one(around: Encapsulation, link: int) -> None:
    largest = around.fits(link)
    assert around.outer_b(largest, largest) <= link < around.outer_b(largest + 1, largest + 1)
