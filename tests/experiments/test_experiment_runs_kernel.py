"""Small runs of the experiments on real labs, as a user starts, interrupts and kills them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from podwire_process import finished, podwire

import experiments
from emulator.harness import run as loop
from emulator.harness import store
from emulator.report.summary import summarise
from emulator.substrate import runtime

pytestmark = pytest.mark.kernel

FILES = {"manifest.json", "spec.yaml", "plan.txt", "samples.jsonl", "raw", "summary.json",
         "figures"}  # fmt: skip


def begun(process: subprocess.Popen[str], words: str) -> str:
    """Read the process's standard error until the words appear; all that was read."""
    assert process.stderr is not None
    read = ""
    while words not in read:
        ready, _, _ = select.select([process.stderr], [], [], 120.0)
        assert ready, f"{words!r} did not appear in {read!r}"
        line = process.stderr.readline()
        assert line, f"ended with {process.poll()} before {words!r}: {read!r}"
        read += line
    return read


def only_run(results: Path, name: str) -> Path:
    (folder,) = store.runs(results, name)
    return folder


def gone(pid: int) -> bool:
    return not any(world.name.endswith(f"-{pid}") for world in runtime.worlds())


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, Path, str]]:
    """Two runs, the second started while the first measures: process, results, JSON of each."""
    paths = [tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")]
    words = ("run", "overlay-vs-routed", "--quick", "--blocks", "1", "-o", "json")
    first = podwire(*words, results=paths[0])
    begun(first, "warm-up in")
    second = podwire(*words, results=paths[1])
    assert f"process {first.pid}" in begun(second, "waiting for")
    ends = [finished(one) for one in (first, second)]
    assert [code for code, _, _ in ends] == [0, 0], ends
    return [
        (process.pid, path, out)
        for process, path, (_, out, _) in zip((first, second), paths, ends, strict=True)
    ]


def test_two_runs_wait_for_each_other(two: list[tuple[int, Path, str]]) -> None:
    first, second = (store.read(only_run(path, "overlay-vs-routed")).manifest for _, path, _ in two)
    assert second["started"] >= first["ended"]


def test_a_run_leaves_a_folder_as_the_format_says(two: list[tuple[int, Path, str]]) -> None:
    pid, results, out = two[0]
    answer = json.loads(out)
    folder = only_run(results, "overlay-vs-routed")
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder.parent / "latest").resolve() == folder.resolve()
    run = store.read(folder)
    assert (run.manifest["status"], run.notes) == ("complete", ())
    assert [block["phase"] for block in run.manifest["blocks"]] == ["warm-up", "measure"]
    assert {row.metric for row in run.rows} >= {
        "throughput_bit_s", "crr_p50_us", "frame_b", "interface_drops", "cell_steal_ratio",
    }  # fmt: skip
    assert [row for row in run.rows if row.metric == "throughput_bit_s" and not row.value] == []
    summary = json.loads((folder / "summary.json").read_text())
    pairs = {(one["treatment"], one["baseline"]) for one in run.manifest["pairs"]}
    assert pairs == {("vxlan", "host-gw"), ("host-gw again", "host-gw")}
    compared = {(one["treatment"], one["baseline"]) for one in summary["comparisons"]}
    # a cell that the host took time from is left out, and one block has no other
    assert compared == pairs or any("excluded (steal" in note for note in summary["notes"])
    assert {Path(name).name for name in answer["figures"]} == {
        path.name for path in (folder / "figures").iterdir()
    }
    tools = run.manifest["fingerprint"]["tools"]
    assert set(tools) == {"iperf3", "sockperf", "ip", "nft"}
    assert all(version[0].isdigit() for version in tools.values())
    assert gone(pid)


