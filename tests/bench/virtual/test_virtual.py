"""Bench ``virtual`` with its QEMU: the same everywhere, and nothing left behind.

The first time the image is made and a guest is frozen; both stay in the user's cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from emulator.bench.virtual import guests, image, pool
from emulator.errors import PodwireError, SpecError
from emulator.harness import store
from emulator.harness.experiment import Condition
from emulator.harness.settings import Settings
from emulator.verbs.virtual import Virtual

pytestmark = pytest.mark.virtual

ROOT = Path(image.__file__).parents[3]
NAME = "overlay-vs-routed"
VXLAN = Condition("vxlan", {"offload": "wire", "mtu": 1500, "path": "nodes"})
RUN = (sys.executable, "-m", "emulator.cli", "run", NAME, "--quick", "--on", "virtual")


@pytest.fixture(scope="session")
def bench() -> Virtual:
    return Virtual.ready(print)


@pytest.fixture(scope="session")
def short(bench: Virtual) -> Settings:
    """Settings under which a cell takes some seconds."""
    found = bench.settings(NAME, quick=True)
    seconds = {"throughput_s": 0.05, "omit_s": 0.02, "transactions_s": 0.05}
    return replace(found, options={**found.options, **seconds})


def cells(bench: Virtual, settings: Settings, count: int = 1, seed: int = 1) -> set[str]:
    """So many of the same, as they are told."""
    found = list(bench.cells(NAME, settings)(seed, [VXLAN] * count))
    assert all(one.samples and not one.problems for one in found)
    return {json.dumps(one.as_json(), sort_keys=True) for one in found}


def carried_out(bench: Virtual, call: str, argument: Any, patience_s: float = 120.0) -> Any:
    order = {"call": call, "argument": argument, "seed": "chance", "env": {}}
    (found,) = pool.answers(bench.image, bench.moment, [order], patience_s=patience_s)
    return found


# --- the same everywhere -------------------------------------------------------------------


def test_our_layer_of_the_image_is_the_same_bytes_again(bench: Virtual, tmp_path: Path) -> None:
    image._layer(image._own_sources(), bench.image.kernel.parent, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == bench.image.sources.read_bytes()


@contextmanager
def a_busy_loop() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def a_busy_machine() -> Iterator[None]:
    """One CPU, and a busy loop on it."""
    cpus = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cpus)})
        with a_busy_loop():
            yield
    finally:
        os.sched_setaffinity(0, cpus)


def test_a_cell_knows_nothing_of_the_machine(bench: Virtual, short: Settings) -> None:
    (first,) = cells(bench, short, count=2)
    with a_busy_machine():
        assert cells(bench, short) == {first}
    assert cells(bench, short, seed=2) != {first}


def test_nor_does_a_cpu_that_halts(bench: Virtual) -> None:
    """Without ``halting.c`` a guest in three has another time at the end."""
    naps = "[sleep(0.00002 + at * 7919 % 97 * 1e-6) for at in range(50_000)]"
    then = "__import__('time').monotonic_ns()"
    order = {
        "call": "builtins:eval", "seed": "chance", "env": {},
        "argument": f"(lambda sleep: ({naps}, {then})[1])(__import__('time').sleep)",
    }  # fmt: skip
    with a_busy_loop():
        found = list(pool.answers(bench.image, bench.moment, [order] * 8))
    assert len(set(found)) == 1, found


def test_nor_does_a_guest_that_is_frozen(bench: Virtual) -> None:
    """When a timer runs while it is paused, an idle machine and a busy one freeze other guests."""
    clock = "[__import__('time').clock_gettime_ns(1), open('/proc/timer_list').read()]"
    place = bench.image.kernel.with_name("again")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        for name in ("vmlinuz", "host", "booted"):
            (place / name).symlink_to(bench.image.kernel.with_name(name))
        image = bench.image._replace(kernel=place / "vmlinuz", host=place / "host")
        found = []
        for surroundings in (nullcontext(), a_busy_machine()):
            with surroundings:
                moment = guests.frozen(image, print)
            found.append(carried_out(bench._replace(moment=moment), "builtins:eval", clock))
            shutil.rmtree(moment.parent)
        assert found[0] == found[1]
    finally:
        shutil.rmtree(place)


def test_chance_comes_from_the_order(bench: Virtual) -> None:
    words = {"call": "builtins:eval", "argument": "__import__('os').urandom(8).hex()", "env": {}}
    orders = [{**words, "seed": seed} for seed in ("a", "b", "a")]
    first, second, third = pool.answers(bench.image, bench.moment, orders)
    assert first == third != second and len(first) == 16


# --- orders that end badly -----------------------------------------------------------------


def test_an_error_of_ours_comes_out_as_it_is(bench: Virtual) -> None:
    with pytest.raises(SpecError, match=r"/no/such\.yaml: found no file of that name"):
        carried_out(bench, "emulator.spec:load", "/no/such.yaml")


def test_another_error_comes_with_its_traceback(bench: Virtual) -> None:
    with pytest.raises(PodwireError, match=r"(?s)chance: found Traceback.*ZeroDivisionError"):
        carried_out(bench, "builtins:eval", "1 / 0")


def test_one_that_never_ends_is_given_up(bench: Virtual) -> None:
    with pytest.raises(PodwireError, match="chance: found no end of it after 2 s"):
        carried_out(bench, "os:system", "while :; do :; done", patience_s=2)


def test_a_panic_is_told_in_the_words_of_the_kernel(bench: Virtual) -> None:
    crash = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"
    with pytest.raises(PodwireError) as caught:
        carried_out(bench, "os:system", crash)
    assert "Kernel panic - not syncing: sysrq triggered crash" in str(caught.value)
    assert len(re.findall(r"^    \| \[ ", str(caught.value), re.M)) == 12, "the console's tail"


def test_memory_that_is_used_up_is_told(bench: Virtual) -> None:
    with pytest.raises(PodwireError, match=r"Out of memory: Killed process \d+ \(python3\.11\)"):
        carried_out(bench, "builtins:eval", "[bytearray(1 << 24) for _ in range(100)]")


def test_one_that_just_leaves_has_not_answered(bench: Virtual) -> None:
    with pytest.raises(PodwireError, match="ended without a whole answer"):
        carried_out(bench, "os:_exit", 0)


# --- runs ----------------------------------------------------------------------------------


def started(
    *words: str, env: Mapping[str, str] = {}, before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """A run in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        [*before, *RUN, *words], cwd=ROOT, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )  # fmt: skip


