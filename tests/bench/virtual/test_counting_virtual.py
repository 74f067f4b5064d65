"""Instructions of real guests, which do not notice, whose clock agrees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from emulator.bench.virtual import counting, pool
from emulator.harness.cell import Cell
from emulator.harness.settings import Settings
from emulator.measure import instructions
from emulator.measure.sample import INSTRUCTIONS
from emulator.measure.subsystems import OTHER
from emulator.verbs.virtual import Virtual

pytestmark = pytest.mark.virtual


@pytest.fixture(scope="module")
def bench() -> Virtual:
    return Virtual.ready(print)


@pytest.fixture(scope="module")
def settings(bench: Virtual) -> Settings:
    return bench.settings("instructions", quick=True)


@pytest.fixture(scope="module")
def cells(bench: Virtual, settings: Settings) -> dict[str, Cell]:
    """One of each mode of the quick matrix."""
    from experiments.instructions import experiment

    order = experiment.matrix(True).conditions
    found = bench.cells("instructions", settings)(5, order)
    return {one.arm: cell for one, cell in zip(order, found, strict=True)}


def test_a_guest_does_not_notice_that_it_is_counted(
    bench: Virtual, settings: Settings, tmp_path: Path
) -> None:
    argument: Mapping[str, Any] = {
        "experiment": "instructions", "settings": settings.as_json(),
        "condition": "host-gw_one-rack_wire_1500", "seed": 7,
    }  # fmt: skip
    orders = bench.orders("emulator.verbs.errands:cell", [argument] * 2, ["7"] * 2)
    words = [(), counting.words(tmp_path / "counts")]
    alone, counted = pool.answers(bench.image, bench.moment, orders, words)
    assert json.dumps(alone) == json.dumps(counted)
    phases = counting.parsed((tmp_path / "counts").read_text())
    assert set(phases) == {1, 2, 3, 4}


def test_every_value_is_there_and_agrees_with_the_guests_clock(cells: dict[str, Cell]) -> None:
    for arm, cell in cells.items():
        assert [one.metric for one in cell.samples] == list(INSTRUCTIONS), arm
        for one in cell.samples:
            assert one.status == "measured", one.failure
            counted = one.detail["kernel"] + one.detail["user"]  # type: ignore[operator]
            assert counted == pytest.approx(one.detail["elapsed_ns"], rel=0.005)


def test_rules_know_nearly_all_of_what_the_kernel_executes(cells: dict[str, Cell]) -> None:
    for cell in cells.values():
        for one in cell.samples:
            parts: Any = one.detail["subsystems"]
            assert sum(parts.values()) == pytest.approx(one.value)
            assert parts[OTHER] < 0.03 * sum(parts.values())


def test_a_tunnel_is_seen_where_there_is_one(cells: dict[str, Cell]) -> None:
    def functions(arm: str) -> str:
        (text,) = (
            one[instructions.FUNCTIONS] for one in cells[arm].raw if instructions.FUNCTIONS in one
        )
        return text.decode()

    assert "\tvxlan\tvxlan_xmit" in functions("vxlan")
    assert "vxlan_xmit" not in functions("host-gw")


def test_an_overlay_costs_more_and_the_same_again_does_not(cells: dict[str, Cell]) -> None:
    for at in range(len(INSTRUCTIONS)):
        routed, again, wrapped = (
            cells[arm].samples[at].value for arm in ("host-gw", "host-gw again", "vxlan")
        )
        assert routed is not None and again is not None and wrapped is not None
        assert again == pytest.approx(routed, rel=0.01)
        assert wrapped > 1.1 * routed
