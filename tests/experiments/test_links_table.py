"""The table's bars and verdicts, and what guests of bench ``virtual`` are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from emulator.bench.virtual import pool, ready
from emulator.bench.virtual.image import Image
from emulator.patience import VARIABLE
from experiments.links import __main__ as links
from experiments.links import table, virtual
from experiments.links.features import HERE, VIRTUAL, Bars, features
from experiments.links.flow import Arrival, Ends, Flow

HERE_IS = Path("/nowhere")
READY = ready.Ready(Image("abc", "7.2", HERE_IS, HERE_IS, HERE_IS, HERE_IS), HERE_IS / "moment")


class Cable(Ends):
    """Ends without a lab: each datagram takes as long as is said, and one in ``lose`` is lost."""

    def __init__(self, took_us: float, lose: int = 0) -> None:
        self._took_us, self._lose = took_us, lose

    def reversed(self) -> Ends:
        return self

    def send(self, count: int, per_s: float, frame_b: int = 100) -> Flow:
        arrivals = tuple(
            Arrival(i, round(i / per_s * 1e9), round((i / per_s * 1e6 + self._took_us) * 1e3))
            for i in range(count)
            if not self._lose or i % self._lose
        )
        return Flow(count, frame_b, arrivals, 0)


def verdicts(bars: Bars, name: str, cable: Cable, base_us: float) -> list[bool]:
    first = next(one for one in features(bars) if one.name == name)
    return [row.good for row in first.measure(cable, base_us)]


@pytest.mark.parametrize(
    ("bars", "late_us", "good"),
    [(HERE, 900, True), (HERE, 1100, False), (HERE, -1, False),
     (VIRTUAL, 9, True), (VIRTUAL, 11, False), (VIRTUAL, -9, True), (VIRTUAL, -11, False)],
)  # fmt: skip
def test_a_delay_may_be_as_late_as_its_bench_allows(bars: Bars, late_us: float, good: bool) -> None:
    assert verdicts(bars, "delay", Cable(12 + 10_000 + late_us), 12) == [good, good]


@pytest.mark.parametrize(("lose", "good"), [(20, True), (18, False), (22, False)])
def test_on_bench_virtual_many_datagrams_tell_a_loss(lose: int, good: bool) -> None:
    assert verdicts(VIRTUAL, "loss", Cable(12, lose), 12) == [good]


@pytest.mark.parametrize(
    ("last", "code"), [(["holds"], 0), (["holds", "not here"], 3), (["not here", "MISSED"], 1)]
)
def test_the_exit_code_is_that_of_the_worst_row(
    last: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert table.shown([("rate", "1mbit", "", "", "", "", one) for one in last]) == code
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "rate" for _ in last
    ]


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What guests were asked for; each answers with its own seed as its only row."""
    found: list[dict[str, Any]] = []

    def answers(
        image: Image, moment: Path, asked: Sequence[dict[str, Any]], more: Sequence[Any]
    ) -> Iterator[Any]:
        assert (image, moment, more) == (*READY, [])
        found.extend(asked)
        return ([[*one["seed"].split(" ", 2), "", "", "", "holds"]] for one in asked)

    monkeypatch.setattr(pool, "answers", answers)
    monkeypatch.setattr(virtual.Ready, "ready", lambda say: READY)
    return found


def test_each_feature_has_a_guest_and_a_seed_of_its_own(orders: list[dict[str, Any]]) -> None:
    assert links.main(["--on", "virtual"]) == 0
    assert len(orders) == len(virtual.FEATURES) == len({one["seed"] for one in orders})
    assert [one["argument"]["feature"] for one in orders] == list(range(len(orders)))
    assert {one["call"] for one in orders} == {"experiments.links.virtual:measured"}
    assert {json.loads(one["env"][VARIABLE])["image"] for one in orders} == {"abc"}


def test_only_some_features_are_the_same_ones(orders: list[dict[str, Any]]) -> None:
    assert links.main(["--on", "virtual", "--only", "delay"]) == 0
    asked = [virtual.FEATURES[one["argument"]["feature"]] for one in orders]
    assert [one.name for one in asked] == ["delay", "delay"]
    assert [one["seed"] for one in orders] == [f"links {one.name} {one.asked}" for one in asked]


def test_each_argument_has_a_seed(orders: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError):
        READY.carried_out("a:b", [{}, {}], ["one"])
