"""What a guest says at its end, and what is kept of guests, without any."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.bench.virtual import guests, image, inside
from emulator.bench.virtual.guests import Guest
from emulator.bench.virtual.image import Image
from emulator.errors import PodwireError, Problem, SpecError, Unsupported

PROBLEM = Problem("link n1", "no carrier", "one", "podwire heal")


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    """One that has come as far as its greeting."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b'{"QMP": {}}\n{"return": {}}\n')
        yield Guest(tmp_path, ours, -1, "bench virtual: 7 vxlan")


@pytest.fixture
def carried_out(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Any], Any]], bytes]:
    """Carry out an order as the guest does, but here; what is in ``answers`` then."""

    def carry_out(function: Callable[[Any], Any]) -> bytes:
        order, answers = guest.folder / "order", guest.folder / "answers"
        words = {"call": "here:function", "argument": {"x": 1}, "seed": "s", "env": {"SEEN": "y"}}
        order.write_bytes(json.dumps(words).encode() + bytes(9))
        answers.write_bytes(b"")
        monkeypatch.setattr(inside, "ORDER", order)
        monkeypatch.setattr(inside, "ANSWERS", str(answers))
        for name in ("pause", "_seed"):
            monkeypatch.setattr(inside, name, lambda *_: None)
        monkeypatch.setattr(inside, "_function", {"here:function": function}.__getitem__)
        monkeypatch.setenv("SEEN", "")
        inside.main(["json"])
        return answers.read_bytes()

    return carry_out


def test_an_answer_comes_as_it_was_given(guest: Guest, carried_out: Any) -> None:
    carried_out(lambda argument: [argument, os.environ["SEEN"], None, 1.5])
    assert guest.answer() == [{"x": 1}, "y", None, 1.5]
    carried_out(lambda argument: None)
    assert guest.answer() is None


@pytest.mark.parametrize("kind", [PodwireError, SpecError, Unsupported])
def test_an_error_of_ours_is_the_same_here(
    guest: Guest, carried_out: Any, kind: type[PodwireError]
) -> None:
    def fails(_: Any) -> None:
        raise kind(PROBLEM, "some words")

    carried_out(fails)
    with pytest.raises(PodwireError) as caught:
        guest.answer()
    assert (type(caught.value), caught.value.problems) == (kind, (PROBLEM, "some words"))


def test_one_that_only_the_guest_knows_is_still_ours(guest: Guest, carried_out: Any) -> None:
    class OfSomeModule(PodwireError):
        """Not in emulator.errors."""

    def fails(_: Any) -> None:
        raise OfSomeModule(PROBLEM)

    carried_out(fails)
    with pytest.raises(PodwireError, match="found no carrier"):
        guest.answer()


def test_another_error_says_where(guest: Guest, carried_out: Any) -> None:
    (guest.folder / "console").write_text("the last line\n")

    def fails(_: Any) -> None:
        raise ZeroDivisionError("of what")

    carried_out(fails)
    with pytest.raises(PodwireError, match=r"(?s)in fails.*ZeroDivisionError: of what") as caught:
        guest.answer()
    assert "| the last line" in str(caught.value) and "a fault of the program" in str(caught.value)
    carried_out(lambda argument: object())
    with pytest.raises(PodwireError, match="object is not JSON serializable"):
        guest.answer()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_half_an_answer_is_none(guest: Guest, carried_out: Any, data: st.DataObject) -> None:
    whole = carried_out(lambda argument: argument)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    for wrong in (whole[:at], bytes(changed)):
        (guest.folder / "answers").write_bytes(wrong)
        with pytest.raises(PodwireError, match="ended without a whole answer"):
            guest.answer()


@pytest.mark.parametrize(
    ("console", "found", "remedy"),
    [
        ("[ 9.1] Kernel panic - not syncing: x\n", "Kernel panic - not syncing: x", "the same"),
        ("[ 9.1] Out of memory: Killed process 9 (x)\n[ 9.2] reboot: Power down\n",
         "Out of memory: Killed process 9", "a smaller cluster"),
        ("", "ended without a whole answer", "with room in /"),
    ],
)  # fmt: skip
def test_why_it_ended_is_in_its_console(
    guest: Guest, console: str, found: str, remedy: str
) -> None:
    (guest.folder / "console").write_text(console)
    (guest.folder / "answers").touch()
    with pytest.raises(PodwireError) as caught:
        guest.answer()
    (problem,) = caught.value.problems
    assert isinstance(problem, Problem)
    assert problem.place == "bench virtual: 7 vxlan"
    assert found in problem.found and remedy in problem.hint
    assert all(f"| {line}" in problem.found for line in console.splitlines())


# --- what is kept --------------------------------------------------------------------------


