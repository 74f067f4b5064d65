"""What path-mtu sends, how it reads what became of it, and how that is drawn."""

from __future__ import annotations

import csv
import errno
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from figure_texts import readable

from emulator.errors import PodwireError
from emulator.harness.experiment import Condition
from emulator.harness.settings import Settings
from emulator.harness.store import Row, StoredRun
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import METRICS, Sample, failed
from emulator.place import Completed
from emulator.report import style
from experiments import overhead
from experiments.path_mtu import experiment, outcomes, plots, programs, tables
from experiments.path_mtu.situations import (
    NARROW_MTU,
    OUTCOMES,
    PROBES,
    SITUATIONS,
    clamped_mss_b,
    size_b,
)
from experiments.two_nodes.lab import Cell
from experiments.two_nodes.modes import MODES, PLACES, TWIN, Way, way

OPTIONS = {"quick": False, "cpus": {"client": [0], "server": [1]}, "congestion": "reno",
           "patience_s": 1.0}  # fmt: skip


def test_sizes_follow_the_way_and_a_clamped_segment_fits_its_narrowest_link() -> None:
    vxlan = Way(overhead.VXLAN)
    assert [size_b(vxlan, one) for one in SITUATIONS] == [1451, 1450, 1450]
    assert [clamped_mss_b(vxlan, one) for one in SITUATIONS] == [1410, 1210, 1210]
    constant = Way(overhead.VXLAN, fixed_mtu=1376)
    assert clamped_mss_b(constant, "above") == 1336
    for mode in MODES.values():
        there = mode.at(PLACES[1])
        if isinstance(there, Way):
            outer = there.around.outer_b(size_b(there, "narrow"), there.path_mtu)
            assert NARROW_MTU < outer <= 1500, mode.title
            clamped = clamped_mss_b(there, "silent") + 40
            assert there.around.outer_b(clamped, there.path_mtu) <= NARROW_MTU


def test_the_matrix_has_every_mode_that_leads_to_another_rack() -> None:
    full = experiment.experiment(Settings(1, options=OPTIONS)).matrix
    quick = experiment.experiment(Settings(1, options=OPTIONS | {"quick": True})).matrix
    assert {one.name for one in quick.conditions} < {one.name for one in full.conditions}
    arms = {one.arm for one in full.conditions}
    assert arms == {arm for arm, mode in MODES.items()
                    if isinstance(mode.at(PLACES[1]), Way) and arm != TWIN}  # fmt: skip
    assert len(full.conditions) == len(arms) * len(SITUATIONS)
    assert all(METRICS[metric].counted for metric in PROBES)


UDP = {"came_b": 0, "refused": False, "at_once": False, "mtu": 1500, "tries": 8}
TCP = {"came_b": 0, "mss": 1448}


@pytest.mark.parametrize(
    ("told", "cut", "word"),
    [
        (UDP, {}, "lost"),
        (UDP, {"core": 2}, "lost"),  # pieces of which not all came
        (UDP | {"refused": True, "mtu": 1280}, {}, "refused"),
        (UDP | {"came_b": 1000}, {"core": 2}, "in pieces"),
        (UDP | {"came_b": 1000}, {}, "whole"),
        (TCP, {}, "lost"),
        (TCP | {"came_b": 1000}, {}, "whole"),
    ],
)
def test_what_became_of_it(told: dict[str, Any], cut: dict[str, int], word: str) -> None:
    sample = outcomes.outcome("outcome_df", told, 1000, cut)
    assert sample.value == OUTCOMES.index(word)
    assert sample.detail["outcome"] == word


