"""The real kernel does in each scenario what the scenario says, and ends where the fake ends."""

from __future__ import annotations

import pytest
from fake_kernel import FakeKernel
from kernel_scenarios import DATAPATHS, FULL_SCENARIOS, SCENARIOS, TUNNELS, Scenario, play
from world import in_a_world, kernel


@pytest.mark.kernel
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_real_kernel(scenario: Scenario) -> None:
    _same(scenario)


@pytest.mark.full_kernel
@pytest.mark.parametrize("scenario", TUNNELS.values(), ids=TUNNELS)
def test_real_kernel_with_every_device(scenario: Scenario) -> None:
    _same(scenario)


@pytest.mark.full_kernel
@pytest.mark.parametrize("scenario", DATAPATHS.values(), ids=DATAPATHS)
def test_real_kernel_with_open_vswitch(scenario: Scenario) -> None:
    _same(scenario)


def _same(scenario: Scenario) -> None:
    as_said(scenario)


@pytest.mark.full_kernel
@pytest.mark.parametrize("scenario", FULL_SCENARIOS.values(), ids=FULL_SCENARIOS)
def test_kernel_with_everything(scenario: Scenario) -> None:
    as_said(scenario)


def as_said(scenario: Scenario) -> None:
    def body() -> None:
        with kernel() as machine:
            refusal, state = play(machine, scenario)
        assert refusal == scenario.refusal
        _, fake = play(FakeKernel(), scenario)
        only_real = [text for text in state if text not in set(fake)]
        only_fake = [text for text in fake if text not in set(state)]
        assert (only_real, only_fake) == ([], [])

    in_a_world(body)
