"""The three ways to bring a cluster up, on the running kernel."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from emulator.compile import compile_spec
from emulator.errors import KernelRefused, PodwireError, Unsupported
from emulator.spec import load_text
from experiments.bring_up import arms, build, proof, record, sealed, stock, trace
from experiments.bring_up.arms import Traces
from experiments.bring_up.replaying import replayed
from experiments.bring_up.sizes import Size
from experiments.bring_up.world_cost import cost, inhabitants, pid_namespace

pytestmark = pytest.mark.kernel

SMALL = Size(2, 2)


@pytest.fixture(scope="module")
def small_trace() -> bytes:
    """The trace of two nodes with two pods each."""
    return Traces().get(SMALL)


def test_a_replay_builds_the_very_state_of_the_plan(small_trace: bytes) -> None:
    assert proof.difference(compile_spec(load_text(SMALL.yaml())), small_trace) == []


def test_the_proof_sees_an_operation_that_is_missing(small_trace: bytes) -> None:
    """Without the last transaction of nftables the state differs, and the proof says where."""
    records = list(trace.read(small_trace))
    last = max(at for at, one in enumerate(records) if one.kind == trace.NFT)
    shortened = trace.Recorder(lambda: b"")
    shortened._numbers = {name: at for at, name in enumerate(trace.namespaces(small_trace))}
    shortened.records = records[:last] + records[last + 1 :]
    found = proof.difference(compile_spec(load_text(SMALL.yaml())), shortened.trace())
    assert found and all(line.startswith("missing: n2 nft") for line in found)


def test_a_replay_performs_every_operation_of_the_trace(small_trace: bytes) -> None:
    with replayed(small_trace) as (_, report):
        counts = trace.counts(small_trace)
        assert report["operations"] == sum(counts.values()) - counts["messages"]
        assert len(report["fds"]) == counts["netns"]
        assert report["seconds"] > 0


def test_what_the_kernel_refuses_ends_the_replay_with_its_words(small_trace: bytes) -> None:
    heard = trace.Recorder(lambda: b"")
    heard.netns("n1")
    heard.sysctl("n1", "net/ipv4/unheard_of", "1")
    with (
        pytest.raises(KernelRefused, match="unheard_of: No such file"),
        replayed(heard.trace()),
    ):
        pass


def test_what_is_no_trace_is_refused() -> None:
    with pytest.raises(PodwireError, match="head of the trace"), replayed(b"#!/bin/sh\n"):
        pass


def test_without_the_preloaded_library_nothing_is_recorded() -> None:
    assert not hasattr(ctypes.CDLL(None), "podwire_transaction")
    with pytest.raises(PodwireError, match="LD_PRELOAD"):
        record.caught()


def test_without_a_compiler_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="apt-get install gcc libc6-dev"):
        build.replay()


def test_a_program_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = build.replay()
    made = first.stat().st_mtime_ns
    assert build.replay() == first and first.stat().st_mtime_ns == made
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_stock_mininet_comes_up_and_leaves_the_sysctls_of_the_host_alone() -> None:
    before = stock.sysctls()
    with stock.mininet(3) as (world, report):
        held = cost(world)
        assert report["links"] == 3
        assert held.processes > 3, "a shell for each host"
        assert stock.differences(before, stock.sysctls()) == []
        assert sealed.down(world, 60)["seconds"] > 0
        assert cost(world).processes < held.processes
    assert stock.differences(before, stock.sysctls()) == []


def test_podwire_keeps_one_process_and_leaves_none() -> None:
    with arms.podwire(SMALL) as standing:
        namespace = pid_namespace(standing.world)
        assert len(inhabitants(namespace)) == 1
        assert cost(standing.world).user_kib > 0
        assert standing.down() > 0
        assert inhabitants(namespace) == []


def test_the_whole_command_is_an_arm_of_its_own() -> None:
    with arms.command(SMALL) as standing:
        assert standing.up_s > standing.detail["apply_s"]
        assert cost(standing.world).processes == 1
        namespace = pid_namespace(standing.world)
        assert standing.down() > 0
        assert inhabitants(namespace) == []