def test_a_refusal_says_by_whom_and_a_part_is_no_outcome() -> None:
    told = UDP | {"refused": True, "mtu": 1280}
    assert outcomes.outcome("outcome_df", told, 1000, {}).detail["by"] == "path"
    at_once = outcomes.outcome("outcome_df", told | {"at_once": True}, 1000, {})
    assert (at_once.detail["by"], at_once.detail["mtu"]) == ("sender", 1280)
    part = outcomes.outcome("outcome_tcp", TCP | {"came_b": 10}, 1000, {})
    assert (part.value, part.failure) == (None, "10 B came of 1000 B")
    assert outcomes.cut_by({"n1": 1, "core": 5}, {"n1": 1, "core": 9}) == {"core": 4}
    with pytest.raises(MeasureFailed, match="a sender wrote"):
        outcomes.parse(b"Killed")


def refused(mtu: int, metric: str = "outcome_df") -> Sample:
    return outcomes.outcome(metric, UDP | {"refused": True, "mtu": mtu}, 1000, {})


def test_a_refusal_with_another_mtu_than_the_computed_one_ends_the_run() -> None:
    def at(situation: str, arm: str = "ipip") -> Condition:
        return Condition(arm, {"place": PLACES[1], "situation": situation})

    assert experiment.gate(at("above"), [refused(1480)]) == []
    for situation in ("narrow", "silent"):
        assert experiment.gate(at(situation), [refused(1280)]) == []
    (problem,) = experiment.gate(at("narrow"), [refused(1480, "outcome_fragments")])
    assert problem.found == "refused with an MTU of 1480"
    assert problem.expected == "refused with an MTU of 1280, by the sizes of headers"
    (problem,) = experiment.gate(at("above", "vxlan"), [refused(1480)])
    assert problem.expected.startswith("refused with an MTU of 1450")


@pytest.mark.parametrize("told", [UDP, UDP | {"came_b": 1000}])
def test_one_byte_too_much_with_dont_fragment_must_be_refused(told: dict[str, Any]) -> None:
    at = {
        situation: Condition("host", {"place": PLACES[1], "situation": situation})
        for situation in SITUATIONS
    }
    found = {
        metric: outcomes.outcome(metric, told, 1000, {})
        for metric in ("outcome_df", "outcome_fragments")
    }
    (problem,) = experiment.gate(at["above"], list(found.values()))
    assert problem.place.endswith("outcome_df")
    assert problem.found in ("lost", "whole")
    assert experiment.gate(at["silent"], list(found.values())) == []
    assert experiment.gate(at["above"], [failed("outcome_df", "no answer")]) == []


class Router(NamedTuple):
    """Says the same to every question."""

    said: bytes
    name: str = "core"

    def place(self, name: str) -> Router:
        return self

    def run(self, argv: Sequence[str], **how: Any) -> Completed:
        return Completed(tuple(argv), 0, self.said, b"")


def test_what_the_router_did_not_take_ends_the_run() -> None:
    def lay(said: str, situation: str) -> None:
        experiment._lay(Cell(*[Router(said.encode())] * 4, None, 1), situation)  # type: ignore[arg-type]

    lay("2: eth1: <UP> mtu 1300 qdisc noqueue", "narrow")
    lay("mtu 1300\n icmp type destination-unreachable icmp code frag-needed drop }", "silent")
    lay("", "above")
    with pytest.raises(PodwireError, match=r"mtu 1500 qdisc.*expected mtu 1300"):
        lay("2: eth1: <UP> mtu 1500 qdisc noqueue", "narrow")
    with pytest.raises(PodwireError, match=r"expected icmp type"):
        lay("mtu 1300\n icmp type echo-request drop }", "silent")


