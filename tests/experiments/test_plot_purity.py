"""``podwire plot`` draws stored runs without root, lab or the modules that make one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.cli import main
from emulator.harness.experiment import Condition, Description
from emulator.harness.store import Store
from emulator.measure import distribution
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import Sample, good
from experiments.traffic import METRICS, Traffic

HOW = Traffic("reno", CpuMap((0,), (1,)), round_trips_s=1, cost_s=1.0, cost_bit_s=1_000_000_000)
LIVE = (
    "emulator.cluster", "emulator.substrate", "emulator.standing", "emulator.supervisor",
    "emulator.foreign",
)  # fmt: skip


def stored(
    results: Path, experiment: str, conditions: list[Condition], pairs: list[Any], blocks: int
) -> Path:
    """A finished run with made-up values, as the loop would have stored it."""
    manifest = {
        "experiment": experiment, "question": "?", "status": "complete", "why": "all",
        "started": "2026-11-20T00:00:00.000Z", "ended": "2026-11-20T00:01:00.000Z",
        "measuring_share": 0.8, "headline": [], "exclusions": [],
        "settings": {"blocks": blocks, "precision": None,
                     "options": {"quick": False, **HOW.as_options()}},
        "metrics": [metric._asdict() for metric in METRICS],
        "pairs": [dict(zip(("treatment", "baseline", "twin"), pair, strict=True))
                  for pair in pairs],
        "conditions": [{"name": one.name, "arm": one.arm, "factors": dict(one.factors)}
                       for one in conditions],
        "fingerprint": {"kernel": "6.1", "cpu_count": 2, "cpu_model": "a CPU",
                        "virtualisation": "none"},
        "fingerprint_hash": "0" * 16,
    }  # fmt: skip
    described = {one.name: Description("kind: Cluster\n", "n1 netns\n") for one in conditions}
    store = Store.create(results, "20261120-000000", manifest, described)
    cell = 0
    for block in range(1, blocks + 1):
        for place, condition in enumerate(conditions):
            cell += 1
            store.append(
                block, 1, "measure", cell, condition, "2026-11-20T00:00:01.000Z",
                samples(1 + place / 10 + block / 1000),
            )  # fmt: skip
        store.manifest["blocks"].append(
            {"block": block, "attempt": 1, "phase": "measure", "complete": True, "seed": block,
             "order": [], "started": "", "wall_s": 1.0, "measured_s": 0.8}
        )  # fmt: skip
    store.save()
    store.summarise({})
    store.close()
    return store.folder


def samples(scale: float) -> list[Sample]:
    times_us = [100 * scale * (1 + step / 50) for step in range(1000)]
    return [
        good("throughput_bit_s", 8e9 / scale),
        good("packet_rate_pps", 1e5 / scale),
        good("cpu_s_per_gb", scale),
        *distribution.percentiles("tcp_rtt", times_us),
        *distribution.percentiles("crr", times_us),
    ]


def overlay_run(results: Path, blocks: int = 6) -> Path:
    conditions = [
        Condition(arm, {"offload": offload, "mtu": mtu, "path": path})
        for offload, mtu, path in (("wire", 1500, "nodes"), ("full", 9000, "nodes"),
                                   ("wire", 1500, "same-node"))
        for arm in ("host-gw", "host-gw again", "vxlan")
    ]  # fmt: skip
    pairs = [("vxlan", "host-gw", False), ("host-gw again", "host-gw", True)]
    return stored(results, "overlay-vs-routed", conditions, pairs, blocks)


def fidelity_run(results: Path, blocks: int = 6) -> Path:
    conditions = [
        Condition(arm, {"network": "vxlan", "offload": "wire", "mtu": 1500})
        for arm in ("podwire", "ip", "ip again")
    ]
    pairs = [("podwire", "ip", False), ("ip again", "ip", True)]
    return stored(results, "fidelity", conditions, pairs, blocks)


def test_plot_loads_nothing_of_a_live_lab(tmp_path: Path) -> None:
    overlay_run(tmp_path / "reference")
    fidelity_run(tmp_path)
    code = (
        "import json, sys\n"
        "from emulator.cli import main\n"
        f"code = main(['plot', '--results', {str(tmp_path)!r}])\n"
        "print(json.dumps([code, sorted(sys.modules)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *files, last = done.stdout.splitlines()
    status, modules = json.loads(last)
    assert status == 0
    assert [name for name in modules if name.startswith(LIVE)] == []
    drawn = [Path(name) for name in files if not name.endswith("summary.json")]
    assert {path.suffix for path in drawn} == {".pdf", ".png", ".txt", ".csv", ".md", ".tex"}
    assert {path.parents[2].name for path in drawn} == {"overlay-vs-routed", "fidelity"}
    assert len(files) == len(drawn) + 2, "the summary of each run is as new as its figures"


def test_no_figure_needs_a_live_lab() -> None:
    code = (
        "import sys, experiments\n"
        "for name in experiments.TABLE: experiments.module(name, 'plots')\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if name.startswith(LIVE)] == []


def test_every_figure_has_its_caption_and_the_same_bytes_again(tmp_path: Path) -> None:
    folder = overlay_run(tmp_path)
    assert main(["plot", str(folder)]) == 0
    first = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert {name for name in first if name.endswith(".png") and "ratio" not in name} == {
        "throughput.png", "cpu.png", "packets.png", "latency-tcp-rtt.png", "latency-crr.png",
    }  # fmt: skip
    assert main(["plot", str(folder)]) == 0
    again = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert first == again
    caption = first["throughput.txt"].decode()
    for words in ("n = 6 blocks", "Linux 6.1", "MTU: 1500, 9000", "Offload: full, wire",
                  "95 % bootstrap", "Noise floor"):  # fmt: skip
        assert words in caption


def test_a_run_without_a_complete_block_draws_nothing(tmp_path: Path) -> None:
    folder = overlay_run(tmp_path, blocks=0)
    assert main(["plot", str(folder)]) == 0
    assert list((folder / "figures").iterdir()) == []


def test_no_stored_run_is_a_failure_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "--results", str(tmp_path)]) == 1
    assert "podwire run overlay-vs-routed --quick" in capsys.readouterr().err
    assert main(["plot", str(tmp_path)]) == 1
    assert "the folder of a run" in capsys.readouterr().err
