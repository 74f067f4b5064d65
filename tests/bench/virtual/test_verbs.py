"""``podwire … --on virtual`` without QEMU: what it refuses, asks guests for, and keeps."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from callers import SPEC

import experiments
from emulator.bench.virtual.image import Image
from emulator.cli import main
from emulator.errors import Problem, Unsupported
from emulator.harness.cell import Cell
from emulator.harness.experiment import Condition, Description, Experiment, Matrix, Metric
from emulator.harness.fingerprint import digest
from emulator.harness.run import run
from emulator.harness.settings import Settings
from emulator.harness.store import read
from emulator.measure.sample import Measured, good
from emulator.report.summary import summarise
from emulator.verbs import benches, errands, fingerprint, virtual

ON_VIRTUAL = [["up", SPEC], ["ls"], ["get", "pods"], ["verify"], ["down"]]


@pytest.fixture(autouse=True)
def nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    monkeypatch.delenv("PODWIRE_ON", raising=False)


@pytest.mark.parametrize("words", ON_VIRTUAL, ids=" ".join)
def test_it_carries_experiments_alone(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*words, "--on", "virtual"]) == 2
    said = capsys.readouterr().err
    assert f"podwire {words[0]}: found --on virtual, expected an experiment" in said
    assert "podwire run EXPERIMENT --on virtual" in said and "--on vm" in said
    monkeypatch.setenv("PODWIRE_ON", "virtual")
    assert main(words) == 2
    assert f"podwire {words[0]}: found PODWIRE_ON=virtual in" in capsys.readouterr().err


def test_a_session_may_be_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_ON", "virtual")
    assert benches.where(argparse.Namespace(verb="run", on=None)) == "virtual"
    assert benches.where(argparse.Namespace(verb="run", on="native")) == "native"


def test_an_experiment_for_two_cpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {"one": SimpleNamespace(), "two": SimpleNamespace(CPUS=2)}
    monkeypatch.setattr(experiments, "module", lambda name, part: modules[name])
    virtual.require("one")
    with pytest.raises(Unsupported, match=r"experiment two: found it needs 2 CPUs.*\n.*--on vm"):
        virtual.require("two")


# --- orders --------------------------------------------------------------------------------


class Carried(virtual.Virtual):
    """Its guests are this process."""

    def carried_out(
        self, call: str, arguments: Sequence[Mapping[str, Any]], seeds: Sequence[str],
        counts: Sequence[Path] = (),
    ) -> Any:  # fmt: skip
        for order in self.orders(call, arguments, seeds):
            self.moment.parent.joinpath("orders").open("a").write(json.dumps(order) + "\n")
            call = getattr(errands, order["call"].rpartition(":")[2])
            yield json.loads(json.dumps(call(json.loads(json.dumps(order["argument"])))))


def experiment(settings: Settings) -> Experiment[str]:
    @contextlib.contextmanager
    def build(condition: Condition, seed: int) -> Iterator[str]:
        yield f"{condition.name} {seed}"

    def measure(lab: str, condition: Condition) -> Iterator[Measured]:
        value = float(settings.options["value"])
        yield Measured((good("throughput_bit_s", value, lab=lab),), {"x": b"\0"})

    return Experiment(
        "toy", "?", Matrix((Condition("a", {}), Condition("b", {})), ()),
        (Metric("throughput_bit_s", "bit/s", "higher"),), lambda one: Description("", ""), build,
        measure, gate=lambda lab, condition, samples: [Problem(lab, "all", "all")],
        lacking=lambda one: "no such thing" if one.name == "b" else "",
    )  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Carried:
    toy = SimpleNamespace(
        TOOLS={}, experiment=experiment,
        settings=lambda quick: Settings(3, options={"value": 5 if quick else 6}),
    )  # fmt: skip
    monkeypatch.setattr(experiments, "module", lambda name, part: {"toy": toy}[name])
    monkeypatch.setattr(fingerprint, "take", lambda module: {"bench": {"bench": "virtual"}})
    return Carried(Image("d1", "7.2", *[tmp_path] * 4), tmp_path / "moment")


def orders(bench: Carried) -> list[dict[str, Any]]:
    lines = bench.moment.with_name("orders").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_what_an_experiment_asks_of_the_guest_is_asked_once(bench: Carried) -> None:
    found = bench.prepared("toy", True)
    assert found["lacking"] == {"a": "", "b": "no such thing"}
    assert Settings(**found["settings"]) == Settings(3, options={"value": 5})
    assert bench.prepared("toy", True) == found
    assert len(orders(bench)) == 1
    assert bench.prepared("toy", False)["settings"]["options"] == {"value": 6}
    bench.moment.with_name("toy-quick.json").write_text("{half")
    assert bench.prepared("toy", True) == found


def test_a_cell_is_the_experiments_own(bench: Carried) -> None:
    settings = Settings(3, options={"value": 7})
    cells = bench.cells("toy", settings)(99, [Condition("b", {}), Condition("a", {})])
    found = list(cells)
    assert all(isinstance(one, Cell) for one in found)
    assert [one.samples[0].detail["lab"] for one in found] == ["b 99", "a 99"]
    assert {one.samples[0].value for one in found} == {7.0}
    assert found[0].raw == ({"x": b"\0"},) and found[0].problems == (Problem("b 99", "all", "all"),)
    seeds = [one["seed"] for one in orders(bench)]
    assert seeds == ["99 b", "99 a"], "chance is each cell's own"
    facts = json.loads(orders(bench)[0]["env"]["PODWIRE_BENCH"])
    assert (facts["bench"], facts["accelerator"], facts["image"]) == ("virtual", "icount", "d1")


def test_rows_of_what_is_lacking_have_no_time(tmp_path: Path) -> None:
    """It was not begun; and two runs are to be the same bytes."""
    toy = experiment(Settings(1, options={"value": 1}))
    outcome = run(
        toy, Settings(1, warm_up=False), tmp_path, fingerprint={}, analyse=summarise,
        stream=io.StringIO(),
        cells=lambda seed, order: (Cell("then", 1.0, (), (), ()) for _ in order),
    )  # fmt: skip
    (row,) = read(outcome.folder).rows
    assert (row.condition, row.failure, row.started) == ("b", "no such thing", "")


def test_a_fingerprint_has_the_sources_of_emulator_and_experiments() -> None:
    found = fingerprint.take(SimpleNamespace(TOOLS={}))  # type: ignore[arg-type]
    top = fingerprint.SOURCE.parent
    assert found["source"] == digest(top / "emulator")
    assert found["experiments_source"] == digest(top / "experiments") != found["source"]
    assert found["tools"] == {}
