from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.errors import PodwireError
from emulator.harness import store
from emulator.harness.experiment import Condition, Description
from emulator.harness.store import Store
from emulator.measure.sample import Sample, failed, good

VXLAN = Condition("vxlan", {"mtu": 1500})
MANIFEST = {"experiment": "e", "started": "2026-01-01T00:00:00.000Z", "status": "running",
            "why": "", "conditions": [], "metrics": [], "pairs": []}  # fmt: skip


def new(results: Path, name: str = "r") -> Store:
    return Store.create(results, name, MANIFEST, {
        "vxlan_1500": Description("---\nkind: A\n", "a\n"),
        "twin_1500": Description("---\nkind: A\n", "a\n"),
        "host_1500": Description("kind: B\n", "b\n"),
    })  # fmt: skip


def block(number: int, complete: bool, attempt: int = 1) -> dict[str, object]:
    return {"block": number, "attempt": attempt, "phase": "measure", "complete": complete}


def append(run: Store, number: int, *samples: Sample, attempt: int = 1) -> None:
    run.append(number, attempt, "measure", 1, VXLAN, "t", samples or (good("retransmits", 1),))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    run = new(tmp_path)
    third = 1 / 3
    append(run, 1, good("throughput_bit_s", third, streams=2), failed("connect_p99_us", "no reply"))
    run.manifest["blocks"] = [block(1, True)]
    run.save()
    run.close()
    read = store.read(run.folder)
    assert [row.value for row in read.rows] == [third, None]
    assert read.rows[1].failure == "no reply"
    assert read.rows[0].detail == {"streams": 2}
    assert read.rows[0].factors == {"mtu": 1500}
    assert read.complete() == read.rows
    assert read.notes == ()


def test_equal_specs_and_plans_are_written_once_and_each_by_its_own(tmp_path: Path) -> None:
    folder = new(tmp_path).folder
    assert (folder / "spec.yaml").read_text() == (
        "---\n# vxlan_1500, twin_1500\nkind: A\n---\n# host_1500\nkind: B\n"
    )
    assert (folder / "plan.txt").read_text() == "# vxlan_1500, twin_1500\na\n\n# host_1500\nb\n"
    assert (folder / "raw" / "specs" / "host_1500.yaml").read_text() == "kind: B\n"


def test_a_cut_off_last_line_is_named_and_a_broken_line_inside_refused(tmp_path: Path) -> None:
    run = new(tmp_path)
    append(run, 1)
    run.close()
    path = run.folder / "samples.jsonl"
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole + whole[:length])
        read = store.read(run.folder)
        expected = 1 if length < len(whole) else 2
        assert len(read.rows) == expected
        assert f"cut off ({length} bytes)" in read.notes[0]
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(PodwireError, match=r"samples.jsonl:1: found a line that is no sample"):
        store.read(run.folder)


def test_reopening_marks_the_unfinished_block_and_moves_the_cut_off_line(tmp_path: Path) -> None:
    run = new(tmp_path)
    append(run, 1)
    append(run, 2)
    run.manifest["blocks"] = [block(1, True), block(2, False)]
    run.save()
    run.close()
    with (run.folder / "samples.jsonl").open("ab") as file:
        file.write(b'{"block": 2, "att')
    again = Store.reopen(run.folder)
    append(again, 2, attempt=2)
    again.manifest["blocks"].append(block(2, True, attempt=2))
    again.save()
    again.close()
    read = store.read(run.folder)
    assert [(row.block, row.attempt) for row in read.rows] == [(1, 1), (2, 1), (2, 2)]
    assert [(row.block, row.attempt) for row in read.complete()] == [(1, 1), (2, 2)]
    assert read.manifest["discarded"] == [
        {"block": 2, "attempt": 1, "samples": 1, "why": "the run ended inside this block"}
    ]
    assert (run.folder / "raw" / "cut-off-line-0.txt").read_text() == '{"block": 2, "att'
    assert "moved to raw/cut-off-line-0.txt" in read.notes[0]


