"""Samples and percentiles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import connect, cost, distribution, iperf, ping, sample, search
from emulator.measure.sample import METRICS, Measured, failed, good, is_speed, unsupported

TIMES = st.lists(st.floats(min_value=0, max_value=1e9), min_size=1, max_size=300)


def test_every_metric_of_every_instrument_has_a_unit_and_a_meaning() -> None:
    for group in (
        iperf.TCP_METRICS, iperf.UDP_METRICS, search.METRICS, ping.METRICS, connect.METRICS,
        cost.METRICS, distribution.names("tcp_rtt"), distribution.names("udp_load_rtt"),
    ):  # fmt: skip
        assert set(group) <= METRICS.keys()
    assert all(metric.unit and metric.meaning for metric in METRICS.values())
    assert {name for name in METRICS if name.endswith("_us")} == {
        name for name, metric in METRICS.items() if metric.unit == "us"
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_a_failure(value: float) -> None:
    made = good("throughput_bit_s", value)
    assert made.value is None
    assert made.failure == f"the value is {value}"


def test_a_failure_needs_a_reason_and_a_metric_needs_its_name() -> None:
    with pytest.raises(ValueError, match="without a reason"):
        failed("throughput_bit_s", "")
    with pytest.raises(KeyError):
        good("speed", 1)


def test_a_metric_of_time_is_one_of_speed_and_what_is_right_on_any_cpu_is_counted() -> None:
    counted = {name for name in METRICS if not is_speed(name)}
    assert counted >= {"header_b", "path_mtu_b", "frame_b", "uplink_tx_b", "tunnel_tx_b",
                       "icmp_loss_ratio"}  # fmt: skip
    assert counted.isdisjoint(
        {"throughput_bit_s", "packet_rate_pps", "loss_ratio", "cpu_s_per_gb", "retransmits",
         "outage_ms", "lost_packets", "interface_drops", "cell_steal_ratio", "add_p50_ms"}
    )  # fmt: skip
    timely = {"us", "ms", "s", "s/GB", "1/s"}
    assert {METRICS[name].unit for name in counted}.isdisjoint(timely)
    assert is_speed("up_s"), "what an experiment names by itself"


def test_the_three_kinds_of_samples() -> None:
    kinds = [good("header_b", 92), failed("header_b", "no frame"), unsupported("header_b", "ipip")]
    assert [one.status for one in kinds] == ["measured", "failed", "unsupported"]
    assert (kinds[2].value, kinds[2].failure) == (None, "ipip")


def test_a_metric_that_was_not_measured_is_not_a_failed_one() -> None:
    measured = Measured((failed("retransmits", "no"),), {})
    assert measured.value("retransmits") is None
    with pytest.raises(KeyError):
        measured.value("throughput_bit_s")


@given(TIMES, st.floats(min_value=0.001, max_value=1))
def test_a_quantile_is_a_value_and_splits_the_values(times: list[float], level: float) -> None:
    ordered = sorted(times)
    found = distribution.quantile(ordered, level)
    assert found in ordered
    assert sum(one <= found for one in ordered) >= level * len(ordered) - 1e-6
    assert sum(one < found for one in ordered) <= level * len(ordered) + 1e-6


@given(TIMES)
def test_percentiles_rise_and_only_those_that_the_count_carries_have_a_value(
    times: list[float],
) -> None:
    samples = distribution.percentiles("crr", times)
    values = [one.value for one in samples if one.value is not None]
    assert values == sorted(values)
    carried = [len(times) >= least for least in (2, 10, 100, 1000)]
    assert [one.value is not None for one in samples] == carried
    if samples[0].value is not None:
        assert samples[0].value == distribution.quantile(sorted(times), 0.5)


def test_the_levels_of_percentiles_and_names_agree() -> None:
    assert tuple(sample.PERCENTILES) == ("p50", "p90", "p99", "p999")
    assert tuple(sorted(set(distribution.CURVE_LEVELS))) == distribution.CURVE_LEVELS
