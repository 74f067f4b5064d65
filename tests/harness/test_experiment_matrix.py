from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import SpecError
from emulator.harness.experiment import Condition, Matrix, Pair, block_seed

ARMS = ["host", "host-gw", "host-gw again", "vxlan"]


def matrix() -> Matrix:
    return Matrix.cross(
        ARMS, {"offload": ["full", "wire"], "mtu": [1500, 9000]}, [Pair("vxlan", "host-gw")]
    )


@given(st.integers(), st.integers(min_value=0, max_value=1000))
def test_a_block_holds_every_condition_once_in_a_repeatable_order(seed: int, block: int) -> None:
    order = matrix().order(seed, block)
    assert sorted(one.name for one in order) == sorted(one.name for one in matrix().conditions)
    assert order == matrix().order(seed, block)


def test_blocks_differ_in_order_and_seed() -> None:
    assert len({tuple(c.name for c in matrix().order(1, block)) for block in range(20)}) == 20
    assert len({block_seed(1, block) for block in range(1000)}) == 1000


def test_every_place_is_taken_by_every_condition_equally_often() -> None:
    first = [matrix().order(7, block)[0].name for block in range(1600)]
    assert all(60 < first.count(one.name) < 145 for one in matrix().conditions)


def test_names_fit_a_file_system_and_are_unique() -> None:
    assert Condition("host-gw again", {"offload": "a/b", "mtu": 1500}).name == (
        "host-gw-again_a-b_1500"
    )
    with pytest.raises(SpecError, match="2 of this name"):
        Matrix((Condition("a b"), Condition("a-b")), ())


def test_keep_filters_and_a_pair_of_unknown_arms_is_refused() -> None:
    some = Matrix.cross(["a", "b"], {"mtu": [1, 2]}, [], keep=lambda one: one.factors["mtu"] == 1)
    assert [one.name for one in some.conditions] == ["a_1", "b_1"]
    with pytest.raises(SpecError, match="no condition of arm 'c'"):
        Matrix.cross(["a", "b"], {}, [Pair("a", "c")])
    with pytest.raises(SpecError, match="no condition"):
        Matrix((), ())
