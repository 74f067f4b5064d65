from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.harness.store import StoredRun
from emulator.report import reproduction, table

Make = Callable[..., StoredRun]
ONE = {"bench": {"bench": "virtual", "accelerator": "icount", "image": "aaaa"}}
OTHER = {"bench": {**ONE["bench"], "image": "bbbb"}}
RATES = {("rate", "vxlan", 1500): [100.0, 101.0, 102.0], ("rate", "host-gw", 1500): [200.0] * 3}


def moved(by: float, blocks: int = 3) -> dict[Any, list[float]]:
    return {key: [value * by for value in column[:blocks]] for key, column in RATES.items()}


def test_a_run_of_the_same_image_is_the_same_in_every_sample(make_run: Make) -> None:
    found = reproduction.compare(make_run(RATES, ONE), make_run(RATES, ONE, name="again"))
    (line,) = found.lines
    assert found.image and found.good
    assert (line.metric, line.samples, line.same, line.moved) == ("rate", 6, 6, 0.0)
    assert line.allowed == 0 and line.verdict == "same"


def test_of_the_same_image_nothing_may_differ(make_run: Make) -> None:
    found = reproduction.compare(make_run(RATES, ONE), make_run(moved(1 + 1e-12), ONE))
    (line,) = found.lines
    assert not found.good
    assert (line.same, line.verdict) == (0, "differs")


def test_the_detail_of_a_sample_counts_as_well(make_run: Make) -> None:
    run = make_run(RATES, ONE)
    first, *rest = run.rows
    other = run._replace(rows=(first._replace(detail={"packets": 1}), *rest))
    assert not reproduction.compare(run, other).good


def test_when_and_how_often_it_was_tried_does_not(make_run: Make) -> None:
    run = make_run(RATES, ONE)
    other = run._replace(rows=tuple(one._replace(cell=one.cell + 7) for one in run.rows))
    assert reproduction.compare(run, other).good


@pytest.mark.parametrize(
    ("by", "verdict"), [(1.0, "same"), (1.019, "within"), (1.021, "differs"), (0.97, "differs")]
)
def test_of_another_image_medians_may_move_by_so_much(
    make_run: Make, by: float, verdict: str
) -> None:
    found = reproduction.compare(make_run(RATES, ONE), make_run(moved(by), OTHER))
    (line,) = found.lines
    assert not found.image
    assert line.verdict == verdict
    assert line.moved == pytest.approx(abs(by - 1))


def test_an_experiment_may_allow_less(make_run: Make) -> None:
    runs = make_run(RATES, ONE), make_run(moved(1.006), OTHER)
    assert reproduction.compare(*runs, {"delay": 0.005}).good
    assert not reproduction.compare(*runs, {"rate": 0.005}).good


def test_what_is_told_beside_the_metrics_is_judged_for_one_image_alone(make_run: Make) -> None:
    idle = {("idle", arm, mtu): column for (_, arm, mtu), column in RATES.items()}
    far = {key: [value * 3 for value in column] for key, column in idle.items()}
    before, of_one = make_run(RATES | idle, ONE), make_run(RATES | far, ONE)
    assert not reproduction.compare(before, of_one).good
    for found in (reproduction.compare(before, of_one, medians=True),
                  reproduction.compare(before, make_run(RATES | far, OTHER))):  # fmt: skip
        assert found.good
        assert [(one.metric, one.verdict) for one in found.lines] == [
            ("rate", "same"), ("idle", "beside"),
        ]  # fmt: skip
    counted = make_run(RATES | idle, ONE, counts=["idle"]), make_run(RATES | far, OTHER)
    assert not reproduction.compare(*counted).good


def test_medians_may_be_asked_for_where_all_could_be_the_same(make_run: Make) -> None:
    runs = make_run(RATES, ONE), make_run(moved(1.004), ONE)
    found = reproduction.compare(*runs, {"rate": 0.005}, medians=True)
    assert found.image and found.good
    assert [line.verdict for line in found.lines] == ["within"]
    assert not reproduction.compare(*runs, {"rate": 0.003}, medians=True).good


def test_one_condition_that_moved_is_named(make_run: Make) -> None:
    values = {**RATES, ("rate", "vxlan", 1500): [104.0, 105.0, 106.0]}
    (line,) = reproduction.compare(make_run(RATES, ONE), make_run(values, OTHER)).lines
    assert (line.where, line.verdict) == ("vxlan_1500", "differs")


@pytest.mark.parametrize("fewer", [0, 1])
def test_what_only_one_of_them_has_is_lost(make_run: Make, fewer: int) -> None:
    runs = [make_run(RATES, ONE), make_run(moved(1.0, blocks=2), OTHER)]
    (line,) = reproduction.compare(runs[fewer], runs[1 - fewer]).lines
    assert (line.lost, line.verdict) == (2, "differs")


def test_a_value_that_failed_this_time_is_lost(make_run: Make) -> None:
    values = {**RATES, ("rate", "vxlan", 1500): [100.0, "no answer", 102.0]}
    (line,) = reproduction.compare(make_run(RATES, ONE), make_run(values, OTHER)).lines
    assert (line.lost, line.verdict) == (1, "differs")


def test_what_failed_in_the_same_way_is_the_same(make_run: Make) -> None:
    values = {("rate", "vxlan", 1500): ["no answer", 1.0]}
    assert reproduction.compare(make_run(values, ONE), make_run(values, ONE)).good


def test_the_table_says_what_is_allowed(make_run: Make) -> None:
    found = [
        reproduction.compare(make_run(RATES, ONE), make_run(RATES, ONE)),
        reproduction.compare(make_run(RATES, ONE), make_run(moved(1.01), OTHER)),
    ]
    assert table.text(reproduction.table(found)) == TABLE


TABLE = """\
experiment  metric  samples  same  median moved  most in     allowed  verdict
──────────  ──────  ───────  ────  ────────────  ──────────  ───────  ───────────────
e           rate          6     6             0              nothing  same
            rate          6     0        1.000%  vxlan_1500     2.0%  differs, within
"""
