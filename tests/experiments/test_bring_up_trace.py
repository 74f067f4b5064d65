"""The trace format: what the recorder writes is what the reader gives back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import PodwireError
from experiments.bring_up import trace
from experiments.bring_up.trace import Record, Recorder


def recorder() -> Recorder:
    """A recorder that catches the same transaction each time."""
    return Recorder(lambda: b"batch")


def message(sequence: int, body: bytes) -> bytes:
    """One netlink message."""
    return struct.pack("=IHHII", 16 + len(body), 16, 5, sequence, 0) + body


def test_each_kind_comes_back_as_it_was_heard() -> None:
    heard = recorder()
    heard.netns("n1")
    heard.netns("p1")
    heard.enter("n1")
    buffer = message(1, b"abcd" + bytes(4)) + message(2, b"efgh")
    heard.netlink("n1", buffer, [(20, "p1")])
    heard.ethtool("n1", "eth0", b"request")
    heard.sysctl("n1", "net/ipv4/ip_forward", "1")
    heard.nft("p1", "table ip nat {}")
    data = heard.trace()
    assert list(trace.read(data)) == [
        Record(trace.NETNS, 0, (), b"n1"),
        Record(trace.NETNS, 1, (), b"p1"),
        Record(trace.ENTER, 0, (), b""),
        Record(trace.NETLINK, 0, ((20, 1),), buffer),
        Record(trace.ETHTOOL, 0, (), b"eth0".ljust(16, b"\0") + b"request"),
        Record(trace.SYSCTL, 0, (), b"net/ipv4/ip_forward\x001\0"),
        Record(trace.NFT, 1, (), b"batch"),
    ]
    assert trace.namespaces(data) == ["n1", "p1"]
    assert trace.counts(data) == {
        "netns": 2, "enter": 1, "netlink": 1, "ethtool": 1, "sysctl": 1, "nft": 1, "messages": 2,
    }  # fmt: skip


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_payloads_of_any_length_keep_their_length_and_every_record_is_aligned(
    payloads: list[bytes],
) -> None:
    heard = recorder()
    heard.netns("n1")
    for payload in payloads:
        heard.netlink("n1", payload, [])
    data = heard.trace()
    assert [record.payload for record in trace.read(data)][1:] == payloads
    assert len(data) % 4 == 0


@given(st.integers(min_value=9, max_value=60))
def test_a_cut_off_trace_is_refused(size: int) -> None:
    heard = recorder()
    heard.netns("n1")
    heard.netlink("n1", bytes(24), [(0, "n1")])
    data = heard.trace()
    cuts = {8, 28}  # the header, and the header with the first record: whole traces
    if size < len(data) and size not in cuts:
        with pytest.raises(PodwireError, match=r"cut-off|within a record"):
            list(trace.read(data[:size]))


def test_something_else_is_refused() -> None:
    with pytest.raises(PodwireError, match="PWT1"):
        list(trace.read(b"#!/bin/sh\n"))


def test_a_transaction_that_was_not_caught_is_an_error_and_not_a_hole() -> None:
    heard = Recorder(lambda: b"")
    heard.netns("n1")
    with pytest.raises(PodwireError, match=r"capture\.c"):
        heard.nft("n1", "table ip nat {}")
