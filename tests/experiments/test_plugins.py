"""The modes of plugins: what is computed of them, declared, and drawn."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from figure_texts import readable

from emulator.compile import compile_spec
from emulator.errors import Problem
from emulator.harness.experiment import Condition
from emulator.harness.settings import Settings
from emulator.harness.store import Row, StoredRun
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.frames import Frame
from emulator.measure.sample import Measured, Sample, failed, good
from emulator.needs import USUAL, needs
from emulator.report import style
from emulator.report.panels import panels
from emulator.report.summary import summarise
from experiments import overhead
from experiments.plugins import experiment, plots, tables, wire
from experiments.plugins.modes import MODES
from experiments.traffic import METRICS, Traffic
from experiments.two_nodes import comparison, lab, modes
from experiments.two_nodes.datagrams import mark
from experiments.two_nodes.modes import BASELINE, PAYLOAD_B, PLACES, TWIN, Way, pairs, unsupported

HOW = Traffic("reno", CpuMap((0,), (1,)), round_trips_s=1, cost_s=1.0, trial_s=0.5)
SETTINGS = {
    quick: Settings(blocks=2, options={"quick": quick, "slow_cost_bit_s": 1, **HOW.as_options()})
    for quick in (True, False)
}


@pytest.mark.parametrize(
    ("around", "added_b", "mtu_1500", "mtu_9000"),
    [
        (overhead.PLAIN, 0, 1500, 9000),
        (overhead.UDP, 28, 1472, 8972),
        (overhead.VXLAN, 50, 1450, 8950),
        (overhead.SLEEVE, 62, 1438, 8938),
    ],
)
def test_overheads_are_what_the_headers_add_up_to(
    around: overhead.Encapsulation, added_b: int, mtu_1500: int, mtu_9000: int
) -> None:
    assert around.added_b == added_b
    assert (around.fits(1500), around.fits(9000)) == (mtu_1500, mtu_9000)
    assert around.datagram_header_b(500) == 42 + added_b


def test_the_table_of_modes_holds_what_it_should() -> None:
    assert [mode.network for arm, mode in MODES.items() if arm in (BASELINE, TWIN)] == [
        {"plugin": "host"}
    ] * 2
    assert {arm for arm, _, _ in unsupported(MODES)} == {"host-gw", "macvlan"}
    assert all(place == "two racks" and len(why) > 20 for _, place, why in unsupported(MODES))
    assert len({mode.title for mode in MODES.values()}) == len(MODES)
    assert all(arm in style.LOOKS for arm in MODES)
    markers = [(style.look(arm).colour, style.look(arm).marker) for arm in MODES]
    assert len(set(markers)) == len(markers)


def test_each_way_is_that_of_the_compiled_cluster() -> None:
    """The plan has the tunnel that the table of overheads counts on, and its MTU."""
    for condition in experiment.matrix(False).conditions:
        way = MODES[condition.arm].at(str(condition.factors["place"]))
        assert isinstance(way, Way)
        plan = compile_spec(lab.spec(condition, HOW.congestion)).text()
        if way.around is overhead.VXLAN:
            assert "vxlan" in plan, condition.name
        if way.around is overhead.PLAIN and way.fixed_mtu == 0:
            assert " vxlan " not in plan, condition.name
        if way.around in (overhead.UDP, overhead.SLEEVE, overhead.SEALED_SLEEVE):
            assert MODES[condition.arm].in_user_space
        if condition.arm != "macvlan" and not condition.arm.startswith("sleeve"):
            assert f"mtu {way.path_mtu}" in plan, condition.name


def test_the_quick_matrix_is_a_part_of_the_full_one() -> None:
    names = {quick: {c.name for c in experiment.matrix(quick).conditions} for quick in SETTINGS}
    assert names[True] < names[False]
    assert len(names[False]) == 2 * len(MODES) - len(unsupported(MODES))
    for quick, settings in SETTINGS.items():
        declared = experiment.experiment(settings)
        assert {c.name for c in declared.matrix.conditions} == names[quick]
        assert all(declared.describe(c).plan for c in declared.matrix.conditions)
    assert [one.twin for one in pairs(MODES)].count(True) == 1


def at(arm: str, place: str = PLACES[0]) -> Condition:
    return Condition(arm, {"place": place, "offload": "wire", "mtu": 1500})


def gate(condition: Condition, samples: Sequence[Sample]) -> list[Problem]:
    return comparison.gate(condition, samples, experiment.computed(modes.way(condition)))


def test_the_wire_of_a_mode_passes_the_gate_and_another_ones_does_not() -> None:
    right = [good("header_b", 92), good("path_mtu_b", 1450)]
    assert gate(at("vxlan"), right) == []
    assert gate(at("vxlan"), [failed("header_b", "no frame")]) == []
    found = gate(at("host-gw"), right)
    assert [problem.found for problem in found] == ["92 B", "1450 B"]
    assert [problem.expected[:6] for problem in found] == ["42 B, ", "1500 B"]
    weave = gate(at("fastdp"), [good("header_b", 92), good("path_mtu_b", 1450)])
    assert [problem.found for problem in weave] == ["1450 B"]


def test_the_datagram_is_found_by_its_mark() -> None:
    from struct import pack

    def pcap(*data: bytes) -> bytes:
        head = pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
        found = [Frame(len(one), one) for one in data]
        return head + b"".join(
            pack("<4I", 0, 0, one.length_b, one.length_b) + one.data for one in found
        )

    datagram = mark(PAYLOAD_B).ljust(PAYLOAD_B, b".")
    assert wire.sample(pcap(bytes(700), bytes(92) + datagram)).value == 92
    with pytest.raises(MeasureFailed, match="no frame"):
        wire.sample(pcap(bytes(700)))


def stored(blocks: int = 6) -> StoredRun:
    """Every mode in every place, with values that differ by mode and block."""
    conditions = experiment.matrix(False).conditions
    names = ["throughput_bit_s", "packet_rate_pps", "tcp_rtt_p50_us", "tcp_rtt_p99_us",
             "crr_p50_us", "cpu_s_per_gb"]  # fmt: skip
    rows = []
    for block in range(1, blocks + 1):
        for number, one in enumerate(conditions):
            way = MODES[one.arm].at(str(one.factors["place"]))
            assert isinstance(way, Way)
            values = {name: 1e9 * 0.9**number * (1 + block / 100) for name in names}
            values |= {"header_b": way.header_b, "path_mtu_b": way.path_mtu}
            rows += [
                Row(block, 1, "measure", block, one.name, one.arm, one.factors, name, value, "s",
                    "", "", "2026-01-01T00:00:00Z", {})
                for name, value in values.items()
            ]  # fmt: skip
    manifest: dict[str, Any] = {
        "experiment": experiment.NAME, "run": "r", "status": "complete", "why": "", "notes": [],
        "headline": [],
        "metrics": [metric._asdict() for metric in METRICS if metric.name in names],
        "pairs": [pair._asdict() for pair in pairs(MODES)],
        "conditions": [{"name": c.name, "arm": c.arm, "factors": c.factors} for c in conditions],
        "blocks": [{"block": block, "attempt": 1, "phase": "measure", "complete": True}
                   for block in range(1, blocks + 1)],
        "settings": SETTINGS[False].as_json(),
        "fingerprint": {"kernel": "6.1.0", "cpu_count": 2, "cpu_model": "CPU",
                        "virtualisation": "none"},
        "fingerprint_hash": "0",
    }  # fmt: skip
    return StoredRun(Path("r"), manifest, tuple(rows), ())


def test_the_figure_has_every_mode_and_the_caption_what_is_left_out(tmp_path: Path) -> None:
    run = stored()
    files = plots.draw(run, summarise(run), tmp_path)
    assert {path.name for path in files} >= {"plugins.png", "plugins.pdf", "modes.tex", "modes.md"}
    with (tmp_path / "plugins.csv").open() as file:
        drawn = {(row["arm"], row["series"]) for row in csv.DictReader(file)}
    left_out = {(arm, place) for arm, place, _ in unsupported(MODES)}
    assert drawn == {
        (arm, place) for arm in MODES if arm != BASELINE for place in PLACES
    } - left_out  # fmt: skip
    caption = (tmp_path / "plugins.txt").read_text()
    assert "flannel host-gw in two racks: the next hop" in caption
    assert "Offload: wire. MTU: 1500." in caption


def test_the_figure_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown = []

    def kept(*arguments: Any) -> Any:
        shown.append(panels(*arguments))
        return shown[-1]

    monkeypatch.setattr(plots, "panels", kept)
    run = stored()
    plots.draw(run, summarise(run), tmp_path)
    with style.thesis():
        readable(shown[0].figure)
    said = [text.get_text() for text in shown[0].figure.axes[0].texts]
    assert said == ["unsupported"] * len(unsupported(MODES))


def test_the_table_has_a_line_for_each_mode_and_place_and_says_why_not() -> None:
    table = tables.modes(summarise(stored()))
    lines = {(row[0], row[1]): row for row in table.rows}
    assert len(lines) == 2 * len(MODES)
    assert lines["flannel vxlan", "one rack"][-2:] == ("92 (92)", "1450 (1450)")
    assert lines["flannel host-gw", "two racks"][2].startswith("unsupported: the next hop")
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_cpu_time_is_not_compared_across_rates(tmp_path: Path) -> None:
    run = stored()
    summary = summarise(run)
    compared = {
        metric: {row["treatment"] for row in summary["comparisons"] if row["metric"] == metric}
        for metric in ("throughput_bit_s", "cpu_s_per_gb")
    }
    slow = {arm for arm, mode in MODES.items() if mode.in_user_space}
    assert compared["throughput_bit_s"] - compared["cpu_s_per_gb"] == slow
    plots.draw(run, summary, tmp_path)
    caption = (tmp_path / "plugins.txt").read_text()
    assert "not compared: flannel udp, Weave sleeve, Weave sleeve, encrypted." in caption
    loads = comparison.Loads.of(SETTINGS[False].options)
    assert loads.through(at("udp")) == HOW._replace(cost_bit_s=1)
    assert loads.through(at("vxlan")) == HOW


def test_pilots_are_of_modes_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    carried = {"vxlan": 3e9, "canal": 2e9, "wireguard": 1e9, "udp": 1e8}
    up = []

    def pilot(name: str, resolved: object, condition: Condition, seed: int) -> Any:
        up.append(condition.arm)
        return nullcontext(SimpleNamespace(server=condition.arm, client=""))

    def tcp(server: str, *_: object, **__: object) -> Measured:
        return Measured((good("throughput_bit_s", carried[server]),), {})

    monkeypatch.setattr(lab, "up", pilot)
    monkeypatch.setattr(lab.iperf, "tcp", tcp)
    monkeypatch.setattr(lab.labs, "lacking", lambda specs: lambda condition: "")
    assert lab.fixed_rates("p", HOW, ["vxlan", "canal", "udp"]) == {False: 10**9, True: 5 * 10**7}
    monkeypatch.setattr(lab.labs, "lacking", lambda specs: lambda one: one.arm in lack)
    lack = {"udp", "sleeve", "sleeve-encrypted", "ipsec"}
    up.clear()
    assert lab.fixed_rates("p", HOW, modes.MODES) == {False: 5 * 10**8, True: 0}
    assert sorted(set(up)) == ["canal", "vxlan", "wireguard"]


def test_the_full_settings_need_no_pilot_where_there_is_no_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PODWIRE_BENCH", '{"bench": "vm", "accelerator": "tcg"}')
    options = experiment.settings(False).options
    assert (options["cost_bit_s"], options["slow_cost_bit_s"]) == (0, 0)
    assert Traffic.of(options).cost_s


def test_the_seldom_modes_are_those_that_need_what_not_every_kernel_has() -> None:
    """And what each way is: the plan has the tunnel and the MTU that the table counts on."""
    for arm, mode in modes.MODES.items():
        for place in PLACES:
            there = mode.at(place)
            if isinstance(there, str):
                continue
            spec = lab.spec(Condition(arm, {"place": place}), "reno")
            plan = compile_spec(spec)
            assert bool(needs(entry.resource for entry in plan) - USUAL) == mode.seldom, arm
            if arm != "macvlan" and not arm.startswith("sleeve"):
                assert f"mtu {there.path_mtu}" in plan.text(), (arm, place)