def ended(run: subprocess.Popen[str], timeout_s: float = 300.0) -> str:
    try:
        said, _ = run.communicate(timeout=timeout_s)
    finally:
        run.kill()
    return said


def guests_of(pid: int) -> set[int]:
    """The children of a process that lead a session of their own."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            _, parent, _, session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(parent) == pid and session == folder.name:
            found.add(int(session))
    return found


def gone(pids: set[int]) -> None:
    until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), "all gone", 20)


def running(run: subprocess.Popen[str]) -> set[int]:
    """Guests of a run, when there are some."""
    found = until(lambda: run.poll() is not None or guests_of(run.pid), "a guest runs", 120)
    assert isinstance(found, set), run.communicate()
    return found


def rows(results: Path) -> str:
    """What is stored of the only run."""
    return "".join(one.read_text() for one in results.glob(f"{NAME}/2*/samples.jsonl"))


def test_a_run_twice_is_the_same_file(bench: Virtual, tmp_path: Path) -> None:
    for name in ("a", "b"):
        said = ended(run := started("--blocks", "1", "--results", str(tmp_path / name)))
        assert run.returncode == 0, said
        assert "bench: virtual (icount, QEMU 7.2" in said
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    (folder,) = store.runs(tmp_path / "a", NAME)
    stored = store.read(folder)
    assert {row.phase for row in stored.rows} == {"measure"}, "nothing is cold there"
    assert all(row.value for row in stored.rows if row.metric == "throughput_bit_s")
    assert stored.manifest["fingerprint"]["bench"]["image"] == bench.image.digest


def test_ctrl_c_ends_it_and_its_guests(bench: Virtual, tmp_path: Path) -> None:
    """Whoever is in the terminal's process group hears it."""
    run = started("--blocks", "2", "--results", str(tmp_path))
    until(lambda: run.poll() is not None or rows(tmp_path), "a cell is stored", 300)
    guests = running(run)
    os.killpg(run.pid, signal.SIGINT)
    said = ended(run, 60)
    assert run.returncode == 130, said
    gone(guests)
    (folder,) = store.runs(tmp_path, NAME)
    stored = store.read(folder)
    assert stored.manifest["status"] == "interrupted" and "0 complete" in stored.manifest["why"]
    assert list(stored.complete()) == []
    assert "Traceback" not in said