@pytest.fixture
def freezing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Image, list[str]]:
    """An image whose guests boot, load and are frozen in no time, and what is said meanwhile."""

    class Quick:
        def __init__(self, words: tuple[str, ...], sources: bytes) -> None:
            self._state = words[0].encode() + sources

        def go_on_from(self, place: Path) -> None:
            self._state += b" " + place.read_bytes()

        def until_it_asks_for_pause(self) -> None:
            pass

        def written_to(self, place: Path) -> None:
            place.write_bytes(self._state)

    @contextmanager
    def running(
        image: Image, order: Any, words: tuple[str, ...], sources: bytes = b""
    ) -> Iterator[Quick]:
        assert order == {}
        yield Quick(words, sources)

    monkeypatch.setattr(guests, "_running", running)
    made = Image("d1", "7.2", *(tmp_path / name for name in ("k", "b", "s", "h")))
    made.sources.write_bytes(b" s1")
    return made, []


def test_a_guest_is_frozen_once(freezing: tuple[Image, list[str]]) -> None:
    made, said = freezing
    place = guests.frozen(made, said.append)
    assert guests.frozen(made, said.append) == place
    assert place.read_bytes() == b"-incoming s1 -initrd" and len(said) == 2
    other = made._replace(digest="d2", sources=made.sources.with_name("s2"))
    other.sources.write_bytes(b" s2")
    assert guests.frozen(other, said.append).read_bytes() == b"-incoming s2 -initrd"
    assert len(said) == 3, "not booted again"


@pytest.mark.parametrize("booted", [False, True])
@pytest.mark.parametrize("harm", ["moment", "sha256", "no sha256"])
def test_a_damaged_one_is_made_anew(
    freezing: tuple[Image, list[str]], harm: str, booted: bool
) -> None:
    made, said = freezing
    place = guests.frozen(made, said.append)
    whole = place.read_bytes()
    if booted:
        shutil.rmtree(place.parent)
        place = place.parent.with_name("booted") / "moment"
    kept = place.with_name("x-quick.json")
    kept.touch()
    if harm == "no sha256":
        place.with_name("sha256").unlink()
    else:
        place.with_name(harm).write_bytes(b"half of it")
    del said[:]
    assert guests.frozen(made, said.append).read_bytes() == whole
    assert "booting" in said[0] if booted else "is damaged: made anew" in said[0]
    assert "loads this version" in said[1] and len(said) == 2
    assert not kept.exists(), "what the damaged one had said"


def used(path: Path, hours_ago: float) -> Path:
    if not path.suffix:
        path.mkdir()
        (path / "content").touch()
    path.touch()
    then = time.time() - 3600 * hours_ago
    os.utime(path, (then, then))
    return path


def test_old_versions_go_away(tmp_path: Path) -> None:
    hours = (0.0, 0.5, 0.9, 1.5, 2.0, 3.0)
    for kept in ([used(tmp_path / f"frozen-{at}h", at) for at in hours],
                 [used(tmp_path / f"sources-{at}.cpio", at) for at in hours]):  # fmt: skip
        image.clear_away(kept)
        assert [one.exists() for one in kept] == [True, True, True, False, False, False]


def test_the_last_three_stay_however_old(tmp_path: Path) -> None:
    kept = [used(tmp_path / f"frozen-{at}h", at) for at in (50, 40, 30, 20)]
    image.clear_away(kept)
    assert [one.exists() for one in kept] == [False, True, True, True]


def test_what_somebody_uses_stays_however_many_there_are(tmp_path: Path) -> None:
    kept = [used(tmp_path / f"frozen-{n}h", 0.9) for n in range(5)]
    image.clear_away(kept)
    assert all(one.exists() for one in kept)


def test_what_a_killed_command_left_goes_away(freezing: tuple[Image, list[str]]) -> None:
    made, said = freezing
    here = made.kernel.parent
    old, young = used(here / ".making-old", 1.5), used(here / ".making-young", 0.5)
    guests.frozen(made, said.append)
    assert (old.exists(), young.exists()) == (False, True)


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fails(place: Path) -> None:
        place.mkdir()
        (place / "half").touch()
        raise error

    error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PodwireError, match=f"{tmp_path}: found No space left.*\n.*free some space"):
        image.finished(tmp_path / "place", fails)
    error = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OSError, match="Input/output error"):
        image.finished(tmp_path / "place", fails)
    assert list(tmp_path.iterdir()) == []


def test_another_command_may_be_faster(tmp_path: Path) -> None:
    def make(place: Path) -> None:
        for one in (place, tmp_path / "place"):
            one.mkdir()
            (one / "content").touch()

    image.finished(tmp_path / "place", make)
    assert [one.name for one in tmp_path.iterdir()] == ["place"]
