"""What is certain of addresses: host-local with one range."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.conflist.model import Conflist, parse
from emulator.conflist.predicted import Range, fixed_range, order, per_node


def conflist(ipam: dict[str, Any] | None, **main: Any) -> Conflist:
    plugin = {"type": "bridge", **main, **({"ipam": ipam} if ipam is not None else {})}
    return parse(json.dumps({"cniVersion": "1.0.0", "name": "n", "plugins": [plugin]}), "f")


HOST_LOCAL = {"type": "host-local"}
ONE = {"subnet": "10.1.0.0/24"}


@pytest.mark.parametrize(
    ("ipam", "first"),
    [
        ({**HOST_LOCAL, **ONE}, ["10.1.0.2", "10.1.0.3"]),
        ({**HOST_LOCAL, "ranges": [[ONE]]}, ["10.1.0.2", "10.1.0.3"]),
        ({**HOST_LOCAL, "ranges": [[ONE], [{"subnet": "fd00::/64"}]]}, ["10.1.0.2", "10.1.0.3"]),
        ({**HOST_LOCAL, **ONE, "gateway": "10.1.0.2"}, ["10.1.0.1", "10.1.0.3"]),
        (
            {**HOST_LOCAL, "ranges": [[{**ONE, "rangeStart": "10.1.0.9"}]]},
            ["10.1.0.9", "10.1.0.10"],
        ),
    ],
)
def test_host_local_begins_at_the_start_and_leaves_the_gateway_out(
    ipam: dict[str, Any], first: list[str]
) -> None:
    given = fixed_range(conflist(ipam))
    assert isinstance(given, Range)
    assert order(given, 2) == first


@pytest.mark.parametrize(
    "ipam",
    [
        None,
        {"type": "dhcp"},
        {**HOST_LOCAL},
        {**HOST_LOCAL, **ONE, "ranges": [[ONE]]},
        {**HOST_LOCAL, "ranges": [[ONE, ONE]]},
        {**HOST_LOCAL, "ranges": [[ONE], [{"subnet": "10.2.0.0/24"}]]},
        {**HOST_LOCAL, "ranges": [[ONE], [{"subnet": "fd00::/64"}, ONE]]},
        {**HOST_LOCAL, "ranges": [[{"subnet": "fd00::/64"}]]},
    ],
)
def test_nothing_else_is_guessed(ipam: dict[str, Any] | None) -> None:
    assert fixed_range(conflist(ipam)) is None
    assert not per_node(conflist(ipam))


def test_the_nodes_subnet_is_used_where_the_conflist_leaves_it_to_the_runtime() -> None:
    asked = {"capabilities": {"ipRanges": True}}
    assert per_node(conflist(HOST_LOCAL, **asked))
    assert not per_node(conflist({**HOST_LOCAL, **ONE}, **asked))
    assert fixed_range(conflist({**HOST_LOCAL, **ONE}, **asked)) is None
