"""Metrics of speed on an emulated bench, conditions that a kernel lacks, and benches kept apart."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import experiments
from emulator.cli import main
from emulator.errors import PodwireError, SpecError, Unsupported
from emulator.harness import fingerprint, store
from emulator.harness.bench import NO_SPEED, Bench
from emulator.harness.experiment import Condition, Metric, Step
from emulator.harness.run import Outcome, run
from emulator.harness.settings import Settings
from emulator.measure.sample import Measured, good
from emulator.patience import VARIABLE
from emulator.report import figure, table
from emulator.report.summary import summarise

Make = Callable[..., Any]
TCG = {"bench": "vm", "accelerator": "tcg", "qemu": "7.2.22", "machine": "pc", "cpu": "max"}
MACHINE = {"kernel": "6.1", "cpu_count": 1, "cpu_model": "Abacus", "virtualisation": "QEMU"}
EMULATED = MACHINE | {"bench": TCG}
HEADERS = Metric("header_b", "B", None, "headers")


def go(experiment: Any, results: Path, machine: Any = EMULATED, **other: Any) -> Outcome:
    return run(
        experiment, other.pop("settings", Settings(1, warm_up=False)), results,
        fingerprint=machine, analyse=summarise, stream=io.StringIO(), **other,
    )  # fmt: skip


def both(experiment: Any, done: list[str]) -> Any:
    """The small experiment with a count beside its speed, as steps that say when they are done."""
    measure = experiment.measure

    def fast(lab: Any, condition: Condition) -> Measured:
        done.append("speed")
        return Measured((good("throughput_bit_s", 1e9), good("uplink_tx_b", 1e9)), {})

    def slow(lab: Any, condition: Condition) -> Measured:
        done.append("count")
        return Measured((good("header_b", 92),), {})

    def steps(lab: Any, condition: Condition) -> Any:
        yield Step(("throughput_bit_s", "uplink_tx_b"), lambda: fast(lab, condition))
        yield Step(("header_b",), lambda: slow(lab, condition))
        yield from measure(lab, condition)

    return replace(experiment, measure=steps, counts=(HEADERS,))


def test_the_environment_says_which_bench_it_is() -> None:
    assert Bench.here({}) == Bench()
    assert (Bench().has_speed, Bench().words(), Bench().as_json()) == (
        True, "", {"bench": "native"}
    )  # fmt: skip
    emulated = Bench.here({VARIABLE: json.dumps(TCG)})
    assert emulated.words() == "vm (tcg, QEMU 7.2.22, pc, max)"
    assert emulated.as_json() == TCG
    assert not emulated.has_speed
    assert Bench.here({VARIABLE: json.dumps(TCG | {"accelerator": "kvm"})}).has_speed
    assert Bench.here({VARIABLE: '{"bench": "vm", "later": {}}'}).words() == "vm ()"


@pytest.mark.parametrize("text", ["vm", "[]", "{}", '{"bench": 1}', '{"bench": "vm", "cpu": 2}'])
def test_an_environment_that_says_something_else_is_bad_input(text: str) -> None:
    with pytest.raises(SpecError, match=f"environment: {VARIABLE}"):
        Bench.here({VARIABLE: text})


def test_the_bench_is_in_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = fingerprint.take({}, source=tmp_path)
    assert native["bench"] == {"bench": "native"}
    monkeypatch.setenv(VARIABLE, json.dumps(TCG))
    emulated = fingerprint.take({}, source=tmp_path)
    assert emulated["bench"] == TCG
    assert fingerprint.identity(emulated) != fingerprint.identity(native)
    assert Bench.of_fingerprint(emulated) == Bench(*TCG.values())
    assert Bench.of_fingerprint(MACHINE) == Bench(), "older than benches"


def test_on_an_emulated_bench_speed_is_not_measured_and_its_rows_say_so(
    tmp_path: Path, make_experiment: Make
) -> None:
    done: list[str] = []
    outcome = go(both(make_experiment(), done), tmp_path)
    assert outcome.status == "complete"
    assert done == ["count"] * 3
    rows = store.read(outcome.folder).rows
    kinds = {(row.metric, row.status, row.failure) for row in rows}
    assert kinds == {
        ("header_b", "measured", ""),
        ("throughput_bit_s", "unsupported", NO_SPEED),
        ("steal_ratio", "unsupported", NO_SPEED),  # of what was measured in one go with counts
        ("uplink_tx_b", "unsupported", NO_SPEED),  # its traffic is the one that is not sent
    }
    assert {row.value for row in rows if row.unsupported} == {None}


def test_on_a_bench_with_a_clock_everything_is_measured(
    tmp_path: Path, make_experiment: Make
) -> None:
    for number, machine in enumerate((MACHINE, MACHINE | {"bench": TCG | {"accelerator": "kvm"}})):
        done: list[str] = []
        outcome = go(both(make_experiment(), done), tmp_path / str(number), machine)
        assert done == ["speed", "count"] * 3
        assert {row.status for row in store.read(outcome.folder).rows} == {"measured"}


def test_speed_alone_ends_at_once(tmp_path: Path, make_experiment: Make) -> None:
    with pytest.raises(Unsupported, match=NO_SPEED):
        go(make_experiment(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    narrow = Settings(1, precision=0.02)
    with pytest.raises(Unsupported, match="--precision"):
        go(both(make_experiment(), []), tmp_path, settings=narrow)


def test_the_summary_tells_what_is_unsupported_from_what_failed(
    tmp_path: Path, make_experiment: Make
) -> None:
    outcome = go(both(make_experiment(), []), tmp_path)
    summary = outcome.summary
    assert summary["comparisons"] == []
    cells = {(cell["metric"], cell["arm"]): cell for cell in summary["cells"]}
    assert cells["header_b", "vxlan"]["median"] == 92
    speed = cells["throughput_bit_s", "vxlan"]
    assert (speed["median"], speed["failed"], speed["unsupported"]) == (None, 0, NO_SPEED)
    assert [note for note in summary["notes"] if "unsupported" in note] == [
        f"unsupported ({NO_SPEED}): throughput_bit_s, steal_ratio, uplink_tx_b of "
        "host-gw_1500, host-gw-again_1500, vxlan_1500"
    ]
    assert not any("no block has both" in note or "failed" in note for note in summary["notes"])
    shown = table.text(table.values(summary))
    assert f"unsupported: {NO_SPEED}" in shown
    stored = store.read(outcome.folder)
    words = figure.caption("Headers", stored, summary, ["header_b"], counts=[1], factors=[])
    assert "Bench: vm (tcg, QEMU 7.2.22, pc, max)." in words
    native = summary | {"bench": ""}
    assert "Bench:" not in figure.caption("x", stored, native, [], counts=[1], factors=[])


def test_a_condition_that_the_kernel_lacks_has_rows_and_no_lab(
    tmp_path: Path, make_experiment: Make
) -> None:
    built: list[str] = []
    experiment = make_experiment(lambda seed, condition: built.append(condition.arm))
    why = "no ipip in this kernel: run with --on vm"

    def lacking(condition: Condition) -> str:
        return why if condition.arm == "vxlan" else ""

    some = replace(experiment, lacking=lacking, counts=(HEADERS,))
    outcome = go(some, tmp_path, MACHINE)
    assert sorted(built) == ["host-gw", "host-gw again"]
    rows = [row for row in store.read(outcome.folder).rows if row.arm == "vxlan"]
    assert {(row.metric, row.status, row.failure) for row in rows} == {
        ("throughput_bit_s", "unsupported", why), ("header_b", "unsupported", why)
    }  # fmt: skip
    assert any(why in note for note in outcome.summary["notes"])
    with pytest.raises(Unsupported, match="no ipip"):
        go(replace(experiment, lacking=lambda condition: why), tmp_path / "none", MACHINE)


def test_a_run_is_not_resumed_on_another_bench(tmp_path: Path, make_experiment: Make) -> None:
    def ask() -> None:
        raise KeyboardInterrupt

    settings = Settings(2, warm_up=False)
    go(both(make_experiment(), []), tmp_path, settings=settings, ask=ask)
    with pytest.raises(PodwireError, match=r"found bench native, expected vm \(tcg"):
        go(both(make_experiment(), []), tmp_path, MACHINE, settings=settings, resume=True)
    resumed = go(both(make_experiment(), []), tmp_path, settings=settings, resume=True)
    assert resumed.status == "complete"


def test_what_is_of_two_benches_is_read_as_no_run(tmp_path: Path, make_experiment: Make) -> None:
    folder = go(both(make_experiment(), []), tmp_path).folder
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sessions"].append(manifest["sessions"][0] | {"fingerprint_hash": "0" * 16})
    path.write_text(json.dumps(manifest))
    with pytest.raises(PodwireError, match="session 2 of fingerprint 0000"):
        store.read(folder)


def test_rows_of_older_runs_have_no_status(tmp_path: Path, make_experiment: Make) -> None:
    folder = go(make_experiment(), tmp_path, MACHINE).folder
    path = folder / "samples.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.pop("status") for line in lines] == ["measured"] * len(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert not any(row.unsupported for row in store.read(folder).rows)


SPEED_ALONE = {"overlay-vs-routed", "bring-up", "fidelity", "convergence", "cni-verbs"}


def test_which_experiments_have_counts() -> None:
    without = {
        name for name in experiments.TABLE
        if not getattr(experiments.module(name, "experiment"), "COUNTS", ())
    }  # fmt: skip
    assert without == SPEED_ALONE


@pytest.mark.parametrize("name", sorted(SPEED_ALONE))
def test_the_command_line_refuses_speed_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps(TCG))
    monkeypatch.setattr("emulator.verbs.measuring.LOCK", tmp_path / "lock")
    assert main(["run", name, "--results", str(tmp_path / "results")]) == 3
    assert NO_SPEED in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
