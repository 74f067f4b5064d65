"""A kernel with every feature does in each scenario what the scenario says, as the fake does."""

from __future__ import annotations

import pytest
import scenarios_wireguard
import scenarios_xfrm
from fake_kernel import FakeKernel
from kernel_scenarios import Scenario, play
from world import in_a_world, kernel

SCENARIOS = {**scenarios_wireguard.SCENARIOS, **scenarios_xfrm.SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_fake_kernel(scenario: Scenario) -> None:
    refusal, _ = play(FakeKernel(), scenario)
    assert refusal == scenario.refusal


@pytest.mark.full_kernel
def test_real_kernel() -> None:
    """All in one test: whoever runs it boots a kernel for it."""

    def body() -> None:
        found = []
        for scenario in SCENARIOS.values():
            with kernel() as machine:
                refusal, state = play(machine, scenario)
            _, fake = play(FakeKernel(), scenario)
            only_real = [text for text in state if text not in set(fake)]
            only_fake = [text for text in fake if text not in set(state)]
            if (refusal, only_real, only_fake) != (scenario.refusal, [], []):
                found.append((scenario.name, refusal, only_real, only_fake))
        assert not found

    in_a_world(body)
