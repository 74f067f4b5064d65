"""What wan expects of a link, how it judges a transfer, and what it draws."""

from __future__ import annotations

import csv
import errno
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from figure_texts import readable

from emulator.harness.settings import Settings
from emulator.harness.store import Row, StoredRun
from emulator.measure.sample import METRICS, is_speed
from emulator.report import style
from emulator.report.pairing import cells
from emulator.report.summary import summarise
from experiments import overhead
from experiments.two_nodes import lab
from experiments.two_nodes.modes import MODES, Way
from experiments.wan import experiment, paths, plots, programs
from experiments.wan.paths import PATHS, ceiling_bit_s, model_bit_s, size_b
from experiments.wan.paths import Path as Link

OPTIONS = {"quick": False, "cpus": {"client": [0], "server": [1]}, "congestion": "reno",
           "rate_bit_s": paths.RATE_BIT_S, "long_s": experiment.LONG_S[False]}  # fmt: skip


def test_the_ceiling_is_the_rate_less_all_headers() -> None:
    assert ceiling_bit_s(Way()) == pytest.approx(5e6 * 1448 / 1514)
    assert ceiling_bit_s(Way(overhead.VXLAN)) == pytest.approx(5e6 * 1398 / 1514)


def test_the_model_of_loss_halves_with_the_round_trip_and_never_passes_the_ceiling() -> None:
    plain = Way()
    assert model_bit_s(plain, Link(20)) == ceiling_bit_s(plain)
    near, far = (model_bit_s(plain, Link(delay, 1.0)) for delay in (20, 80))
    assert far == pytest.approx(8 * 1448 / 0.1624 * 13.1, rel=1e-3)
    assert near / far == pytest.approx(0.1624 / 0.0424, rel=1e-3)
    assert model_bit_s(plain, Link(20, 0.0001)) == ceiling_bit_s(plain)


def test_a_transfer_is_long_enough_for_what_is_asked_of_it() -> None:
    """A shaper's burst is little of what is counted; of it, several segments are lost."""
    for link in PATHS:
        counted_b = size_b(link, OPTIONS["long_s"]["lossy" if link.loss_percent else "calm"]) / 2
        if link.loss_percent:
            assert counted_b / 1448 * link.loss_percent / 100 > 10
        else:
            assert 68_000 / counted_b < 0.025


def test_verdicts_are_of_links_without_loss_alone() -> None:
    compared = summarise(stored())["comparisons"]
    assert {row["factors"]["loss_percent"] for row in compared} == {0}
    assert {row["factors"]["delay_ms"] for row in compared} == {0, 20}


def test_links_are_those_of_the_spec() -> None:
    assert Link(20, 0.1).link() == {"rate": "5000kbit", "delay": "20ms", "loss": "0.1%"}
    assert [link.words() for link in PATHS[:3]] == ["no delay", "20 ms", "20 ms, 0.1 % lost"]
    declared = experiment.experiment(Settings(1, options=OPTIONS))
    quick = experiment.experiment(Settings(1, options=OPTIONS | {"quick": True}))
    names = [{one.name for one in made.matrix.conditions} for made in (quick, declared)]
    assert names[0] < names[1]
    texts = {one.name: declared.describe(one).plan for one in declared.matrix.conditions}
    for one in declared.matrix.conditions:
        link, plan = paths.of(one.factors), texts[one.name]
        assert "core qdisc eth1" in plan
        assert ("core netem eth1" in plan) == bool(link.delay_ms), one.name
        assert (f"delay {link.delay_ms}ms" in plan) == bool(link.delay_ms), one.name
    assert lab.UPLINK == "eth0"


def test_goodput_is_counted_and_the_short_transfer_is_speed() -> None:
    assert not is_speed("goodput_bit_s")
    assert is_speed("short_ms")
    assert all(METRICS[one.name].counted for one in experiment.COUNTS)


TOLD = {"came_b": 1e6, "elapsed_s": 2.0, "steady_b": 9e5, "steady_s": 1.5, "mss": 1448}


