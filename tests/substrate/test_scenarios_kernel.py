"""The real kernel does in each scenario what the scenario says, and ends where the fake ends."""

from __future__ import annotations

import pytest
from fake_kernel import FakeKernel
from kernel_scenarios import SCENARIOS, Scenario, play
from world import in_a_world, kernel

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_real_kernel(scenario: Scenario) -> None:
    def body() -> None:
        with kernel() as machine:
            refusal, state = play(machine, scenario)
        assert refusal == scenario.refusal
        _, fake = play(FakeKernel(), scenario)
        only_real = [text for text in state if text not in set(fake)]
        only_fake = [text for text in fake if text not in set(state)]
        assert (only_real, only_fake) == ([], [])

    in_a_world(body)
