"""Many orders at a time, with guests that end when they are told to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from emulator.bench.virtual import pool
from emulator.bench.virtual.image import Image
from emulator.errors import PodwireError

IMAGE, MOMENT = cast(Image, None), Path("/moment")


class FakeGuest:
    def __init__(self, order: Mapping[str, Any]) -> None:
        self.order = order
        self.ended, self._end = os.pipe()

    def ends(self) -> None:
        """``ended`` is readable from now on."""
        if self._end >= 0:
            os.close(self._end)
            self._end = -1

    def answer(self) -> Any:
        if "fails" in self.order:
            raise PodwireError(self.order["fails"])
        return self.order["name"]

    def failed(self, found: str, remedy: str) -> PodwireError:
        return PodwireError(f"{self.order['name']}: {found}")


class Fakes:
    """An order names those (it may be one of them) that end when it begins."""

    def __init__(self) -> None:
        self.runs: dict[str, FakeGuest] = {}
        self.began: list[str] = []
        self.words: list[tuple[str, ...]] = []
        self.most = 0

    @contextmanager
    def thawed(
        self, image: Image, moment: Path, order: Mapping[str, Any], more: tuple[str, ...]
    ) -> Iterator[FakeGuest]:
        guest = self.runs[order["name"]] = FakeGuest(order)
        self.began.append(order["name"])
        self.words.append(more)
        self.most = max(self.most, len(self.runs))
        for name in order.get("ends", ()):
            self.runs[name].ends()
        try:
            yield guest
        finally:
            del self.runs[order["name"]]
            guest.ends()
            os.close(guest.ended)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    found = Fakes()
    monkeypatch.setattr(pool.guests, "thawed", found.thawed)
    monkeypatch.setattr(pool, "at_once", lambda: 2)
    return found


def test_answers_come_in_the_order_of_orders_and_two_at_a_time(fakes: Fakes) -> None:
    orders = [{"name": "a"}, {"name": "b", "ends": "b"}, {"name": "c", "ends": "c"},
              {"name": "d", "ends": "da"}]  # fmt: skip
    assert list(pool.answers(IMAGE, MOMENT, orders)) == ["a", "b", "c", "d"]
    assert (fakes.began, fakes.most, fakes.runs) == (["a", "b", "c", "d"], 2, {})


def test_words_for_qemu_are_each_orders_own(fakes: Fakes) -> None:
    orders = [{"name": "a", "ends": "a"}, {"name": "b", "ends": "b"}]
    assert list(pool.answers(IMAGE, MOMENT, orders, [("-x",), ("-y",)])) == ["a", "b"]
    assert fakes.words == [("-x",), ("-y",)]


def test_nothing_to_do(fakes: Fakes) -> None:
    assert list(pool.answers(IMAGE, MOMENT, [])) == []
    assert fakes.began == []


def test_one_that_fails_ends_all(fakes: Fakes) -> None:
    orders = [{"name": "a"}, {"name": "b", "ends": "b", "fails": "b is lost"}, {"name": "c"}]
    with pytest.raises(PodwireError, match="b is lost"):
        list(pool.answers(IMAGE, MOMENT, orders))
    assert (fakes.began, fakes.runs) == (["a", "b"], {})


def test_who_closes_it_ends_all(fakes: Fakes) -> None:
    orders = [{"name": "a", "ends": "a"}, {"name": "b"}, {"name": "c"}]
    answers = pool.answers(IMAGE, MOMENT, orders)
    assert next(answers) == "a"
    assert list(fakes.runs) == ["b", "c"], "the next one does not wait until it is asked for"
    answers.close()
    assert fakes.runs == {}


def test_one_that_hangs_is_told(fakes: Fakes) -> None:
    with pytest.raises(PodwireError, match=r"a: no end of it after 0\.01 s"):
        list(pool.answers(IMAGE, MOMENT, [{"name": "a"}, {"name": "b"}], patience_s=0.01))
    assert fakes.runs == {}


@pytest.mark.parametrize(
    ("cpus", "free_mib", "most"),
    [(1, 64000, 1), (2, 64000, 2), (8, 64000, 8), (8, 4000, 3), (8, 100, 1)],
)
def test_as_many_as_cpus_and_memory_allow(
    cpus: int, free_mib: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(
        f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable:   {free_mib * 1024} kB\n"
    )
    assert pool.at_once(meminfo) == most
