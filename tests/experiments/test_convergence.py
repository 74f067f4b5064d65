"""What fails where in convergence, and its figure from a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from figure_texts import readable

from emulator.compile import compile_spec
from emulator.harness.experiment import Condition
from emulator.harness.store import Row, StoredRun
from emulator.oracle import breakable
from emulator.report import style
from emulator.report.summary import summarise
from experiments.convergence import arms, experiment, plots

SETTINGS = {quick: experiment.settings(quick) for quick in (True, False)}


def test_what_fails_is_there_to_fail() -> None:
    """Under either spine; a target that the spec has not would only be found while measuring."""
    for condition in experiment.matrix(False).conditions:
        spec = experiment.spec(condition)
        _, kind, target = arms.fault(condition.arm, str(condition.factors["event"]))
        at_leaf = target.startswith("leaf2")
        for way in ("eth1", "eth2") if at_leaf else ("spine1", "spine2"):
            found = breakable.fault(spec, kind, target.replace(arms.WAY, way))
            assert found.kind == kind, condition.name


def test_a_silent_link_is_one_whose_other_end_is_a_switch() -> None:
    for condition in experiment.matrix(False).conditions:
        spec = experiment.spec(condition)
        event = condition.factors["event"]
        links = {segment.name: segment.is_link for segment in spec.segments if "-" in segment.name}
        if links:
            assert set(links.values()) == {event != "silent"}, condition.name


def test_hold_times_are_those_of_the_sessions() -> None:
    """Where a condition has one, the daemon's configuration says it."""
    for condition in experiment.matrix(False).conditions:
        hold_s = int(condition.factors["hold_s"])
        option = arms.ARMS[condition.arm].hold
        assert bool(hold_s) == bool(option)
        if option:
            assert experiment.spec(condition).network.option(option) == hold_s
            assert str(hold_s) in compile_spec(experiment.spec(condition)).text()


def test_bfd_is_tried_where_routers_can_turn_away_from_silence() -> None:
    """And its time is that of the configurations."""
    tried = set()
    for condition in experiment.matrix(False).conditions:
        bgp = experiment.spec(condition).bgp
        found_ms = bgp.bfd.interval_ms * bgp.bfd.multiplier if bgp.bfd else 0
        assert found_ms == condition.factors["bfd_ms"], condition.name
        assert found_ms < 1000 * bgp.hold_time_s
        if found_ms:
            tried.add((condition.arm, condition.factors["event"]))
            assert "bfd on;" in compile_spec(experiment.spec(condition)).text()
    assert tried == {(arm, "silent") for arm in ("bgp-fabric", "calico-tor", "kube-router-tor")}


def test_every_arm_meets_every_event_that_it_can() -> None:
    found = {(one.arm, one.factors["event"]) for one in experiment.matrix(False).conditions}
    missing = {(arm, event) for arm in arms.ARMS for event in arms.EVENTS} - found
    assert missing == {("static", "daemon")}
    assert set(arms.QUICK) <= found
    quick = {(one.arm, one.factors["event"]) for one in experiment.matrix(True).conditions}
    assert quick == set(arms.QUICK)
    silent = {one.factors["hold_s"] for one in experiment.matrix(False).conditions
              if (one.arm, one.factors["event"]) == ("kube-router", "silent")}  # fmt: skip
    assert silent == {arms.HOLD_S, arms.LONG_HOLD_S}


def test_a_failure_lasts_longer_than_the_short_hold_time_and_not_than_the_long_one() -> None:
    fails_s = SETTINGS[False].options["fails_s"]
    assert arms.HOLD_S < fails_s < arms.LONG_HOLD_S * 2 / 3, "a keepalive comes every third of it"


@pytest.mark.parametrize("quick", [True, False])
def test_every_condition_has_its_plan(quick: bool) -> None:
    declared = experiment.experiment(SETTINGS[quick])
    assert all(declared.describe(one).plan for one in declared.matrix.conditions)


class Counted:
    """A leaf whose counters are written down."""

    def __init__(self) -> None:
        self.sent = {"eth1": 100, "eth2": 5000}

    def counters(self, interface: str) -> dict[str, int]:
        return {"tx_packets": self.sent[interface]}


