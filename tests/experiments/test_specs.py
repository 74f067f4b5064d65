from __future__ import annotations

from typing import cast

import pytest

from emulator.harness.experiment import Condition
from emulator.spec.resolved import ResolvedSpec
from experiments.labs import Specs


def test_a_spec_is_resolved_when_it_is_asked_for_and_once() -> None:
    made: list[str] = []

    def make(condition: Condition) -> ResolvedSpec:
        made.append(condition.name)
        return cast(ResolvedSpec, object())

    specs = Specs([Condition("a", {}), Condition("b", {}), Condition("c", {})], make)
    assert (list(specs), len(specs), made) == (["a", "b", "c"], 3, [])
    assert specs["b"] is specs["b"]
    assert made == ["b"]
    assert "nobody" not in specs
    with pytest.raises(KeyError):
        specs["nobody"]
    assert [one for one in specs.values()][1] is specs["b"]
    assert made == ["b", "a", "c"]
