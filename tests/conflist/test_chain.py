"""The order of invocations, and what each is given of the answers before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from emulator.conflist import chain, records, requests, results
from emulator.conflist.chain import Outcome, PluginFailed
from emulator.conflist.model import Conflist, parse
from emulator.conflist.requests import Invocation, Target
from emulator.errors import PodwireError

TARGET = Target("c1", "/run/netns/p", "eth0", (), {})
PATH = ("/bin",)
DONE = Outcome(0, b"", b"")


def conflist(*types: str, **more: Any) -> Conflist:
    plugins = [{"type": name} for name in types]
    return parse(
        json.dumps({"cniVersion": "1.1.0", "name": "net", "plugins": plugins, **more}), "f"
    )


class Binaries:
    """Answers invocations by program and command; what was asked is kept."""

    def __init__(self, answers: Mapping[tuple[str, str], Outcome] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[tuple[str, str]] = []
        self.given: list[dict[str, Any]] = []

    def answer(self, call: Invocation) -> Outcome:
        command = call.environment["CNI_COMMAND"]
        self.asked.append((call.program, command))
        self.given.append(json.loads(call.standard_input))
        if found := self.answers.get((call.program, command)):
            return found
        if command == "ADD":
            before = self.given[-1].get("prevResult", {"interfaces": []})["interfaces"]
            found = {"cniVersion": "1.1.0", "interfaces": [*before, {"name": call.program}]}
            return Outcome(0, json.dumps(found).encode(), b"")
        return DONE

    def run(self, run: chain.Run[Any]) -> Any:
        outcome = None
        while True:
            try:
                call = next(run) if outcome is None else run.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = self.answer(call)


def fails(code: int = 7, message: str = "bad") -> Outcome:
    return Outcome(1, json.dumps({"code": code, "msg": message}).encode(), b"")


def test_add_goes_in_order_and_each_gets_the_result_of_the_last() -> None:
    binaries = Binaries()
    found = binaries.run(chain.add(conflist("a", "b", "c"), "1.1.0", TARGET, PATH, "n1: pod p"))
    assert binaries.asked == [("a", "ADD"), ("b", "ADD"), ("c", "ADD")]
    assert "prevResult" not in binaries.given[0]
    assert binaries.given[2]["prevResult"]["interfaces"] == [{"name": "a"}, {"name": "b"}]
    assert [one.name for one in found.interfaces] == ["a", "b", "c"]


def test_add_ends_with_the_first_that_fails() -> None:
    binaries = Binaries({("b", "ADD"): fails()})
    with pytest.raises(PluginFailed) as caught:
        binaries.run(chain.add(conflist("a", "b", "c"), "1.1.0", TARGET, PATH, "n1: pod p"))
    assert binaries.asked == [("a", "ADD"), ("b", "ADD")]
    assert str(caught.value) == (
        "n1: pod p: b ADD (f:1: plugins[1]): found error 7 (the configuration is wrong): bad, "
        "expected a result"
    )


ADDED = results.result(b'{"cniVersion": "1.1.0", "interfaces": [{"name": "a"}]}', "1.1.0")


@pytest.mark.parametrize(
    ("version", "added", "previous"),
    [
        ("1.1.0", ADDED, True),
        ("0.4.0", ADDED, True),
        ("0.3.1", ADDED, False),  # DEL knows no result before 0.4.0
        ("1.1.0", None, False),
    ],
)
def test_delete_goes_in_reverse_with_the_final_result(
    version: str, added: results.Result | None, previous: bool
) -> None:
    binaries = Binaries()
    binaries.run(chain.delete(conflist("a", "b"), version, TARGET, PATH, "here", added))
    assert binaries.asked == [("b", "DEL"), ("a", "DEL")]
    assert [("prevResult" in given) for given in binaries.given] == [previous, previous]


def test_delete_stops_where_a_plugin_fails() -> None:
    binaries = Binaries({("b", "DEL"): fails()})
    with pytest.raises(PluginFailed, match="b DEL"):
        binaries.run(chain.delete(conflist("a", "b"), "1.1.0", TARGET, PATH, "here", None))
    assert binaries.asked == [("b", "DEL")]


def test_check_goes_in_order_where_it_may() -> None:
    binaries = Binaries()
    run = chain.check(conflist("a", "b"), "0.4.0", TARGET, PATH, "here", ADDED)
    assert binaries.run(run) is True
    assert binaries.asked == [("a", "CHECK"), ("b", "CHECK")]
    assert binaries.given[0]["prevResult"]["cniVersion"] == "0.4.0"
    for forbidden, version in (
        (conflist("a", disableCheck=True), "1.1.0"),
        (conflist("a"), "0.3.1"),
    ):
        assert Binaries().run(chain.check(forbidden, version, TARGET, PATH, "", ADDED)) is False


def test_status_and_gc_are_of_version_1_1() -> None:
    both: dict[str, Callable[[Conflist, str], chain.Run[bool]]] = {
        "STATUS": lambda c, version: chain.status(c, version, PATH, "n1"),
        "GC": lambda c, version: chain.collect(c, version, PATH, "n1", [("c1", "eth0")]),
    }
    for command, verb in both.items():
        binaries = Binaries()
        assert binaries.run(verb(conflist("a", "b"), "1.1.0")) is True
        assert binaries.asked == [("a", command), ("b", command)]
        assert Binaries().run(verb(conflist("a"), "1.0.0")) is False
    assert Binaries().run(both["GC"](conflist("a", disableGC=True), "1.1.0")) is False


def test_status_ends_with_the_first_complaint_and_gc_with_the_last() -> None:
    complaints = {(name, verb): fails(50) for name in "ab" for verb in ("STATUS", "GC")}
    binaries = Binaries(complaints)
    with pytest.raises(PluginFailed, match=r"a STATUS .*error 50 \(not available\)"):
        binaries.run(chain.status(conflist("a", "b"), "1.1.0", PATH, "n1"))
    assert binaries.asked == [("a", "STATUS")]
    with pytest.raises(PluginFailed) as caught:
        binaries.run(chain.collect(conflist("a", "b"), "1.1.0", PATH, "n1", []))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(3, b"", b"first\nlast words\n"),
         "found exit code 3 without an error object, expected a result\n"
         "    hint: it said: last words"),
        (Outcome(-11, b"", b""), "found signal 11 without an error object"),
        (Outcome(-9, b"", b"", "still running after 1 s, killed"), "found still running after 1 s"),
        (Outcome(0, b"hello", b""), "found output that is no JSON: 'hello'"),
        (Outcome(1, b"", b'{"code": 11, "msg": "x"}'), "found error 11 (try again later): x"),
    ],
)  # fmt: skip
def test_whatever_a_binary_does_is_told(outcome: Outcome, words: str) -> None:
    with pytest.raises(PluginFailed) as caught:
        Binaries({("a", "ADD"): outcome}).run(
            chain.add(conflist("a"), "1.1.0", TARGET, PATH, "n1: pod p")
        )
    assert words in str(caught.value)


def version_answer(*versions: str) -> Outcome:
    return Outcome(0, json.dumps({"supportedVersions": versions}).encode(), b"")


def test_the_newest_version_that_all_support_is_spoken() -> None:
    both = conflist("a", "b", cniVersions=["0.3.1", "0.4.0", "1.0.0"])
    binaries = Binaries(
        {
            ("a", "VERSION"): version_answer("0.3.1", "0.4.0", "1.0.0", "1.1.0"),
            ("b", "VERSION"): version_answer("0.3.1", "0.4.0"),
        }
    )
    found = binaries.run(chain.supported(both, PATH, "n1"))
    assert chain.choose(both, found, "conflist net") == "0.4.0"
    with pytest.raises(PodwireError) as caught:
        chain.choose(conflist("a", "b"), found, "conflist net")
    assert str(caught.value) == (
        "conflist net: found cniVersion 1.1.0, expected a version that all binaries of the list "
        "support\n    hint: b supports 0.3.1, 0.4.0"
    )


@pytest.mark.parametrize("added", [None, ADDED])
@pytest.mark.parametrize("undoing", [False, True])
def test_a_record_is_read_as_it_was_written(added: results.Result | None, undoing: bool) -> None:
    target = Target("c1", "/run/netns/p", "eth0", (("A", "1"),), {"mac": "00:11:22:33:44:55"})
    record = records.Record("net", "{}", "p", PATH, 30, "1.1.0", target, added, undoing, ("x",))
    assert record.name == "net-c1-eth0"
    assert records.read(record.text()) == record
    assert json.loads(record.text())["kind"] == "cniCacheV1"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": "cniCacheV1"}', "\x00"])
def test_what_is_no_record_of_ours_is_left_alone(text: str) -> None:
    assert records.read(text) is None


def test_numbers_compare_as_numbers() -> None:
    assert requests.number("0.10.0") > requests.number("0.4.0")
