"""Daemons of a lab: waited for, told of changes, broken, healed, and cleaned up after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_daemon
from small_specs import small_spec
from toy_daemon import toy_spec
from waiting import until

from emulator import Cluster, settle
from emulator.errors import PodwireError, SpecError, Unsupported
from emulator.substrate import keeper, runtime
from emulator.verify import Report

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_RUN", str(tmp_path))
    toy_daemon.install(monkeypatch)


@pytest.fixture
def c() -> Iterator[Cluster]:
    with Cluster(toy_spec(), "toy") as cluster:
        yield cluster


def pids(cluster: Cluster) -> dict[str, int]:
    """As the lab numbers them: they mean nothing outside."""
    return {state.ns: state.pid for state in cluster.facts().processes}


def good(report: Report) -> bool:
    found = [*report.deviations, *report.differences, *report.processes]
    assert report.good, "\n".join(found)
    return True


def test_up_waits_for_what_daemons_write(monkeypatch: pytest.MonkeyPatch) -> None:
    toy_daemon.install(monkeypatch, "sleep 0.5")
    with Cluster(toy_spec(), "slow") as slow:
        assert good(slow.verify(wait_s=0.0))
        assert slow.timings["daemons_s"] > 0.4


def test_a_changed_file_is_told_and_no_daemon_starts_again(c: Cluster) -> None:
    before = pids(c)
    done = c.apply(toy_spec(3))
    assert not any(" route 10.244." in line and " via 192." in line for line in done)
    assert good(c.verify())
    assert before.items() < pids(c).items()


def test_a_dead_daemon_stays_dead_and_leaves_what_it_has_written(c: Cluster) -> None:
    was = pids(c)["n1"]
    assert any("daemon toyd" in line for line in c.fail("daemon", "n1:toyd"))
    assert c.node("n1").run(["sh", "-c", f"kill -0 {was}"]).returncode
    assert "n1" not in pids(c)
    assert good(c.verify(wait_s=0.0))
    c.heal("daemon", "n1:toyd")
    assert pids(c)["n1"] != was
    assert good(c.verify())


def test_a_daemon_that_dies_by_itself_is_reported_and_started_again(c: Cluster) -> None:
    was = pids(c)["n1"]
    c.node("n1").run(["sh", "-c", f"kill -9 {was}"])
    until(lambda: pids(c).get("n1") not in (0, was), "a new toyd")
    report = c.verify(probes=False)
    assert report.notes == ("n1:toyd: running, after 1 restart (last killed by signal 9)",)
    assert report.good, "what runs again is told, and is no fault of the lab"


def test_verify_waits_for_a_daemon_that_is_to_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "_FIRST_PAUSE_S", 1.0)  # the lab is a fork of this process
    with Cluster(toy_spec(), "twice") as c:
        for restarts in (0, 1):
            was = until(lambda: pids(c)["n1"], f"toyd after {restarts} restarts")
            c.node("n1").run(["sh", "-c", f"kill -9 {was}"])
            until(lambda was=was: pids(c)["n1"] != was, "its end")
        report = c.verify(probes=False)
    assert report.notes == ("n1:toyd: running, after 2 restarts (last killed by signal 9)",)


def test_what_a_daemon_has_left_goes_with_it(c: Cluster) -> None:
    done = c.apply(small_spec("none", nodes=("rack-a",) * 2, pods_per_node=1, hosts=()))
    assert any("- n1 route 10.244.2.0/24" in line and "proto 42" in line for line in done)
    assert good(c.verify())
    assert not c.facts().processes


def test_somebody_elses_route_is_a_deviation_and_stays(c: Cluster) -> None:
    c.node("n1").run(["ip", "route", "add", "10.99.0.0/24", "via", "192.168.1.12", "proto", "42"])
    report = c.verify(probes=False, wait_s=0.0)
    assert [text.partition(" via")[0] for text in report.deviations] == [
        "extra: n1 route 10.99.0.0/24"
    ]


def test_a_daemon_that_ends_at_once_ends_up_with_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    toy_daemon.install(monkeypatch, "echo no such neighbour >&2; exit 3")
    cluster = Cluster(toy_spec(), "broken")
    with pytest.raises(PodwireError, match="ended with code 3: no such neighbour"):
        cluster.up()
    assert not any(world.name == "broken" for world in runtime.worlds())


def test_what_is_still_missing_at_the_deadline_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    toy_daemon.install(monkeypatch, f"echo >{toy_daemon.CONFIG}")
    monkeypatch.setattr(settle.await_daemons, "__defaults__", (0.3,))
    with pytest.raises(PodwireError, match=r"missing: n1 route 10\.244\.2\.0/24.*not so after 0.3"):
        Cluster(toy_spec(), "idle").up()


def test_a_daemon_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("emulator.doctor.installed", lambda tool: "")
    with pytest.raises(Unsupported, match="sh: found not installed"):
        Cluster(toy_spec(), "lacking").up()


def test_faults_name_daemons(c: Cluster) -> None:
    with pytest.raises(SpecError, match=r"'n1:toy', (.|\n)*did you mean 'n1:toyd'"):
        c.fail("daemon", "n1:toy")
