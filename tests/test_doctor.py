"""What doctor looks for is what specs need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator import doctor, ipam
from emulator.bench.virtual import fetch, image
from emulator.cluster import Cluster
from emulator.compile import compile_spec
from emulator.errors import Unsupported
from emulator.settle import daemons
from emulator.substrate import compiler
from emulator.substrate.daemons import DAEMONS
from emulator.substrate.process import PACKAGES

TOPOLOGIES = sorted(Path("topologies").glob("*.yaml"))


@pytest.mark.parametrize("path", [p for p in TOPOLOGIES if "cluster-" not in p.name], ids=str)
def test_doctor_knows_every_daemon_that_a_topology_runs(path: Path) -> None:
    spec = Cluster.from_file(path).spec
    programs = daemons(compile_spec(spec, ipam.allocate(spec))) - DAEMONS.keys()
    looked_for = {f.what for f in doctor.examine(None)}
    for name in programs:
        tool = "gcc" if name in compiler.PROGRAMS else name
        assert f"tool: {tool}" in looked_for
        assert tool in PACKAGES or tool == "gcc"


def test_what_a_daemon_of_ours_wants_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """charon is started by one; a machine without it is told before anything is built."""
    there = doctor.installed
    strongswan = ("charon", "swanctl")
    monkeypatch.setattr(doctor, "installed", lambda tool: tool not in strongswan and there(tool))
    spec = Cluster.from_file("topologies/flannel-ipsec.yaml").spec
    with pytest.raises(Unsupported, match="sudo apt-get install strongswan-charon"):
        doctor.require(spec, daemons(compile_spec(spec, ipam.allocate(spec))))


def test_the_bench_that_counts_instructions_needs_apt_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "folder", lambda: tmp_path)
    monkeypatch.setattr(fetch, "HELPER", "/no/apt-helper")
    found = doctor._virtual()
    assert (found.good, found.needed, found.found) == (False, False, "no /no/apt-helper")
    assert "by apt" in found.remedy
    monkeypatch.setattr(fetch, "HELPER", "/bin/sh")
    assert re.fullmatch(r"its first use fetches 1\d\d MB", doctor._virtual().found)
    (tmp_path / "an-image").mkdir()
    assert doctor._virtual().found == "its image is in your cache"
    monkeypatch.setattr(fetch, "HELPER", "/no/apt-helper")
    assert doctor._virtual().good, "nothing is left to be fetched"
