from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

import experiments
from emulator.cli import main
from emulator.errors import SpecError
from emulator.harness.experiment import Condition
from emulator.harness.settings import Settings
from emulator.measure.cpus import CpuMap
from emulator.measure.sample import failed, good
from experiments import traffic
from experiments.fidelity import experiment as fidelity
from experiments.fidelity.equivalence import judged
from experiments.overlay_vs_routed import experiment as overlay
from experiments.overlay_vs_routed.gate import gate
from experiments.traffic import Traffic

HOW = Traffic("reno", CpuMap((0,), (1,)))
QUICK = Settings(blocks=1, options={"quick": True, **HOW.as_options()})
FULL = Settings(
    blocks=1,
    options={"quick": False, **HOW._replace(round_trips_s=1, cost_s=1.0, trial_s=0.5).as_options()},
)


def test_the_full_matrix_has_every_mode_between_nodes_and_a_negative_control() -> None:
    conditions = overlay.experiment(FULL).matrix.conditions
    between = [one for one in conditions if one.factors["path"] == "nodes"]
    assert len(between) == 4 * 2 * 2
    control = {one.name for one in conditions} - {one.name for one in between}
    assert control == {
        f"{arm}_wire_{mtu}_same-node" for arm in ("host-gw", "vxlan") for mtu in (1500, 9000)
    }


def test_the_quick_matrix_is_a_part_of_the_full_one() -> None:
    quick, full = overlay.experiment(QUICK), overlay.experiment(FULL)
    assert {one.name for one in quick.matrix.conditions} == {
        "host-gw_wire_1500_nodes", "host-gw-again_wire_1500_nodes", "vxlan_wire_1500_nodes",
    }  # fmt: skip
    assert {c.name for c in quick.matrix.conditions} < {c.name for c in full.matrix.conditions}
    assert {m.name for m in quick.metrics} < {m.name for m in full.metrics}


def test_twin_arms_are_the_same_network() -> None:
    factors = {"offload": "wire", "mtu": 1500, "path": "nodes"}
    first, again = (
        overlay.spec(Condition(arm, factors), HOW) for arm in ("host-gw", "host-gw again")
    )
    assert first == again


def test_conditions_differ_in_network_mtu_and_offload_alone() -> None:
    experiment = overlay.experiment(FULL)
    base = overlay.spec(experiment.matrix.conditions[0], HOW)
    for condition in experiment.matrix.conditions:
        spec = overlay.spec(condition, HOW)
        links = spec.links._replace(mtu=base.links.mtu, offload=base.links.offload)
        pods = tuple(
            pod._replace(host_network=mine.host_network)
            for pod, mine in zip(spec.pods, base.pods, strict=True)
        )
        assert spec._replace(network=base.network, links=links, pods=pods) == base


def test_options_come_back_as_they_were() -> None:
    assert Traffic.of(json.loads(json.dumps(FULL.options))) == Traffic.of(FULL.options)


def test_fidelity_keeps_the_script_as_the_plan_of_the_plain_arms() -> None:
    experiment = fidelity.experiment(FULL)
    plans = {one.arm: experiment.describe(one).plan for one in experiment.matrix.conditions}
    assert plans["ip"] == plans["ip again"]
    assert plans["ip"].startswith("# sh plain.sh vxlan 1500 reno\n")
    assert "n1 netns" in plans["podwire"]


@pytest.mark.parametrize(
    ("slowest", "rate"), [(5.2e9, 2_600_000_000), (9.99e9, 4_900_000_000), (130e6, 65_000_000)]
)
def test_the_fixed_rate_is_half_of_the_slowest_in_two_digits(slowest: float, rate: int) -> None:
    assert traffic.fixed_rate(slowest) == rate


def test_congestion_control_is_one_that_a_namespace_may_choose(tmp_path: object) -> None:
    from pathlib import Path

    allowed = Path(str(tmp_path)) / "allowed"
    assert traffic.congestion_control(allowed) == "reno"
    allowed.write_text("reno bbr\n")
    assert traffic.congestion_control(allowed) == "reno"
    allowed.write_text("reno cubic\n")
    assert traffic.congestion_control(allowed) == "cubic"


