"""The figures, from a stored run that no lab has made."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from emulator.harness.store import Row, StoredRun
from emulator.report.summary import summarise
from experiments.bring_up import experiment, plots

FINGERPRINT = {"kernel": "6.1.0", "cpu_count": 2, "cpu_model": "CPU", "virtualisation": "none"}
VALUES = {
    ("podwire", "2x2"): {"up_s": 0.1, "down_s": 0.5, "drain_s": 0.25, "kernel_kib_per_pod": 300.0},
    ("podwire", "10x10"): {"up_s": 0.3, "down_s": 0.5, "drain_s": 1.0, "kernel_kib_per_pod": 310.0},
    ("mininet", "10x10"): {"up_s": 3.0, "kernel_kib_per_pod": 400.0, "user_kib_per_pod": 500.0},
    ("command", "10x10"): {"user_kib_per_pod": 80.0},
}


def stored() -> StoredRun:
    """Two blocks of the values, the second a tenth higher."""
    rows = [
        Row(block, 1, "measure", block, f"{arm}_{size}", arm, {"size": size}, metric,
            value * (1 + (block - 1) / 10), "s", "", "", "2026-01-01T00:00:00Z", {})
        for block in (1, 2) for (arm, size), values in VALUES.items()
        for metric, value in values.items()
    ]  # fmt: skip
    manifest: dict[str, Any] = {
        "experiment": experiment.NAME, "run": "r", "status": "complete", "why": "", "notes": [],
        "headline": ["up_s"],
        "metrics": [metric._asdict() for metric in experiment.METRICS],
        "pairs": [pair._asdict() for pair in experiment.PAIRS],
        "conditions": [
            {"name": f"{arm}_{size}", "arm": arm, "factors": {"size": size}}
            for arm, size in VALUES
        ],
        "blocks": [
            {"block": block, "attempt": 1, "phase": "measure", "complete": True}
            for block in (1, 2)
        ],
        "settings": experiment.settings(True).as_json(),
        "fingerprint": FINGERPRINT, "fingerprint_hash": "0",
    }  # fmt: skip
    return StoredRun(Path("r"), manifest, tuple(rows), ())


def table(path: Path) -> list[dict[str, str]]:
    """The numbers of a figure."""
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_figure_has_its_numbers(tmp_path: Path) -> None:
    run = stored()
    files = plots.draw(run, summarise(run), tmp_path)
    assert {path.stem for path in files} == {"time", "drain", "memory"}
    medians = {
        (row["arm"], float(row["size"])): float(row["value"])
        for row in table(tmp_path / "time.csv") if row["kind"] == "median"
    }  # fmt: skip
    assert medians.keys() == {("podwire", 6), ("podwire", 110), ("mininet", 110)}
    assert abs(medians["podwire", 110] - 0.315) < 1e-9


def test_down_and_drain_are_added_within_a_block(tmp_path: Path) -> None:
    run = stored()
    plots.draw(run, summarise(run), tmp_path)
    rows = [row for row in table(tmp_path / "drain.csv") if row["kind"] == "run"]
    found = sorted((row["arm"], float(row["size"]), round(float(row["value"]), 6)) for row in rows)
    assert found == [("podwire", 6, 0.75), ("podwire", 6, 0.825),
                     ("podwire", 110, 1.5), ("podwire", 110, 1.65)]  # fmt: skip


def test_the_memory_of_processes_is_that_of_the_command(tmp_path: Path) -> None:
    run = stored()
    plots.draw(run, summarise(run), tmp_path)
    rows = {
        (row["group"], row["arm"]): float(row["value"])
        for row in table(tmp_path / "memory.csv") if row["kind"] == "median"
    }  # fmt: skip
    assert rows["processes, 10x10", "podwire"] == 84.0
    assert rows["kernel, 10x10", "mininet"] == 420.0


def test_the_report_is_a_table_of_demands() -> None:
    text = plots.report(summarise(stored()))
    assert "stock Mininet / Podwire, 10x10" in text and "asked at 50x10" in text