@pytest.mark.parametrize(
    ("told", "idle", "value", "failure"),
    [
        (TOLD, 0.5, 4.8e6, ""),
        (TOLD, 0.01, 4.8e6, ""),  # busy, but the link was full
        (TOLD | {"steady_s": 3.0}, 0.5, 2.4e6, ""),  # by loss and delay
        (TOLD | {"steady_s": 3.0}, 0.01, None, "1% of a CPU's time was idle at 50% of the link"),
        (TOLD | {"steady_s": 1.47}, 0.01, None, "102.0% of what the link has room for"),
        (TOLD | {"steady_s": 1.47}, 0.9, None, "102.0% of what the link has room for"),
        (
            TOLD | {"steady_b": 0.0, "steady_s": 0.0},
            0.9,
            None,
            "the receiver never had read all that had come",
        ),
        (TOLD | {"came_b": 0.0}, 0.9, None, "0 B of 1000000 B after 2.0 s"),
    ],
)
def test_goodput_has_a_value_where_it_is_the_links(
    told: dict[str, Any], idle: float, value: float | None, failure: str
) -> None:
    goodput, completed, resent = experiment.long_samples(told, 1_000_000, 3, idle, 4.8e6)
    assert (goodput.value, goodput.failure) == (value, failure)
    assert completed.value == (told["came_b"] == 1e6)
    assert resent.value == 3


RUN = [sys.executable, "-I", "-c"]


@pytest.fixture
def port() -> Iterator[int]:
    """Of a receiver on loopback that skips 100 kB."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        chosen = int(free.getsockname()[1])
    argv = [*RUN, programs.RECEIVER, "127.0.0.1", str(chosen), "100000"]
    with subprocess.Popen(argv) as receiver:
        while True:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", chosen)) != errno.ECONNREFUSED:
                    break
        yield chosen
        receiver.kill()


def test_the_two_ends_understand_each_other(port: int) -> None:
    argv = [*RUN, programs.SENDER, "127.0.0.1", str(port), "400000", "10"]
    told = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    assert told["came_b"] == 400_000
    assert 0 <= told["steady_b"] <= 300_000
    assert 0 <= told["steady_s"] < told["elapsed_s"]


def test_what_comes_at_once_with_the_mark_is_not_counted(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as out:
        out.sendall(bytes(250_000))
        time.sleep(0.5)
        out.sendall(bytes(30_000))
        out.shutdown(socket.SHUT_WR)
        told = json.loads(out.recv(200))
    assert (told["came_b"], told["steady_b"]) == (280_000, 30_000)
    assert 0.1 < told["steady_s"] < 5


def stored() -> StoredRun:
    """Every condition with a value near the model; netem is missing for the longest delay."""
    conditions = experiment.matrix(False).conditions
    rows = []
    for block in range(1, 7):
        for number, one in enumerate(conditions):
            link, way = paths.of(one.factors), MODES[one.arm].at("two racks")
            assert isinstance(way, Way)
            lacking = link.delay_ms == 80
            value = model_bit_s(way, link) * (1 - block / 100)
            rows.append(
                Row(block, 1, "measure", number, one.name, one.arm, one.factors, "goodput_bit_s",
                    None if lacking else value, "bit/s", "no netem" if lacking else "", "", "t", {},
                    "unsupported" if lacking else "measured")
            )  # fmt: skip
    manifest: dict[str, Any] = {
        "experiment": experiment.NAME, "run": "r", "status": "complete", "why": "", "notes": [],
        "headline": ["goodput_bit_s"],
        "metrics": [metric._asdict() for metric in experiment.METRICS], "counts": [],
        "pairs": [pair._asdict() for pair in experiment.matrix(False).pairs],
        "conditions": [{"name": c.name, "arm": c.arm, "factors": c.factors} for c in conditions],
        "blocks": [{"block": block, "attempt": 1, "phase": "measure", "complete": True}
                   for block in range(1, 7)],
        "settings": Settings(6, options=OPTIONS).as_json(),
        "fingerprint": {"kernel": "6.1.0", "cpu_count": 2, "cpu_model": "CPU",
                        "virtualisation": "none"},
        "fingerprint_hash": "0",
    }  # fmt: skip
    return StoredRun(Path("r"), manifest, tuple(rows), ())


def test_the_figure_has_every_link_and_says_what_is_unsupported(tmp_path: Path) -> None:
    run = stored()
    files = plots.draw(run, summarise(run), tmp_path)
    assert {path.name for path in files} >= {"goodput.png", "goodput.pdf"}
    with (tmp_path / "goodput.csv").open() as file:
        drawn = list(csv.DictReader(file))
    assert {(row["arm"], row["delay_ms"]) for row in drawn} == {
        (arm, delay) for arm in experiment.ARMS if arm in MODES for delay in ("0", "20")
    }
    shown = plots.panels([cell for cell in cells(run) if cell.metric == "goodput_bit_s"])
    with style.thesis():
        readable(shown.figure)
    caption = (tmp_path / "goodput.txt").read_text()
    assert "congestion control of the sender: reno" in caption
    said = [text.get_text() for axes in shown.figure.axes for text in axes.texts]
    assert said == ["unsupported here"] * 2
