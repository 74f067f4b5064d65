"""``podwire reproduce``, on a bench that is a small experiment without a lab."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import experiments
from emulator.cli import main
from emulator.harness import cell
from emulator.harness.run import Outcome, run
from emulator.harness.settings import Settings
from emulator.report.summary import summarise
from emulator.verbs import reproducing

from .conftest import Condition, Experiment


class Bench:
    """As bench virtual: the same numbers each time, unless it is told otherwise."""

    def __init__(self, make: Callable[..., Experiment[Any]]) -> None:
        self.make, self.image, self.noise = make, "aaaa", 0.02
        self.spoil: Callable[[int, Condition], None] = lambda seed, condition: None

    def settings(self, name: str, quick: bool) -> Settings:
        return Settings(blocks=12, warm_up=False, options={"quick": quick})

    def run(
        self, name: str, settings: Settings, results: Path, *, name_of_run: str | None = None,
        **more: Any,
    ) -> Outcome:  # fmt: skip
        fingerprint = {
            "bench": {"bench": "virtual", "accelerator": "icount", "image": self.image},
            "kernel": "6.1", "cpu_count": 1, "cpu_model": "Abacus", "virtualisation": "QEMU",
        }  # fmt: skip
        return run(
            self.make(spoil=self.spoil, noise=self.noise), settings, results,
            fingerprint=fingerprint, analyse=summarise, stream=io.StringIO(), name=name_of_run,
            **more,
        )  # fmt: skip


@pytest.fixture
def bench(
    make_experiment: Callable[..., Experiment[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    found = Bench(make_experiment)
    parts = SimpleNamespace(
        experiment=lambda settings: make_experiment(), TOLERANCES={"throughput_bit_s": 0.005},
        draw=lambda run, summary, folder, pgf=False: [],
    )  # fmt: skip
    monkeypatch.setattr(experiments, "REFERENCES", {"fake": (True, 6)})
    monkeypatch.setattr(experiments, "TABLE", {"fake": "fake"})
    monkeypatch.setattr(experiments, "module", lambda name, part: parts)
    monkeypatch.setattr(reproducing, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(reproducing.Virtual, "ready", lambda say: found)
    monkeypatch.setattr(cell.stores, "now", lambda: "2026-01-01T00:00:10.000Z")
    monkeypatch.chdir(tmp_path)
    return found


def reproduce(*words: str) -> int:
    return main(["reproduce", *words])


@pytest.fixture
def reference(bench: Bench, tmp_path: Path) -> Path:
    assert reproduce("--renew") == 0
    return tmp_path / "results/reference/fake/virtual"


def test_a_new_reference_is_a_run_of_the_blocks_in_the_table(reference: Path) -> None:
    manifest = json.loads((reference / "manifest.json").read_text())
    assert (manifest["run"], manifest["status"]) == ("virtual", "complete")
    assert manifest["settings"]["blocks"] == 6
    assert not (reference / "raw").exists()
    assert [one.name for one in reference.parent.iterdir()] == ["virtual"]
    assert [one.name for one in reference.parent.parent.iterdir()] == ["fake"]


def test_the_same_again_is_good(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (reference / "samples.jsonl").read_bytes()
    assert reproduce() == 0
    told = capsys.readouterr().out
    assert "1 experiment made again" in told and "1 the same in every sample" in told
    assert (reference / "samples.jsonl").read_bytes() == before
    (again,) = (one for one in Path("results/fake").iterdir() if not one.is_symlink())
    assert json.loads((again / "manifest.json").read_text())["settings"]["blocks"] == 6


def test_one_digit_more_of_the_same_image_is_an_error(
    bench: Bench, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.noise = 0.020001
    assert reproduce("fake") == 1
    told = capsys.readouterr().out
    assert "differs" in told and "make reference" in told
    assert reproduce("fake", "--medians") == 0, "unless only medians are asked for"


@pytest.mark.parametrize(("noise", "code"), [(0.020001, 0), (0.5, 1)])
def test_another_image_has_a_tolerance(
    bench: Bench, reference: Path, noise: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.image, bench.noise = "bbbb", noise
    assert reproduce() == code
    told = capsys.readouterr().out
    assert "fake: of another image than the reference" in told
    assert "0.5%" in told, "the experiment's own"


def test_a_renewed_reference_takes_the_place_and_says_what_moved(
    bench: Bench, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.image, bench.noise = "bbbb", 0.5
    assert reproduce("--renew") == 0
    assert "differs" in capsys.readouterr().out
    assert reproduce() == 0
    assert "1 the same in every sample" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--renew"]])
def test_ctrl_c_leaves_the_reference_as_it_was(
    bench: Bench, reference: Path, words: list[str]
) -> None:
    def stop(seed: int, condition: Condition) -> None:
        raise KeyboardInterrupt

    before = {one: one.read_bytes() for one in reference.rglob("*") if one.is_file()}
    bench.spoil = stop
    assert reproduce(*words) == 130
    assert {one: one.read_bytes() for one in reference.rglob("*") if one.is_file()} == before
    assert [one.name for one in reference.parent.parent.iterdir()] == ["fake"]


def test_an_error_leaves_it_as_well(bench: Bench, reference: Path) -> None:
    def fail(seed: int, condition: Condition) -> None:
        raise OSError(28, "No space left on device")

    bench.spoil = fail
    assert reproduce("--renew") == 1
    assert [one.name for one in reference.parent.parent.iterdir()] == ["fake"]
    assert (reference / "manifest.json").exists()


def test_what_has_no_reference_is_named(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce("fake", "other") == 2
    told = capsys.readouterr().err
    assert "results/reference/fake/virtual: found no run" in told and "make reference" in told
    assert "experiment: found 'other', expected one with a reference: fake" in told