@pytest.mark.parametrize("name", ["overlay-vs-routed", "fidelity"])
def test_one_tiny_block_of_everything_in_full(name: str, tmp_path: Path) -> None:
    """Every instrument, both ways of building, and the gates; over a few of the conditions."""
    module: ModuleType = experiments.module(name, "experiment")
    quick = module.settings(True)
    everything = name == "overlay-vs-routed"
    options = {**quick.options, "quick": False, "throughput_s": 0.5, "omit_s": 0.2,
               "transactions_s": 0.2, "round_trips_s": 1, "cost_s": 0.5 if everything else 0,
               "cost_bit_s": 100_000_000, "trial_s": 0.3 if everything else 0}  # fmt: skip
    settings = replace(quick, blocks=1, warm_up=False, options=options)
    experiment = module.experiment(settings)
    kept = {"overlay-vs-routed": ("host_full_9000_nodes", "vxlan_wire_1500_nodes",
                                  "vxlan_wire_9000_same-node"),
            "fidelity": ("podwire_host-gw_wire_1500", "ip_host-gw_wire_1500",
                         "podwire_vxlan_wire_1500", "ip_vxlan_wire_1500")}[name]  # fmt: skip
    few = tuple(one for one in experiment.matrix.conditions if one.name in kept)
    assert len(few) == len(kept)
    arms = {one.arm for one in few}
    pairs = tuple(pair for pair in experiment.matrix.pairs if set(pair[:2]) <= arms)
    experiment = replace(experiment, matrix=replace(experiment.matrix, conditions=few, pairs=pairs))
    with open(os.devnull, "w") as nowhere:
        outcome = loop.run(
            experiment, settings, tmp_path, fingerprint={}, analyse=summarise, stream=nowhere
        )
    rows = store.read(outcome.folder).rows
    assert outcome.status == "complete"
    assert {row.condition for row in rows} == set(kept)
    measured = {row.metric for row in rows if row.value is not None}
    assert {"throughput_bit_s", "crr_p50_us", "tcp_rtt_p50_us"} <= measured
    assert {row.metric for row in rows} >= {metric.name for metric in experiment.metrics}


def test_ctrl_c_leaves_a_readable_part_and_resume_goes_on(tmp_path: Path) -> None:
    running = podwire("run", "overlay-vs-routed", "--quick", "--blocks", "2", results=tmp_path)
    begun(running, "block 1/2 in")
    running.send_signal(signal.SIGINT)
    code, _, err = finished(running)
    assert code == 130
    assert "Traceback" not in err
    folder = only_run(tmp_path, "overlay-vs-routed")
    manifest = store.read(folder).manifest
    assert manifest["status"] == "interrupted"
    summary = json.loads((folder / "summary.json").read_text())
    # a cell that the host took time from is left out, and one block has no other
    if not any("excluded (steal" in note for note in summary["notes"]):
        assert summary["comparisons"]
        assert (folder / "figures" / "throughput.pdf").is_file()
    assert gone(running.pid)

    refused = podwire("run", "overlay-vs-routed", "--resume", "--blocks", "9", results=tmp_path)
    code, _, err = finished(refused)
    assert code == 2
    assert "--blocks" in err
    code, _, err = finished(podwire("run", "overlay-vs-routed", "--resume", results=tmp_path))
    assert code == 0, err
    assert only_run(tmp_path, "overlay-vs-routed") == folder
    manifest = store.read(folder).manifest
    assert (manifest["status"], len(manifest["sessions"])) == ("complete", 2)


def test_kill_9_leaves_finished_samples_and_nothing_of_the_lab(tmp_path: Path) -> None:
    running = podwire("run", "overlay-vs-routed", "--quick", "--blocks", "2", results=tmp_path)
    begun(running, "block 1/2 in")
    before = store.read(only_run(tmp_path, "overlay-vs-routed"))
    running.kill()
    finished(running)
    folder = only_run(tmp_path, "overlay-vs-routed")
    after = store.read(folder)
    assert after.manifest["status"] == "running"
    assert after.complete()[: len(before.complete())] == before.complete()
    assert gone(running.pid)
    code, out, err = finished(podwire("run", "overlay-vs-routed", "--resume", results=tmp_path))
    assert code == 0, err
    whole = store.read(folder)
    assert whole.manifest["status"] == "complete"
    assert whole.rows[: len(after.rows)] == after.rows
    assert {row.block for row in whole.complete()} == {1, 2}
    assert "throughput_bit_s" in out


def test_a_script_that_fails_leaves_no_lab(tmp_path: Path) -> None:
    from emulator.errors import PodwireError
    from emulator.foreign import Foreign

    name = f"by-hand-{os.getpid()}"
    with pytest.raises(PodwireError, match="no such mode"):
        Foreign(name, "echo no such mode >&2; exit 3", [], {}).__enter__()
    assert gone(os.getpid())


def test_a_scripts_namespaces_are_places(tmp_path: Path) -> None:
    from emulator.foreign import Foreign

    script = "ip netns add left; ip -n left link set lo up; echo $1 > /run/podwire-word"
    with Foreign(f"by-hand-{os.getpid()}", script, ["hello"], {"left": "127.0.0.1"}) as lab:
        shown = lab.place("left").run(["ip", "-br", "link"], timeout_s=5).stdout.decode()
    assert shown.split()[:2] == ["lo", "UNKNOWN"]
    assert not Path("/run/podwire-word").exists()
    assert gone(os.getpid())
