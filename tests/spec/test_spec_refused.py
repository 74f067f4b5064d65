"""Messages as a product: every file of refused/ has beside it the text that it is refused with.

``python tests/spec/test_spec_refused.py`` writes these texts anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.errors import SpecError
from emulator.spec import limits, load, load_text, reader

REFUSED = Path(__file__).parent / "refused"
FILES = sorted(path.stem for path in REFUSED.glob("*.yaml"))
LOADERS = {"libyaml": yaml.CSafeLoader, "python": yaml.SafeLoader}

CLUSTER = """\
apiVersion: podwire/v1
kind: Cluster
metadata: {name: refused}
spec:
  network: {plugin: flannel}
  nodes: {count: 2}
"""


def refused(name: str) -> SpecError:
    text = (REFUSED / f"{name}.yaml").read_text()
    with pytest.raises(SpecError) as caught:
        load_text(text, f"{name}.yaml")
    return caught.value


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", FILES)
def test_the_message_is_the_golden_one(
    name: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "fastest", lambda: LOADERS[loader])
    error = refused(name)
    assert f"{error}\n" == (REFUSED / f"{name}.txt").read_text()
    assert error.exit_code == 2


def refusal(text: str | bytes) -> str:
    with pytest.raises(SpecError) as caught:
        load_text(text, "x.yaml")
    return str(caught.value)


def test_the_base_of_these_tests_loads() -> None:
    assert len(load_text(CLUSTER).nodes) == 2


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n---\n", "~\n", b""])
def test_an_empty_file(text: str | bytes) -> None:
    assert refusal(text) == (
        "x.yaml:1:1: document: found an empty file, expected one document with kind: Cluster"
    )


def test_a_file_that_is_not_utf_8() -> None:
    data = CLUSTER.encode() + "  # Gr\xfc\xdfe".encode("latin-1")
    assert refusal(data) == ("x.yaml:7:7: document: found the byte 0xfc, expected text in UTF-8")


def test_utf_16_is_not_utf_8() -> None:
    assert "x.yaml:1:1: document: found the byte 0xff" in refusal(CLUSTER.encode("utf-16"))


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert load_text(b"\xef\xbb\xbf" + CLUSTER.encode()) == load_text(CLUSTER)
    assert load_text("\ufeff" + CLUSTER) == load_text(CLUSTER)


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_5000_deep(
    loader: type[Any], opening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "fastest", lambda: loader)
    message = refusal(opening * 5000)
    assert "found more than 64 levels of nesting, expected at most 64 levels" in message
    assert len(message) < 10_000


def test_nesting_up_to_the_limit_is_no_trouble_of_the_reader() -> None:
    assert "nesting" not in refusal("[" * limits.DEPTH + "]" * limits.DEPTH)


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
def test_an_alias_bomb(loader: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "fastest", lambda: loader)
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    message = refusal("a0: &a0 [lol, lol]\n" + "\n".join(levels))
    assert message.startswith("x.yaml:7:")
    assert "found more than 500,000 values with the aliases written out" in message


def test_an_alias_is_the_value_of_its_anchor() -> None:
    text = CLUSTER + (
        "  pods:\n"
        "    - {name: a, node: n1, command: &sleep [sleep, infinity]}\n"
        "    - {name: b, node: n2, command: *sleep}\n"
    )
    assert {pod.containers[0].command for pod in load_text(text).pods} == {("sleep", "infinity")}


def test_100_mb_of_input(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(SpecError, match="found more than 4 MiB, expected at most 4 MiB"):
        load(path)


def test_an_endless_file() -> None:
    with pytest.raises(SpecError, match="/dev/zero: found more than 4 MiB"):
        load("/dev/zero")


def test_a_text_of_the_largest_size_is_read() -> None:
    assert len(load_text(CLUSTER + "#" * (limits.BYTES - len(CLUSTER))).nodes) == 2


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cases = {
        str(tmp_path / "none.yaml"): "no file of that name",
        str(tmp_path): "a directory",
        "\0": "embedded null byte",
        "/proc/self/mem": "Input/output error",
        "x" * 300: "File name too long",
    }
    for path, found in cases.items():
        with pytest.raises(SpecError) as caught:
            load(path)
        assert found in str(caught.value)


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize(
    ("text", "place", "part"),
    [
        (CLUSTER + "\tpods: []\n", "x.yaml:7:1: ", "indented with spaces"),
        (CLUSTER + "  pods: {perNode: 1\n\n", "x.yaml:9:1: ", "syntax error"),
        (CLUSTER + "  pods: ]\n", "x.yaml:7:9: ", "syntax error"),
        (CLUSTER + ' pods: "\\ud800x\n', "x.yaml:7:", "syntax error"),
        (CLUSTER + "  nodes: {count: 1}\n  pods: @\n", "x.yaml:8:9: ", "a second time"),
    ],
)
def test_what_is_not_yaml(
    text: str, place: str, part: str, loader: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "fastest", lambda: loader)
    message = refusal(text)
    assert place in message
    assert part in message
    assert "syntax error" in message


def test_half_of_a_surrogate_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """libyaml takes it for a syntax error, PyYAML's own parser for a character."""
    for loader in LOADERS.values():
        monkeypatch.setattr(reader, "fastest", lambda loader=loader: loader)
        assert "x.yaml:7:" in refusal(CLUSTER + '  pods: [{name: "\\ud800", node: n1}]\n')


def test_every_problem_of_a_file_has_a_place_in_it_and_they_are_in_order() -> None:
    for name in FILES:
        with pytest.raises(SpecError) as caught:
            load(REFUSED / f"{name}.yaml")
        marks = []
        for problem in caught.value.problems:
            file, line, column, rest = str(problem).split(":", 3)
            assert file == str(REFUSED / f"{name}.yaml")
            assert rest
            marks.append((int(line), int(column)))
        assert marks == sorted(marks)
        assert min(marks) >= (1, 1)


if __name__ == "__main__":
    for stem in FILES:
        said = refused(stem)
        (REFUSED / f"{stem}.txt").write_text(f"{said}\n")
