"""What encapsulation computes, reads from captures and traces, and draws."""

from __future__ import annotations

import csv
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from figure_texts import readable

from emulator.harness.experiment import Condition
from emulator.harness.settings import Settings
from emulator.harness.store import Row, StoredRun
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.frames import Frame
from emulator.measure.sample import METRICS, WIRE_SIZES_B, failed, good
from emulator.report import style
from emulator.report.summary import summarise
from experiments import overhead
from experiments.encapsulation import experiment, plots, round_trips, tables, wire
from experiments.encapsulation.expected import expected
from experiments.traffic import Traffic
from experiments.two_nodes import comparison
from experiments.two_nodes.datagrams import mark
from experiments.two_nodes.modes import MODES, PLACES, Way, pairs, unsupported, way

HOW = Traffic("reno", CpuMap((0,), (1,)))
FULL = Settings(blocks=1, options={"quick": False, "slow_cost_bit_s": 0, **HOW.as_options()})
QUICK = Settings(blocks=1, options={"quick": True, **HOW.as_options()})
TRACE = """\
trace id aa inet podwire-trace arriving packet: iif "cni0" ip saddr 10.244.1.2 icmp
trace id aa inet podwire-trace arriving rule meta nftrace set 1 (verdict continue)
trace id ab ip filter FORWARD packet: iif "cni0" oif "flannel.1" ip saddr 10.244.1.2
trace id ab ip filter FORWARD rule jump FLANNEL-FWD (verdict jump FLANNEL-FWD)
trace id ab ip filter FLANNEL-FWD rule ip saddr 10.244.0.0/16 accept (verdict accept)
trace id ac ip nat POSTROUTING packet: oif "lo" ip saddr 127.0.0.1
trace id ac ip nat POSTROUTING rule jump FLANNEL-POSTRTG (verdict jump FLANNEL-POSTRTG)
trace id ad inet podwire-trace arriving packet: iif "lo" ip saddr 127.0.0.1 icmp type echo-reply
"""
PROC_NET_DEV = """\
Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo:    84       9    0    0    0     0          0         0       84       9    0    0
  eth0:   528       7    0    0    0     0          0         0      296       3    0    0
"""


def test_every_count_is_in_the_vocabulary_and_none_is_of_speed() -> None:
    assert all(METRICS[one.name].counted for one in experiment.COUNTS)
    assert {one.name for one in experiment.COUNTS} >= {"path_mtu_b", "rules", "wire_64_b"}
    assert set(expected(Way())) <= {one.name for one in experiment.COUNTS}


def test_the_quick_matrix_is_a_part_of_the_full_one_which_has_every_mode() -> None:
    quick, full = (experiment.experiment(one).matrix for one in (QUICK, FULL))
    assert {one.name for one in quick.conditions} < {one.name for one in full.conditions}
    assert len(full.conditions) == 2 * len(MODES) - len(unsupported(MODES))
    assert {one.arm for one in full.conditions} == set(MODES)


def test_what_is_computed_is_the_sum_of_headers() -> None:
    plain, vxlan = expected(Way()), expected(Way(overhead.VXLAN))
    assert (plain["wire_64_b"], plain["wire_largest_b"], plain["path_mtu_b"]) == (78, 1514, 1500)
    assert (vxlan["wire_64_b"], vxlan["wire_largest_b"], vxlan["path_mtu_b"]) == (128, 1514, 1450)
    sealed = expected(Way(overhead.WIREGUARD, fixed_mtu=1420))
    assert (sealed["wire_64_b"], sealed["wire_65_b"]) == (138, 154)
    assert sealed["wire_largest_b"] == 14 + 1420 + 60


def test_the_gate_names_what_contradicts_the_headers() -> None:
    at = Condition("vxlan", {"place": PLACES[0], "offload": "wire", "mtu": 1500})
    right = [good("wire_64_b", 128), good("rules", 8), failed("path_mtu_b", "no reply")]
    assert comparison.gate(at, right, expected(way(at))) == []
    (problem,) = comparison.gate(at, [good("wire_65_b", 128)], expected(way(at)))
    assert (problem.found, problem.expected) == ("128 B", "129 B, by the sizes of headers")


def pcap(*data: bytes) -> bytes:
    head = pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    frames = [Frame(len(one), one) for one in data]
    return head + b"".join(
        pack("<4I", 0, 0, one.length_b, one.length_b) + one.data for one in frames
    )


def test_frames_that_can_be_read_are_found_by_their_marks() -> None:
    def frame(size: int, around: int) -> Frame:
        data = bytes(around) + (mark(size - 28)).ljust(size - 28, b".")
        return Frame(len(data), data)

    captured = [frame(80, 92), Frame(60, bytes(60)), frame(64, 92), frame(64, 92)]
    assert wire._marked(captured, (64, 80)) == [128, 144]
    with pytest.raises(MeasureFailed, match="around an IP packet of 66 B"):
        wire._marked(captured, (64, 66))
    with pytest.raises(MeasureFailed, match=r"frames of \[100, 128\] B"):
        wire._marked([*captured, frame(64, 64)], (64, 80))