def test_raw_files_never_overwrite_each_other_or_leave_the_folder(tmp_path: Path) -> None:
    run = new(tmp_path)
    run.keep_raw(3, 1, VXLAN, {"iperf3.json": b"1"})
    run.keep_raw(3, 1, VXLAN, {"iperf3.json": b"2", "../../x": b"3"})
    run.keep_raw(3, 2, VXLAN, {"iperf3.json": b"4"})
    raw = run.folder / "raw"
    assert (raw / "block-003" / "vxlan_1500" / "iperf3.json").read_bytes() == b"1"
    assert (raw / "block-003" / "vxlan_1500" / "iperf3-2.json").read_bytes() == b"2"
    assert (raw / "block-003" / "vxlan_1500" / "..-..-x").read_bytes() == b"3"
    assert (raw / "block-003-attempt-2" / "vxlan_1500" / "iperf3.json").read_bytes() == b"4"


def test_large_raw_files_are_packed_the_same_each_time(tmp_path: Path) -> None:
    run = new(tmp_path)
    log = b"1.5,2.5\n" * 1000
    for attempt in (1, 2):
        run.keep_raw(1, attempt, VXLAN, {"sockperf.txt": log})
    folders = [run.folder / "raw" / name for name in ("block-001", "block-001-attempt-2")]
    packed = [(folder / "vxlan_1500" / "sockperf.txt.gz").read_bytes() for folder in folders]
    assert gzip.decompress(packed[0]) == log
    assert packed[0] == packed[1]


def test_a_run_is_never_written_over(tmp_path: Path) -> None:
    run = new(tmp_path)
    with pytest.raises(PodwireError, match="an unfinished run with 0 complete blocks"):
        new(tmp_path)
    run.manifest["status"] = "interrupted"
    run.manifest["blocks"] = [block(1, True), block(2, False)]
    run.save()
    with pytest.raises(PodwireError, match="an interrupted run with 1 complete block"):
        new(tmp_path)
    assert store.unfinished(tmp_path, "e") == run.folder
    assert store.unfinished(tmp_path, "none such") is None
    later = new(tmp_path, "zz-later")
    later.manifest["status"] = "complete"
    later.save()
    assert store.unfinished(tmp_path, "e") == run.folder, "a complete one does not hide it"


def test_latest_points_to_the_last_summary(tmp_path: Path) -> None:
    first, second = new(tmp_path, "1"), new(tmp_path, "2")
    for run in (first, second, first):
        run.summarise({"comparisons": []})
        assert os.readlink(tmp_path / "e" / "latest") == run.folder.name
    assert [one.name for one in store.runs(tmp_path, "e")] == ["1", "2"]


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    run = new(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        append(run, 1, Sample("retransmits", float("nan"), "1", {}))


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(PodwireError, match=r"no manifest\.json"):
        store.read(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(PodwireError, match="format 99"):
        store.read(tmp_path)


FILL = """
import resource, signal, sys
from pathlib import Path
from emulator.errors import PodwireError
from emulator.harness import store
from emulator.harness.experiment import Condition
from emulator.measure.sample import good
run = store.Store.reopen(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    while True:
        run.append(1, 1, "measure", 1, Condition("a"), "t", [good("retransmits", 1)] * 7)
except PodwireError as error:
    print(error)
"""


def test_without_room_the_finished_samples_stay_whole(tmp_path: Path) -> None:
    run = new(tmp_path)
    run.close()
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(run.folder)], capture_output=True, text=True, check=True,
        cwd=Path(store.__file__).parents[2],
    )  # fmt: skip
    assert "no room to write (File too large)" in done.stdout
    assert "continue with --resume; all finished samples are intact" in done.stdout
    read = store.read(run.folder)
    assert read.notes == ()
    assert len(read.rows) > 7
    assert len(read.rows) % 7 == 0
