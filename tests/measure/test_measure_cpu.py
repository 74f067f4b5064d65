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


def spent() -> cpu.Snapshot:
    return cpu.between(cpu.parse(BEFORE, 100), cpu.parse(AFTER, 100))


def test_softirq_irq_and_steal_count_and_idle_never_runs_backwards() -> None:
    total = spent().total
    assert total == pytest.approx((0.2, 0, 0.6, 2.0, 0, 0.05, 1.0, 0.04))
    assert total.busy_s == pytest.approx(0.2 + 0.6 + 0.05 + 1.0 + 0.04)
    assert total.all_s == pytest.approx(total.busy_s + 2.0)
    assert spent().cpus[1].softirq == pytest.approx(0.9)


@pytest.mark.parametrize(
    "text", ["", "intr 1", "cpu  1 2 3\ncpu0 1 2 3", "cpu  1 2 3 4 5 6 7 8", "cpux 1 2 3 4 5 6 7 8"]
)
def test_what_is_no_proc_stat_fails(text: str) -> None:
    with pytest.raises(MeasureFailed):
        cpu.parse(text)


@given(st.text(max_size=100) | st.text(alphabet="cpu 0123456789\n", max_size=100))
def test_garbage_raises_nothing_else(text: str) -> None:
    try:
        cpu.parse(text)
    except MeasureFailed as failure:
        assert str(failure)


def test_a_cpu_that_went_offline_is_a_failure() -> None:
    less = "\n".join(line for line in AFTER.splitlines() if not line.startswith("cpu1"))
    with pytest.raises(MeasureFailed, match=r"CPUs changed from \[0, 1\] to \[0\]"):
        cpu.between(cpu.parse(BEFORE, 100), cpu.parse(less, 100))


def test_cost_subtracts_the_background_for_the_length_of_the_window() -> None:
    background = cpu.Snapshot(cpu.Times(0.1, 0, 0.1, 3.8, 0, 0, 0, 0), {})
    samples = cost.samples(8e9, spent(), 1.0, background, 2.0, {"rate_bit_s": 8_000_000_000})
    per_gb, steal, idle = samples
    assert per_gb.value == pytest.approx(1.89 - 0.1)
    assert per_gb.unit == "s/GB"
    assert per_gb.detail["background"]
    assert steal.value == pytest.approx(0.04 / 3.89)
    assert idle.value == pytest.approx(2.0 / 3.89)


def test_without_a_background_nothing_is_subtracted_and_it_is_said() -> None:
    per_gb = cost.samples(4e9, spent(), 1.0, None, 0.0, {"rate_bit_s": 4_000_000_000})[0]
    assert per_gb.value == pytest.approx(1.89 / 0.5)
    assert per_gb.detail["background"] is None


def test_a_rate_that_was_not_kept_is_a_failure() -> None:
    with pytest.raises(MeasureFailed, match="the work is not fixed"):
        cost.samples(3.8e9, spent(), 1.0, None, 0.0, {"rate_bit_s": 4_000_000_000})


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
