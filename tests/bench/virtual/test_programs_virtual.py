"""Our C programs as the lock's compiler makes them, and as guests run them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.bench.virtual import programs
from emulator.harness.cell import Cell
from emulator.verbs.virtual import Virtual
from experiments.two_nodes.modes import MODES, Way

pytestmark = pytest.mark.virtual

TOP = Path(__file__).parents[3]
ENCAPSULATION = "encapsulation"


@pytest.fixture(scope="module")
def bench() -> Virtual:
    return Virtual.ready(lambda text: print(text, file=sys.stderr))


def test_two_makings_are_the_same_bytes(bench: Virtual, tmp_path: Path) -> None:
    root = bench.image.host.with_name("compiler")
    made = []
    for name in ("here", "in-another-place"):
        there = tmp_path / name / "opt"
        there.mkdir(parents=True)
        (there / "podwire").symlink_to(TOP)
        made.append(dict(programs.compiled(root, there.parent)))
    assert made[0] == made[1]
    assert all(entry.content.startswith(b"\x7fELF") for entry in made[0].values())
    assert str(tmp_path).encode() not in b"".join(entry.content for entry in made[0].values())
    layer = bench.image.sources.read_bytes()
    assert all(entry.content in layer for entry in made[0].values())


@pytest.mark.parametrize("arm", ["udp", "sleeve-encrypted"])
def test_a_guest_carries_packets_through_them(arm: str, bench: Virtual) -> None:
    settings = bench.settings(ENCAPSULATION, quick=True)
    short = {"quick": False, "throughput_s": 0.2, "omit_s": 0.05, "transactions_s": 0.05}
    argument = {
        "experiment": ENCAPSULATION, "condition": f"{arm}_one-rack_wire_1500", "seed": 1,
        "settings": replace(settings, options={**settings.options, **short}).as_json(),
    }  # fmt: skip
    (told,) = bench.carried_out("emulator.verbs.errands:cell", [argument], [arm])
    found = {one.metric: one for one in Cell.of_json(told).samples}
    there = MODES[arm].rack
    assert isinstance(there, Way)
    assert found["path_mtu_b"].value == there.path_mtu
    assert found["throughput_bit_s"].value
