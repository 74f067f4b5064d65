"""A cell that was measured elsewhere is told whole."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import Problem
from emulator.harness.cell import Cell
from emulator.measure.sample import Sample

text = st.text(max_size=9)
numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
samples = st.builds(
    Sample,
    text,
    st.none() | numbers,
    text,
    st.dictionaries(text, plain, max_size=3),
    text,
    st.booleans(),
)
cells = st.builds(
    Cell,
    text,
    numbers,
    st.lists(samples, max_size=3).map(tuple),
    st.lists(st.dictionaries(text, st.binary(max_size=9), max_size=2), max_size=2).map(tuple),
    st.lists(st.builds(Problem, text, text, text, text), max_size=2).map(tuple),
)


@given(cells)
def test_it_comes_back_as_it_was(cell: Cell) -> None:
    assert Cell.of_json(json.loads(json.dumps(cell.as_json()))) == cell