def test_frames_that_cannot_be_read_are_found_by_their_order() -> None:
    def lengths(*values: int) -> list[Frame]:
        return [Frame(value, b"") for value in values]

    whole = (138, 154, 154, 1494)
    assert wire._sealed(lengths(154, 1494, *whole, *whole, 138), 4) == list(whole)
    with pytest.raises(MeasureFailed, match="no rounds of 4 sizes"):
        wire._sealed(lengths(1494, *whole, 138, 138, 154, 1494), 4)
    with pytest.raises(MeasureFailed, match="no rounds"):
        wire._sealed([], 4)


def test_a_trace_is_counted_by_chain_without_ours_and_loopback() -> None:
    assert dict(round_trips.matches(TRACE)) == {"ip filter FORWARD": 1, "ip filter FLANNEL-FWD": 1}


def test_packets_of_devices_are_received_and_sent() -> None:
    assert round_trips.devices(PROC_NET_DEV) == {"eth0": (7, 3)}


def test_a_share_is_a_whole_number_with_room_for_what_else_is_on_its_way() -> None:
    assert round_trips._each(404, 40) == 10
    assert round_trips._each(0, 40) == 0
    with pytest.raises(MeasureFailed, match="no whole number"):
        round_trips._each(420, 40)


def stored(missing: str = "") -> StoredRun:
    """Every mode in every place as computed; ``missing``: an arm that the kernel lacks."""
    conditions = experiment.matrix(False).conditions
    sizes = (*WIRE_SIZES_B, 0)
    rows = []
    for number, one in enumerate(conditions):
        there = way(one)
        values: dict[str, int] = expected(there) | {
            "device_packets": 2 + number % 12, "rules_new_flow": number % 20, "rules": number % 9
        }  # fmt: skip
        for metric, value in values.items():
            at = wire.METRICS.index(metric) if metric in wire.METRICS else 0
            lacking = one.arm == missing
            rows.append(
                Row(1, 1, "measure", number, one.name, one.arm, one.factors, metric,
                    None if lacking else value, "B", "no such kernel" if lacking else "", "", "t",
                    {"inner_b": sizes[at] or there.path_mtu},
                    "unsupported" if lacking else "measured")
            )  # fmt: skip
    manifest: dict[str, Any] = {
        "experiment": experiment.NAME, "run": "r", "status": "complete", "why": "", "notes": [],
        "headline": [], "metrics": [],
        "counts": [metric._asdict() for metric in experiment.COUNTS],
        "pairs": [pair._asdict() for pair in pairs(MODES)],
        "conditions": [{"name": c.name, "arm": c.arm, "factors": c.factors} for c in conditions],
        "blocks": [{"block": 1, "attempt": 1, "phase": "measure", "complete": True}],
        "settings": FULL.as_json(),
        "fingerprint": {"kernel": "6.1.0", "cpu_count": 2, "cpu_model": "CPU",
                        "virtualisation": "none"},
        "fingerprint_hash": "0",
    }  # fmt: skip
    return StoredRun(Path("r"), manifest, tuple(rows), ())


def test_the_figures_have_every_encapsulation_and_every_mode(tmp_path: Path) -> None:
    run = stored()
    files = plots.draw(run, summarise(run), tmp_path)
    assert {path.name for path in files} >= {"overhead.png", "packets.png", "wire.md"}
    with (tmp_path / "overhead.csv").open() as file:
        drawn = list(csv.DictReader(file))
    ways = [mode.at(place) for mode in MODES.values() for place in PLACES]
    assert {row["around"] for row in drawn} == {
        one.around.name for one in ways if isinstance(one, Way)
    }
    assert all(row["added_b"] == row["computed_b"] for row in drawn)
    with (tmp_path / "packets.csv").open() as file:
        assert {row["arm"] for row in csv.DictReader(file)} == set(MODES)


def test_the_figures_can_be_read() -> None:
    run = stored("vxlan")
    cells = tables.by_place(summarise(run))
    with style.thesis():
        for drawn in (plots.overhead(plots.frames(run)), plots.packets(cells)):
            readable(drawn.figure)


def test_the_table_has_a_line_for_each_mode_and_place_and_says_why_not() -> None:
    table = tables.wire(summarise(stored("vxlan")))
    lines = {(row[0], row[1]): row for row in table.rows}
    assert len(lines) == 2 * len(MODES)
    assert all(len(row) == len(table.headings) for row in table.rows)
    assert lines["flannel vxlan", "one rack"][2] == "unsupported: no such kernel"
    assert lines["flannel host-gw", "two racks"][2].startswith("unsupported: the next hop")
    assert lines["Calico vxlan", "one rack"][2:9] == (
        "VXLAN", "128", "129", "640", "1364", "1514", "1450"
    )  # fmt: skip


def test_a_cell_that_contradicts_shows_what_was_computed() -> None:
    assert tables._seen({"median": 130.0}, 128) == "130 (128)"
    assert tables._seen({"median": None}, 128) == "failed"
    assert tables._seen({"median": 8.0}, None) == "8"