def test_a_killed_one_leaves_no_guest(bench: Virtual, tmp_path: Path) -> None:
    run = started("--blocks", "1", "--results", str(tmp_path))
    guests = running(run)
    run.kill()
    ended(run, 60)
    gone(guests)
    assert rows(tmp_path) == "", "no cell had come to its end"


# --- freezing ------------------------------------------------------------------------------


def without_a_frozen_guest(bench: Virtual, cache: Path) -> Path:
    """A cache with all that it takes to freeze one; its folder of the image."""
    here = bench.image.kernel.parent
    there = cache / "podwire" / "virtual" / here.name
    there.mkdir(parents=True)
    for part in here.iterdir():
        if not part.name.startswith((".", "frozen-")):
            (there / part.name).symlink_to(part)
    (cache / "podwire" / "packages").symlink_to(here.parents[1] / "packages")
    return there


def half_made(place: Path) -> list[str]:
    return [one.name for one in place.iterdir() if one.name.startswith((".", "frozen-"))]


def test_ctrl_c_while_freezing_leaves_nothing(bench: Virtual, tmp_path: Path) -> None:
    there = without_a_frozen_guest(bench, tmp_path)
    run = started(env={"XDG_CACHE_HOME": str(tmp_path)})
    guests = running(run)
    os.killpg(run.pid, signal.SIGINT)
    said = ended(run, 60)
    assert run.returncode == 130 and said.endswith("podwire run: interrupted\n"), said
    gone(guests)
    assert half_made(there) == []


FULL = """
mount -t tmpfs -o size=$ROOM none "$XDG_CACHE_HOME" && cp -a "$0/." "$XDG_CACHE_HOME" && "$@"
code=$?
find "$XDG_CACHE_HOME" -name ".making-*" -o -name "frozen-*"
exit $code
"""


@pytest.mark.parametrize(
    ("room", "found"),
    [
        ("1m", r"found No space left .*\n    hint: free some space"),
        ("350m", r"found migrate: .*\n(.*\n)*    hint: half a gigabyte of room in"),
    ],
    ids=["no room for our sources", "room for all but the frozen guest"],
)
def test_a_full_disk_is_one_error(bench: Virtual, tmp_path: Path, room: str, found: str) -> None:
    template, cache = tmp_path / "template", tmp_path / "cache"
    cache.mkdir()
    for sources in without_a_frozen_guest(bench, template).glob("sources-*"):
        sources.unlink()
    run = started(
        env={"XDG_CACHE_HOME": str(cache), "ROOM": room},
        before=("unshare", "-rm", "sh", "-c", FULL, str(template)),
    )
    said = ended(run)
    assert run.returncode == 1, said
    assert re.search(f"^podwire run: .*{found}.*\n\\Z", said, re.M), "and nothing is left: " + said
    assert "Traceback" not in said