class Lab:
    """As much of a cluster as finding the way needs."""

    def __init__(self) -> None:
        self.leaf = Counted()
        self.spec = experiment.spec(
            Condition("bgp-fabric", {"event": "link", "hold_s": 0, "bfd_ms": 0})
        )

    def place(self, name: str) -> Counted:
        assert name == "leaf1"
        return self.leaf


def test_the_way_is_the_spine_that_was_sent_most_since() -> None:
    lab = Lab()
    way = experiment.Way(lab)  # type: ignore[arg-type]
    lab.leaf.sent["eth1"] += 200
    lab.leaf.sent["eth2"] += 6
    assert way.named(f"{arms.WAY}:bird") == "spine1:bird"
    assert way.named(f"leaf2:{arms.WAY}") == "leaf2:eth1"


def stored(blocks: int = 3) -> StoredRun:
    """Each condition lost everything from the failure to the repair and a second longer."""
    rows = []
    conditions = experiment.matrix(False).conditions
    for block in range(1, blocks + 1):
        for one in conditions:
            bins = [[at / 20, 10, 10 if 0 <= at < 180 else 0] for at in range(-20, 320)]
            detail = {"bins": bins, "open": one.arm == "kube-router",
                      "events": [["fails", 0.0, 0.1], ["mended", 8.0, 8.1]]}  # fmt: skip
            for name, value in (
                ("outage_ms", 9000.0),
                ("recovery_ms", 1000.0),
                ("lost_packets", 1.0),
            ):
                rows.append(
                    Row(block, 1, "measure", block, one.name, one.arm, one.factors, name,
                        value * block, "ms", "", "", "t", detail if name == "outage_ms" else {})
                )  # fmt: skip
    manifest: dict[str, Any] = {
        "experiment": experiment.NAME, "run": "r", "status": "complete", "why": "", "notes": [],
        "headline": [], "pairs": [],
        "metrics": [metric._asdict() for metric in experiment.METRICS],
        "conditions": [{"name": c.name, "arm": c.arm, "factors": c.factors} for c in conditions],
        "blocks": [{"block": block, "attempt": 1, "phase": "measure", "complete": True}
                   for block in range(1, blocks + 1)],
        "settings": SETTINGS[False].as_json(),
        "fingerprint": {"kernel": "6.1.0", "cpu_count": 2, "cpu_model": "CPU",
                        "virtualisation": "none"},
        "fingerprint_hash": "0",
    }  # fmt: skip
    return StoredRun(Path("r"), manifest, tuple(rows), ())


def test_the_figure_and_the_table_have_every_condition(tmp_path: Path) -> None:
    run = stored()
    files = plots.draw(run, summarise(run), tmp_path)
    assert {"loss.png", "loss.csv", "outages.tex"} <= {path.name for path in files}
    table = plots.outages(summarise(run))
    assert len(table.rows) == len(experiment.matrix(False).conditions)
    assert ("static routes", "node", "–") in {row[:3] for row in table.rows}
    assert table.rows[0][4].startswith("18")


def test_the_figure_can_be_read_and_says_what_is_open() -> None:
    with style.thesis():
        shown = plots.panels(plots.series(stored()))
        readable(shown.figure)
        words = [text.get_text() for axes in shown.figure.axes for text in axes.texts]
    assert "18.0 s" in words
    assert "no daemon" in words
    assert "≥ 18.0 s (hold 3 s)\n≥ 18.0 s (hold 15 s)" in words
    assert "18.0 s (no BFD)\n18.0 s (BFD)" in words


def test_a_run_without_the_factor_is_one_without_bfd() -> None:
    rows = [row._replace(factors={k: v for k, v in row.factors.items() if k != "bfd_ms"})
            for row in stored().rows if not row.factors["bfd_ms"]]  # fmt: skip
    found = plots.series(stored()._replace(rows=tuple(rows)))
    assert {one.bfd_ms for many in found.values() for one in many} == {0}


@pytest.mark.parametrize(("value", "words"), [(0.0, "0 ms"), (0.085, "85 ms"), (5.23, "5.2 s")])
def test_short_outages_are_told_in_milliseconds(value: float, words: str) -> None:
    assert plots.seconds(value) == words