THROUGHPUT = good("throughput_bit_s", 8e9, seconds=1.3, received_b=10**9)  # in less than asked
UPLINK = good("uplink_tx_b", 1.1e9)
TUNNEL = good("tunnel_tx_b", 1.05e9)
SMALL, LARGE = good("frame_b", 1500.0), good("frame_b", 45_000.0)


def at(arm: str, offload: str = "wire", path: str = "nodes") -> Condition:
    return Condition(arm, {"offload": offload, "mtu": 1500, "path": path})


@pytest.mark.parametrize(
    ("condition", "samples"),
    [
        (at("vxlan"), [THROUGHPUT, UPLINK, TUNNEL, SMALL]),
        (at("host-gw"), [THROUGHPUT, UPLINK, SMALL]),
        (at("host", "full"), [THROUGHPUT, UPLINK, LARGE]),
        (at("vxlan", path="same-node"), [THROUGHPUT, good("uplink_tx_b", 90.0), SMALL]),
        (at("vxlan"), [failed("throughput_bit_s", "iperf3 hung"), good("uplink_tx_b", 0.0)]),
    ],
)
def test_a_network_that_is_what_it_claims_passes_the_gate(condition, samples) -> None:
    assert gate(condition, samples) == []


@pytest.mark.parametrize(
    ("condition", "samples", "place"),
    [
        (at("vxlan"), [THROUGHPUT, UPLINK, good("tunnel_tx_b", 100.0), SMALL], "flannel.1"),
        (at("host-gw"), [THROUGHPUT, UPLINK, TUNNEL, SMALL], "flannel.1"),
        (at("host-gw"), [THROUGHPUT, good("uplink_tx_b", 9e8), SMALL], "uplink"),
        (at("host-gw"), [THROUGHPUT, UPLINK, LARGE], "frames"),
        (at("host-gw", "full"), [THROUGHPUT, UPLINK, SMALL], "frames"),
        (at("host-gw", path="same-node"), [THROUGHPUT, UPLINK, SMALL], "uplink"),
    ],
)
def test_the_gate_names_what_contradicts_the_condition(condition, samples, place) -> None:
    problems = gate(condition, samples)
    assert len(problems) == 1
    assert place in problems[0].place


@pytest.mark.parametrize(
    ("ci", "verdict"),
    [
        ([0.98, 1.02], "equivalent within 3%"),
        ([0.96, 1.02], "equivalent within 5%"),
        ([0.90, 1.02], "not shown to be equivalent (inside 10.0%)"),
        ([0.80, 0.90], "differs (inside 20.0%)"),
        ([1.00, 1.02], "equivalent within 3%"),
    ],
)
def test_equivalence_needs_the_whole_interval(ci: list[float], verdict: str) -> None:
    assert judged({"ci": ci, "verdict": "same"})["verdict"] == verdict


def test_equivalence_is_not_judged_by_a_range() -> None:
    assert judged({"ci": [0.99, 1.01], "verdict": "too few blocks"})["within"] is None


def test_steal_leaves_a_cell_out() -> None:
    rule = traffic.EXCLUSIONS[0]
    assert rule.applies(at("vxlan"), [good("cell_steal_ratio", 0.021)])
    assert not rule.applies(at("vxlan"), [good("cell_steal_ratio", 0.019)])


def test_every_experiment_offers_what_the_command_line_asks_for() -> None:
    for name in experiments.TABLE:
        module = experiments.module(name, "experiment")
        assert module.QUESTION.endswith("?")
        assert all(isinstance(tool, str) for tool in module.TOOLS)
        assert callable(module.settings)
        assert callable(module.experiment)
        assert callable(experiments.module(name, "plots").draw)


def test_run_without_a_name_lists_the_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-o", "json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == list(experiments.TABLE)


def test_an_unknown_experiment_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "overlay-vs-route"]) == 2
    assert "did you mean overlay-vs-routed?" in capsys.readouterr().err
    with pytest.raises(SpecError):
        experiments.module("fidelty", "plots")


def test_the_command_line_does_not_load_experiments_before_it_runs_one() -> None:
    code = (
        "import sys, emulator.cli, emulator.verbs.measuring;"
        "print([m for m in sys.modules if m.partition('.')[0] == 'experiments'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_settings_are_wholly_those_of_the_experiment_without_wishes() -> None:
    assert replace(QUICK, options={}) == Settings(blocks=1)
