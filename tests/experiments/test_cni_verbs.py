"""What is made of the times of CNI's verbs, and the figure from a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from figure_texts import readable

from emulator.conflist.model import parse
from emulator.harness.store import Row, StoredRun
from emulator.report import style
from emulator.report.summary import summarise
from experiments.cni_verbs import arms, experiment, plots
from experiments.cni_verbs.verbs import Called, Timed


def timed(pods: int, failing: str = "") -> Timed:
    """The n-th pod takes n milliseconds; the first one fails at one verb."""
    calls = [Called(pod, 0.1 * pod, pod / 1000) for pod in range(1, pods + 1)]
    every = {verb: calls[1:] if verb == failing else calls for verb in arms.VERBS}
    return Timed(every, ("bridge CHECK: no",) if failing else ())


def test_percentiles_are_of_the_pods_and_keep_their_order() -> None:
    found = {one.metric: one for one in experiment.samples(timed(110), 110)}
    assert found["add_p50_ms"].value == pytest.approx(55)
    assert found["del_p99_ms"].value == pytest.approx(109)
    by_pod: Any = found["check_p50_ms"].detail["by_pod_ms"]
    assert by_pod[:2] == [[1, pytest.approx(1)], [2, pytest.approx(2)]]
    assert len(found) == 9


def test_ten_calls_carry_no_99th_percentile() -> None:
    assert list(arms.percentiles(10)) == ["p50", "p90"]
    assert list(arms.percentiles(110)) == ["p50", "p90", "p99"]
    assert {one.metric for one in experiment.samples(timed(10), 10)} == {
        f"{verb}_{name}_ms" for verb in arms.VERBS for name in ("p50", "p90")
    }


def test_a_verb_that_failed_for_one_pod_has_no_value() -> None:
    found = {one.metric: one for one in experiment.samples(timed(20, "check"), 20)}
    assert found["check_p50_ms"].failure == "1 of 20 calls failed: bridge CHECK: no"
    assert found["add_p50_ms"].failure == ""


def test_every_list_can_be_read_and_twins_are_one() -> None:
    for arm in arms.ARMS:
        assert parse(experiment.conflist(arm), arm).plugins
    assert experiment.conflist("bridge") == experiment.conflist("bridge again")


@pytest.mark.parametrize("quick", [True, False])
def test_every_condition_is_described_with_its_list(quick: bool) -> None:
    declared = experiment.experiment(experiment.settings(quick))
    for condition in declared.matrix.conditions:
        assert declared.describe(condition).plan.startswith("# {\n")
    assert {one.factors["at_once"] for one in declared.matrix.conditions} == {1, 8}
    names = {metric.name for metric in declared.metrics}
    assert ("add_p99_ms" in names) is not quick


def stored(pods: int = 110, blocks: int = 2) -> StoredRun:
    """Each arm takes a little longer than the one before."""
    declared = experiment.experiment(experiment.settings(False))
    conditions = declared.matrix.conditions
    rows = [
        Row(block, 1, "measure", block, one.name, one.arm, one.factors, sample.metric,
            (sample.value or 0) * 1.5**number, "ms", "", "", "t",
            {"by_pod_ms": [[pod, ms * 1.5**number] for pod, ms in sample.detail["by_pod_ms"]]}
            if "by_pod_ms" in sample.detail else {})
        for block in range(1, blocks + 1)
        for number, one in enumerate(conditions)
        for sample in experiment.samples(timed(pods), pods)
    ]  # fmt: skip
    manifest: dict[str, Any] = {
        "experiment": experiment.NAME, "run": "r", "status": "complete", "why": "", "notes": [],
        "headline": [], "pairs": [pair._asdict() for pair in experiment.PAIRS],
        "metrics": [metric._asdict() for metric in declared.metrics],
        "conditions": [{"name": c.name, "arm": c.arm, "factors": c.factors} for c in conditions],
        "blocks": [{"block": block, "attempt": 1, "phase": "measure", "complete": True}
                   for block in range(1, blocks + 1)],
        "settings": experiment.settings(False).as_json(),
        "fingerprint": {"kernel": "6.1.0", "cpu_count": 2, "cpu_model": "CPU",
                        "virtualisation": "none"},
        "fingerprint_hash": "0",
    }  # fmt: skip
    return StoredRun(Path("r"), manifest, tuple(rows), ())


def test_the_figure_can_be_read_and_its_numbers_are_there(tmp_path: Path) -> None:
    run = stored()
    files = plots.draw(run, summarise(run), tmp_path)
    assert {path.name for path in files} == {"verbs.pdf", "verbs.png", "verbs.txt", "verbs.csv"}
    rows = (tmp_path / "verbs.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * 3 * 2 * 110, "three verbs of three lists, alone and together"
    with style.thesis():
        found = {verb: plots.series(run, verb) for verb in arms.VERBS}
        readable(plots.panels(found).figure)


def test_lines_are_running_medians_and_the_numbers_are_not() -> None:
    one = plots.Series("bridge", 1, [[1.0] * 10 + [500.0] + [2.0] * 10])
    assert max(one.smooth()) == 2.0
    assert max(one.by_pod()) == 500.0
    assert one.pooled()[0][-1] == 500.0
    assert one.pooled()[1][-1] == 1.0
