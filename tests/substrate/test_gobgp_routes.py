"""What gobgp 3.10 says, as the watcher of kube-router understands it."""

from __future__ import annotations

import pytest

from emulator.substrate.daemons.gobgp_routes import Best, bests, on_segment

OWN = (
    '[{"nlri":{"prefix":"10.244.1.0/24"},"age":1795276040,"best":false,'
    '"attrs":[{"type":1,"value":2},{"type":3,"nexthop":"192.168.50.11"}],"stale":false}]'
)
LEARNT = (
    '[{"nlri":{"prefix":"10.244.3.0/24"},"age":1795276044,"best":false,'
    '"attrs":[{"type":1,"value":2},{"type":2,"as_paths":[]},{"type":3,"nexthop":"192.168.50.13"},'
    '{"type":5,"value":100}],"stale":false,"source-id":"192.168.50.13",'
    '"neighbor-ip":"192.168.50.13"}]'
)
WITHDRAWN = LEARNT.replace('"stale":false,', '"stale":false,"withdrawal":true,')


def test_a_path_of_our_own_has_no_neighbour() -> None:
    assert list(bests(OWN)) == [Best("10.244.1.0/24", "192.168.50.11", "", False)]


def test_a_path_comes_and_goes() -> None:
    came = Best("10.244.3.0/24", "192.168.50.13", "192.168.50.13", False)
    assert list(bests(LEARNT)) == [came]
    assert list(bests(WITHDRAWN)) == [came._replace(withdrawn=True)]


def test_a_path_of_ipv6_has_its_next_hop_elsewhere() -> None:
    """And the session that told of it may be of IPv4."""
    found = (
        '[{"nlri":{"prefix":"fd00:10:244:3::/64"},"age":1795281783,"best":false,'
        '"attrs":[{"type":1,"value":2},{"type":14,"nexthop":"fd00:192:168:50::d","afi":2,"safi":1,'
        '"value":[{"prefix":"fd00:10:244:3::/64"}]}],"stale":false,"neighbor-ip":"192.168.50.13"}]'
    )
    came = Best("fd00:10:244:3::/64", "fd00:192:168:50::d", "192.168.50.13", False)
    assert list(bests(found)) == [came]


def test_several_paths_in_a_line() -> None:
    assert len(list(bests(LEARNT[:-1] + "," + OWN[1:]))) == 2


def test_its_last_words_are_no_path() -> None:
    assert list(bests('{"error":"rpc error: code = Unavailable desc = error reading"}')) == []


@pytest.mark.parametrize(
    ("hop", "near"),
    [
        ("192.168.50.13", True),
        ("192.168.60.13", False),
        ("", False),
        ("fd00:192:168:50::d", True),
        ("fd00:192:168:60::d", False),
    ],
)
def test_only_a_next_hop_of_the_own_subnet_is_reached_without_a_router(
    hop: str, near: bool
) -> None:
    subnets = ("192.168.50.0/24", "fd00:192:168:50::/64")
    assert on_segment(Best("10.244.3.0/24", hop, "192.168.60.13", False), subnets) == near
