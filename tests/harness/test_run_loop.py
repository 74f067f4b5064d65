from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import PodwireError, Problem
from emulator.harness import store
from emulator.harness.experiment import Condition, Exclusion, block_seed
from emulator.harness.run import Outcome, run
from emulator.harness.settings import FIRST_LOOK, Settings
from emulator.report.summary import summarise

MACHINE = {"kernel": "6.18", "cpu_count": 2, "cpu_model": "Abacus", "virtualisation": "none"}
Make = Callable[..., Any]


def go(experiment: Any, settings: Settings, results: Path, clock: Any, **other: Any) -> Outcome:
    arguments = {"fingerprint": MACHINE, "stream": io.StringIO(), "clock": clock} | other
    return run(experiment, settings, results, analyse=summarise, **arguments)


def test_a_run_leaves_everything_that_the_format_promises(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    outcome = go(make_experiment(), Settings(8), tmp_path, clock)
    assert outcome.status == "complete"
    assert outcome.why == "all 8 complete blocks"
    names = {path.name for path in outcome.folder.iterdir()}
    assert names == {"manifest.json", "spec.yaml", "plan.txt", "samples.jsonl", "raw",
                     "summary.json", "figures"}  # fmt: skip
    assert (tmp_path / "fake" / "latest").resolve() == outcome.folder
    assert json.loads((outcome.folder / "summary.json").read_text()) == outcome.summary
    read = store.read(outcome.folder)
    assert len(read.complete()) == 8 * 3 * 2
    assert len(read.rows) == 9 * 3 * 2
    cells = [row.cell for row in read.rows if row.metric == "throughput_bit_s"]
    assert cells == list(range(1, 28))
    raw = outcome.folder / "raw" / "block-001" / "vxlan_1500"
    assert {path.name for path in raw.iterdir()} == {"iperf3.json", "stat.txt"}


def test_the_order_and_the_seed_are_kept_and_equal_within_a_block(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    seen: list[tuple[int, str]] = []
    experiment = make_experiment(lambda seed, condition: seen.append((seed, condition.name)))
    outcome = go(experiment, Settings(2, seed=5, warm_up=False), tmp_path, clock)
    blocks = store.read(outcome.folder).manifest["blocks"]
    assert [name for _, name in seen] == [name for block in blocks for name in block["order"]]
    assert [seed for seed, _ in seen] == [block_seed(5, 1)] * 3 + [block_seed(5, 2)] * 3


def test_the_share_of_measuring_is_accounted(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    outcome = go(make_experiment(), Settings(4), tmp_path, clock)
    manifest = store.read(outcome.folder).manifest
    assert manifest["measuring_share"] == pytest.approx(4 * 3 * 3.0 / (5 * 3 * 3.5))


def interrupt_at(block: int, error: BaseException) -> Callable[[int, Condition], None]:
    """Raise ``error`` at the second cell of a block."""
    cells: list[str] = []

    def spoil(seed: int, condition: Condition) -> None:
        if seed == block_seed(1, block):
            cells.append(condition.name)
            if len(cells) == 2:
                raise error

    return spoil


def test_ctrl_c_leaves_a_partial_result_and_resume_ends_it_like_a_run_in_one_go(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    settings = Settings(9)
    spoilt = make_experiment(interrupt_at(7, KeyboardInterrupt()))
    partial = go(spoilt, settings, tmp_path / "a", clock)
    assert partial.status == "interrupted"
    assert partial.why == "Ctrl-C after 6 complete blocks"
    assert {row["n"] for row in partial.summary["comparisons"]} == {6}
    assert partial.summary["notes"][-1].startswith("the run is interrupted: Ctrl-C")
    assert (tmp_path / "a" / "fake" / "latest").resolve() == partial.folder

    resumed = go(make_experiment(), settings, tmp_path / "a", clock, resume=True)
    straight = go(make_experiment(), settings, tmp_path / "b", clock)
    assert resumed.folder == partial.folder
    assert resumed.status == "complete"
    assert resumed.summary["comparisons"] == straight.summary["comparisons"]
    manifest = store.read(resumed.folder).manifest
    assert [(one["block"], one["attempt"], one["samples"]) for one in manifest["discarded"]] == [
        (7, 1, 2)
    ]
    assert len(manifest["sessions"]) == 2
    assert manifest["measuring_share"] < 27 * 3.0 / (30 * 3.5)


def test_a_signal_that_nobody_heard_ends_the_run_between_two_cells(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    calls = iter(range(100))

    def ask() -> None:
        if next(calls) == 4:
            raise KeyboardInterrupt("Ctrl-C")

    outcome = go(make_experiment(), Settings(9, warm_up=False), tmp_path, clock, ask=ask)
    assert (outcome.status, outcome.why) == ("interrupted", "Ctrl-C after 1 complete block")


def test_a_failure_is_stored_before_it_is_raised(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    spoilt = make_experiment(interrupt_at(3, PodwireError("the lab is gone")))
    with pytest.raises(PodwireError, match="the lab is gone"):
        go(spoilt, Settings(8), tmp_path, clock)
    folder = (tmp_path / "fake" / "latest").resolve()
    assert store.describe(folder).startswith("a failed run with 2 complete blocks")
    assert store.read(folder).manifest["why"] == "the lab is gone"


def test_resume_wants_the_same_machine_settings_and_plan(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    settings = Settings(8)
    with pytest.raises(PodwireError, match="no unfinished run"):
        go(make_experiment(), settings, tmp_path, clock, resume=True)
    go(make_experiment(interrupt_at(2, KeyboardInterrupt())), settings, tmp_path, clock)
    for experiment, wanted, machine, text in (
        (make_experiment(), settings, MACHINE | {"kernel": "6.19"}, "kernel: '6.18' and '6.19'"),
        (make_experiment(), Settings(8, seed=2), MACHINE, "settings.seed: 1 and 2"),
        (make_experiment(plan="other"), settings, MACHINE, "plans.vxlan_1500: "),
    ):
        with pytest.raises(PodwireError, match=text):
            go(experiment, wanted, tmp_path, clock, fingerprint=machine, resume=True)


def test_a_new_run_says_what_the_last_one_left(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    left = go(make_experiment(interrupt_at(2, KeyboardInterrupt())), Settings(3), tmp_path, clock)
    stream = io.StringIO()
    go(make_experiment(), Settings(3), tmp_path, clock, stream=stream)
    first = stream.getvalue().splitlines()[0]
    assert first.startswith(f"{left.folder} holds an interrupted run with 1 complete block")
    assert first.endswith("--resume would continue it")


def test_precision_goes_on_until_the_interval_is_narrow(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    outcome = go(make_experiment(), Settings(6, precision=0.02), tmp_path, clock)
    looks = store.read(outcome.folder).manifest["looks"]
    assert outcome.status == "complete"
    assert outcome.why.startswith(f"±2.0% reached after {looks[-1]['blocks']} complete blocks")
    assert [look["narrow"] for look in looks] == [False] * (len(looks) - 1) + [True]
    assert looks[0]["blocks"] == FIRST_LOOK
    row = outcome.summary["comparisons"][0]
    assert (row["ci"][1] - row["ci"][0]) / 2 / row["ratio"] <= 0.02
    assert FIRST_LOOK < row["n"] < 60


def test_precision_out_of_reach_says_how_far_it_got(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    settings = Settings(6, precision=0.001, most_blocks=13)
    outcome = go(make_experiment(), settings, tmp_path / "a", clock)
    assert outcome.why.startswith("limit of 13 blocks reached before ±0.1%: widest ±")
    assert outcome.why.endswith("after 13 complete blocks")
    settings = Settings(6, precision=0.001, budget_s=100.0)
    outcome = go(make_experiment(), settings, tmp_path / "b", clock)
    assert outcome.why.startswith("time budget of 100 s reached before ±0.1%")
    assert store.read(outcome.folder).manifest["sessions"][0]["wall_s"] <= 100.0


def test_a_budget_without_precision_ends_the_run_readably(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    outcome = go(make_experiment(), Settings(30, budget_s=80.0), tmp_path, clock)
    assert outcome.why == "time budget of 80 s: stopped after 6 complete blocks of 30"


def test_an_error_that_nobody_foresaw_leaves_a_readable_result_too(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    broken = make_experiment(interrupt_at(2, MemoryError("fork")))
    with pytest.raises(MemoryError):
        go(broken, Settings(3), tmp_path, clock)
    (folder,) = store.runs(tmp_path, broken.name)
    manifest = store.read(folder).manifest
    assert (manifest["status"], manifest["why"]) == ("failed", "MemoryError('fork')")
    assert [one["block"] for one in manifest["discarded"]] == [2]
    assert (folder / "summary.json").is_file()


def test_a_damaged_run_does_not_keep_from_starting_another(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    damaged = tmp_path / make_experiment().name / "20260101-000000"
    damaged.mkdir(parents=True)
    (damaged / "manifest.json").write_text("{")
    assert go(make_experiment(), Settings(3), tmp_path, clock).status == "complete"


def test_an_excluded_cell_is_kept_marked_and_counted(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    cells: list[str] = []

    def applies(condition: Condition, samples: Any) -> bool:
        cells.append(condition.arm)
        return condition.arm == "vxlan" and cells.count("vxlan") == 3

    lost = Exclusion("third of vxlan", applies)
    outcome = go(make_experiment(exclusions=[lost]), Settings(8), tmp_path, clock)
    read = store.read(outcome.folder)
    marked = [row for row in read.rows if row.excluded]
    assert {row.arm for row in marked} == {"vxlan"}
    assert all(row.value is not None for row in marked)
    by_arm = {row["treatment"]: row["n"] for row in outcome.summary["comparisons"]}
    assert by_arm == {"vxlan": 7, "host-gw again": 8}
    assert any("1 excluded (third of vxlan)" in note for note in outcome.summary["notes"])


def test_a_lab_that_is_not_what_it_claims_ends_the_run(
    tmp_path: Path, make_experiment: Make, clock: Any
) -> None:
    def gate(lab: int, condition: Condition, samples: Any) -> list[Problem]:
        if condition.arm == "vxlan" and lab == block_seed(1, 2):
            return [Problem("flannel.1", "0 packets", "the traffic of the run")]
        return []

    with pytest.raises(PodwireError, match=r"flannel\.1: found 0 packets"):
        go(make_experiment(gate=gate), Settings(8), tmp_path, clock)
    read = store.read((tmp_path / "fake" / "latest").resolve())
    assert {row.excluded for row in read.rows if row.block == 2 and row.arm == "vxlan"} == {
        "integrity"
    }
    assert {row.block for row in read.complete()} == {1}
