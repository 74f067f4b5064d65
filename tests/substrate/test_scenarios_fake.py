"""The fake kernel does in each scenario what the scenario says of kernels."""

from __future__ import annotations

import pytest
from fake_kernel import FakeKernel
from kernel_scenarios import SCENARIOS, Scenario, play


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_fake_kernel(scenario: Scenario) -> None:
    refusal, _ = play(FakeKernel(), scenario)
    assert refusal == scenario.refusal
