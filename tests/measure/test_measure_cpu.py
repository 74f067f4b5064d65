"""CPU time of the machine, and the cost of a gigabyte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.measure import cost, cpu
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed

BEFORE = """cpu  100 10 200 4000 50 5 30 2 7 0
cpu0 50 5 100 2000 25 3 10 1 7 0
cpu1 50 5 100 2000 25 2 20 1 0 0
intr 1 2 3
ctxt 99
"""
AFTER = """cpu  120 10 260 4200 49 10 130 6 9 0
cpu0 60 5 130 2150 24 8 20 3 9 0
cpu1 60 5 130 2050 25 2 110 3 0 0
intr 1 2 3
"""


def spent() -> cpu.Spent:
    return cpu.between(cpu.parse(10.0, BEFORE, 100), cpu.parse(12.0, AFTER, 100))


def test_busy_is_what_was_not_idle_and_not_what_the_ticks_sampled() -> None:
    found = spent()
    assert found.window_s == 2.0
    # CPU 0 was idle for 1.5 s; its iowait ran backwards by a tick, which is none.
    assert found.busy_s_by_cpu == pytest.approx({0: 0.5, 1: 1.5})
    assert found.busy_s == pytest.approx(2.0)
    assert found.idle_s == pytest.approx(2.0)
    assert found.all_s == pytest.approx(4.0)


def test_softirq_irq_and_steal_are_among_the_kinds() -> None:
    assert spent().kinds == pytest.approx((0.2, 0, 0.6, 2.0, 0, 0.05, 1.0, 0.04))


def test_more_idle_than_time_is_no_negative_work() -> None:
    found = cpu.between(cpu.parse(10.0, BEFORE, 100), cpu.parse(11.0, AFTER, 100))
    assert found.busy_s_by_cpu == pytest.approx({0: 0.0, 1: 0.5})
    assert found.idle_s == pytest.approx(1.5)
    with pytest.raises(MeasureFailed, match="a window of 0"):
        cpu.between(cpu.parse(10.0, BEFORE), cpu.parse(10.0, AFTER))


@pytest.mark.parametrize(
    "text", ["", "intr 1", "cpu  1 2 3\ncpu0 1 2 3", "cpu  1 2 3 4 5 6 7 8", "cpux 1 2 3 4 5 6 7 8"]
)
def test_what_is_no_proc_stat_fails(text: str) -> None:
    with pytest.raises(MeasureFailed):
        cpu.parse(0.0, text)


@given(st.text(max_size=100) | st.text(alphabet="cpu 0123456789\n", max_size=100))
def test_garbage_raises_nothing_else(text: str) -> None:
    try:
        cpu.parse(0.0, text)
    except MeasureFailed as failure:
        assert str(failure)


def test_a_cpu_that_went_offline_is_a_failure() -> None:
    less = "\n".join(line for line in AFTER.splitlines() if not line.startswith("cpu1"))
    with pytest.raises(MeasureFailed, match=r"CPUs changed from \[0, 1\] to \[0\]"):
        cpu.between(cpu.parse(0.0, BEFORE), cpu.parse(1.0, less))


def test_cost_subtracts_the_background_for_the_length_of_the_window() -> None:
    background = cpu.Spent(4.0, {0: 0.1, 1: 0.1}, 7.8, cpu.Times(*[0.0] * 8))
    samples = cost.samples(4e9, spent(), background, {"rate_bit_s": 4_000_000_000})
    per_gb, steal, idle = samples
    assert per_gb.value == pytest.approx(2.0 - 0.1)
    assert per_gb.unit == "s/GB"
    assert per_gb.detail["background"]
    assert steal.value == pytest.approx(0.04 / 4)
    assert idle.value == pytest.approx(0.5)


def test_a_background_too_large_to_be_subtracted_is_a_failure_that_says_so() -> None:
    background = cpu.Spent(4.0, {0: 1.5, 1: 0.0}, 6.5, cpu.Times(*[0.0] * 8))
    with pytest.raises(MeasureFailed, match=r"other work took .* at most 30% can be subtracted"):
        cost.samples(4e9, spent(), background, {"rate_bit_s": 4_000_000_000})


def test_without_a_background_nothing_is_subtracted_and_it_is_said() -> None:
    per_gb = cost.samples(2e9, spent(), None, {"rate_bit_s": 2_000_000_000})[0]
    assert per_gb.value == pytest.approx(2.0 / 0.5)
    assert per_gb.detail["background"] is None


def test_a_rate_that_was_not_kept_is_a_failure() -> None:
    with pytest.raises(MeasureFailed, match="the work is not fixed"):
        cost.samples(3.8e9, spent(), None, {"rate_bit_s": 4_000_000_000})


def test_an_early_end_of_iperf3_is_reported_in_its_words(
    recorded: Callable[[str], bytes], scripted: Any
) -> None:
    server = scripted(lambda argv: None)
    client = scripted(lambda argv: (recorded("iperf3-3.12-refused.json"), b""))
    measured = cost.cpu_per_gb(
        server, client, rate_bit_s=10**9, seconds=0.2, omit_s=0.1, idle_s=0, read=lambda: BEFORE
    )
    assert {sample.failure for sample in measured.samples} == {
        "iperf3: unable to connect to server: Connection refused"
    }
    assert all(running.killed for running in server.started)


@pytest.mark.parametrize(
    ("available", "client", "server"),
    [
        ([3], (3,), (3,)),
        ([1, 0], (0,), (1,)),
        ([0, 1, 2], (0,), (2,)),
        (range(8), (0, 1, 2, 3), (4, 5, 6, 7)),
    ],
)
def test_cpu_placement(
    available: list[int], client: tuple[int, ...], server: tuple[int, ...]
) -> None:
    assert CpuMap.for_machine(available) == CpuMap(client, server)


def test_streams_go_round_the_cpus() -> None:
    cpus = CpuMap((0, 1), (2,))
    assert [cpus.for_client(n) for n in range(3)] == [(0,), (1,), (0,)]
    assert [cpus.for_server(n) for n in range(2)] == [(2,), (2,)]
    with pytest.raises(ValueError, match="no CPU"):
        CpuMap.for_machine([])
