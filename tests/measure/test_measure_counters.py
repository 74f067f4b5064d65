"""Counters of drops and retransmissions between two looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from emulator.measure import counters
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Sample

SOFTNET = "0000000b 00000001 0000000f 00000000\n00001409 00000000 00000002 00000000\n"


class Pod:
    """Only the counters of a place."""

    name = "a"

    def __init__(self) -> None:
        self.retransmits, self.dropped = 5, 0

    def snmp(self) -> Mapping[str, int]:
        return {"Tcp.RetransSegs": self.retransmits, "Udp.InErrors": 1, "Ip.InReceives": 9}

    def counters(self, interface: str) -> Mapping[str, int]:
        return {"rx_dropped": self.dropped, "tx_dropped": 0, "rx_errors": 0, "tx_errors": 0}


def difference(pod: Any, softnet: str = SOFTNET) -> dict[str, Sample]:
    before = counters.look([(pod, ["eth0"])], lambda: SOFTNET)
    pod.retransmits += 3
    pod.dropped += 2
    after = counters.look([(pod, ["eth0"])], lambda: softnet)
    measured = counters.between(before, after)
    assert b'"a/eth0"' in measured.raw["counters.json"]
    return {sample.metric: sample for sample in measured.samples}


def test_counts_what_came_in_between_and_says_where() -> None:
    found = difference(Pod(), "0000000c 00000001 00000010 0\n00001409 00000007 00000002 0\n")
    assert {metric: sample.value for metric, sample in found.items()} == {
        "tcp_retransmitted_segments": 3, "udp_receive_errors": 0, "interface_drops": 2,
        "softnet_drops": 7, "softnet_squeezes": 1,
    }  # fmt: skip
    assert found["interface_drops"].detail["where"] == {"a/eth0 rx_dropped": 2}
    assert found["softnet_drops"].detail["where"] == {"cpu1 count": 7}


def test_a_counter_that_ran_backwards_is_a_failure_of_its_sample_only() -> None:
    pod = Pod()

    found = difference(pod, "0000000c 00000000 00000010 0\n00001409 00000000 00000002 0\n")
    assert found["softnet_drops"].failure == "count of cpu0 ran backwards by 1"
    assert found["interface_drops"].value == 2


def test_a_missing_counter_is_a_failure() -> None:
    class Old(Pod):
        def snmp(self) -> Mapping[str, int]:
            return {"Tcp.RetransSegs": 1}

    assert "a has no counter 'Udp.InErrors'" in difference(Old())["udp_receive_errors"].failure


@pytest.mark.parametrize("text", ["", "zz zz zz", "0000000b"])
def test_what_is_no_softnet_stat_fails(text: str) -> None:
    with pytest.raises(MeasureFailed):
        counters.parse_softnet(text)