@pytest.fixture
def port() -> Iterator[int]:
    """Of the receiver, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        chosen = int(free.getsockname()[1])
    argv = [sys.executable, "-I", "-c", programs.RECEIVER, "127.0.0.1", str(chosen)]
    with subprocess.Popen(argv) as receiver:
        while True:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", chosen)) != errno.ECONNREFUSED:
                    break
        yield chosen
        receiver.kill()


def sent(program: str, *words: object) -> dict[str, Any]:
    argv = [sys.executable, "-I", "-c", program, "127.0.0.1", *map(str, words)]
    return outcomes.parse(subprocess.run(argv, capture_output=True, check=True).stdout)


def test_the_programs_understand_each_other(port: int) -> None:
    told = sent(programs.UDP, port, 1000, 1, 4)
    assert told | {"mtu": 0} == {"came_b": 1000, "refused": False, "at_once": False, "mtu": 0,
                                 "tries": 1}  # fmt: skip
    stream = sent(programs.TCP, port, 65_536, 4)
    assert (stream["came_b"], stream["mss"] > 500) == (65_536, True)


def test_a_stack_that_refuses_at_once_is_heard(port: int) -> None:
    """No datagram is larger than 65,507 bytes: loopback refuses it as a device would."""
    told = sent(programs.UDP, port, 65_508, 1, 1)
    assert (told["refused"], told["at_once"], told["came_b"]) == (True, True, 0)


def stored(missing: str = "") -> StoredRun:
    """Every mode in every situation, outcomes in turn; ``missing``: what the kernel lacks."""
    conditions = experiment.matrix(False).conditions
    rows = []
    for number, one in enumerate(conditions):
        for at, metric in enumerate(PROBES):
            value = (number + at) % len(OUTCOMES)
            detail: dict[str, Any] = {
                "outcome": OUTCOMES[value], "told": TCP if at > 1 else UDP, "by": "path",
                "mtu": 1280, "cut_by": {"core": 2},
            }  # fmt: skip
            lacking = one.arm == missing
            rows.append(
                Row(1, 1, "measure", number, one.name, one.arm, one.factors, metric,
                    None if lacking else value, "1", "no such kernel" if lacking else "", "", "t",
                    {} if lacking else detail, "unsupported" if lacking else "measured")
            )  # fmt: skip
    manifest: dict[str, Any] = {
        "experiment": experiment.NAME, "run": "r", "status": "complete", "why": "", "notes": [],
        "headline": [], "metrics": [], "pairs": [],
        "counts": [metric._asdict() for metric in experiment.COUNTS],
        "conditions": [{"name": c.name, "arm": c.arm, "factors": c.factors} for c in conditions],
        "blocks": [{"block": 1, "attempt": 1, "phase": "measure", "complete": True}],
        "settings": Settings(1, options=OPTIONS).as_json(),
        "fingerprint": {"kernel": "6.1.0", "cpu_count": 2, "cpu_model": "CPU",
                        "virtualisation": "none"},
        "fingerprint_hash": "0",
    }  # fmt: skip
    return StoredRun(Path("r"), manifest, tuple(rows), ())


def test_the_figure_has_a_field_for_each_probe(tmp_path: Path) -> None:
    run = stored()
    files = plots.draw(run, tables.analyse(run), tmp_path)
    assert {path.name for path in files} >= {"fields.png", "outcomes.md", "outcomes.tex"}
    with (tmp_path / "fields.csv").open() as file:
        drawn = list(csv.DictReader(file))
    assert len(drawn) == len(run.rows)
    with style.thesis():
        readable(plots.fields(tables.analyse(stored("vxlan"))["outcomes"]).figure)


def test_the_table_says_who_refused_and_who_cut() -> None:
    lines = tables.outcomes(tables.analyse(stored("vxlan"))).rows
    assert lines[0][:4] == ("host network", "one byte above the path MTU", "lost",
                            "refused (1280 by path)")  # fmt: skip
    assert "in pieces (by core)" in lines[0]
    assert "whole (MSS 1448)" in lines[0]
    titles = [line[0] for line in lines]
    assert titles.count("flannel vxlan") == 1
    assert ("flannel vxlan", "unsupported: no such kernel", "", "", "", "") in lines
    assert any(line[1].startswith("unsupported: the next hop") for line in lines)


def test_every_condition_has_a_way() -> None:
    assert all(way(one).path_mtu for one in experiment.matrix(False).conditions)
    assert json.dumps(experiment.settings(True).as_json())
