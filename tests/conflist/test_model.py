"""A conflist from its text: what is taken, and the one message for each thing that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.conflist.model import parse
from emulator.conflist.reading import DEPTH, Invalid, read
from emulator.errors import SpecError

CONFLISTS = Path(__file__).parents[2] / "topologies/conflists"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.sampled_from((None, 1, 4)))
def test_what_is_read_is_what_the_standard_library_reads(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert read(text).value == json.loads(text)


@given(st.text(alphabet='{}[],:"0a\\ \n', max_size=12))
def test_what_is_no_json_is_refused_with_its_line(text: str) -> None:
    try:
        read(text)
    except Invalid as bad:
        assert 1 <= bad.line <= text.count("\n") + 1
        with pytest.raises(ValueError):
            # a key that stands twice is the one thing that is refused here alone
            json.loads(text, object_pairs_hook=_each_key_once)
    else:
        json.loads(text)


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def test_depth_is_bounded() -> None:
    with pytest.raises(Invalid):
        read("[" * (DEPTH + 1) + "]" * (DEPTH + 1))
    assert read("[" * DEPTH + "]" * DEPTH).value


@pytest.mark.parametrize("path", sorted(CONFLISTS.iterdir()), ids=lambda path: path.stem)
def test_every_conflist_of_the_topologies_is_good(path: Path) -> None:
    found = parse(path.read_text(), str(path))
    assert found.versions and found.plugins
    assert "host-local" in found.programs()


def test_versions_of_the_future_may_stand_beside_ours() -> None:
    one = '"name": "x", "plugins": [{"type": "a"}]'
    found = parse(f'{{"cniVersion": "2.0.0", "cniVersions": ["1.1.0", "0.3.1"], {one}}}', "f")
    assert found.versions == ("0.3.1", "1.1.0")
    # as runtimes take it: flags may be texts
    found = parse(
        f'{{"cniVersion": "0.4.0", "disableCheck": "True", "disableGC": true, {one}}}', "f"
    )
    assert found.disable_check and found.disable_gc


GOOD = {"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}]}

WRONG = {
    "f:1: conflist: found a list, expected an object with cniVersion, name and plugins": [],
    "f:1: name: found nothing, expected a name of letters, digits, '_', '.', '-'": {
        **GOOD, "name": ...,
    },
    "f:1: name: found 3, expected a name of letters, digits, '_', '.', '-'": {**GOOD, "name": 3},
    "f:1: cniVersion: found nothing, expected a version of the protocol: "
    "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0": {**GOOD, "cniVersion": ...},
    'f:1: cniVersion: found the unknown version "0.2.0", expected '
    "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n    hint: did you mean 0.4.0?": {
        **GOOD, "cniVersion": "0.2.0",
    },
    'f:1: cniVersions[1]: found "new", expected a version of the protocol: '
    "0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0": {**GOOD, "cniVersions": ["1.0.0", "new"]},
    "f:1: plugins: found an empty list, expected a list of at least one plugin": {
        **GOOD, "plugins": [],
    },
    "f:1: plugins: found nothing, expected a list of at least one plugin\n"
    "    hint: this is one plugin's configuration: a conflist has it in \"plugins\": [{…}]": {
        "cniVersion": "1.0.0", "name": "net", "type": "bridge",
    },
    "f:1: plugins[0]: found null, expected an object with a type": {**GOOD, "plugins": [None]},
    'f:1: plugins[0].type: found "../evil", expected the name of a binary': {
        **GOOD, "plugins": [{"type": "../evil"}],
    },
    'f:1: plugins[0].ipam.type: found "a/b", expected the name of a binary': {
        **GOOD, "plugins": [{"type": "bridge", "ipam": {"type": "a/b"}}],
    },
    "f:1: plugins[0].capabilities: found true, expected an object": {
        **GOOD, "plugins": [{"type": "bridge", "capabilities": True}],
    },
    'f:1: disableCheck: found "perhaps", expected true or false': {
        **GOOD, "disableCheck": "perhaps",
    },
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_said_once(message: str) -> None:
    value = WRONG[message]
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if v is not ...}
    with pytest.raises(SpecError) as caught:
        parse(json.dumps(value), "f")
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r'f:3: name: found a second "name"; the first is in line 2'
    ):
        parse('{\n"name": "a",\n"name": "b"}', "f")
