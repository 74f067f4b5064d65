"""The fake kernel does in each scenario what the scenario says of kernels."""

from __future__ import annotations

import pytest
from fake_kernel import FakeKernel
from kernel_scenarios import DATAPATHS, FULL_SCENARIOS, SCENARIOS, TUNNELS, Scenario, play

EVERY = SCENARIOS | TUNNELS | FULL_SCENARIOS | DATAPATHS


@pytest.mark.parametrize("scenario", EVERY.values(), ids=EVERY)
def test_fake_kernel(scenario: Scenario) -> None:
    refusal, _ = play(FakeKernel(), scenario)
    assert refusal == scenario.refusal
