"""What doctor looks for is what specs need."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator import doctor, ipam
from emulator.cluster import Cluster
from emulator.compile import compile_spec
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
