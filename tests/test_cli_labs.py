"""Verbs on labs and specs: what they print, their forms for programs, their exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from callers import KINDS, ROOT, SPEC, Caller

pytestmark = pytest.mark.kernel

ROUTED = str(ROOT / "topologies/flannel-host-gw.yaml")
VERBS = (
    *("check", "plan", "up", "ls", "get", "exec", "shell", "cp", "capture", "cli", "apply"),
    *("fail", "heal", "verify", "down", "doctor", "run", "plot", "completion"),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A caller whose lab is up, for tests that leave it as it is."""
    caller = Caller(KINDS[0], tmp_path_factory.mktemp("caller") / "caller")
    caller.podwire("up", SPEC)
    yield caller
    caller.close()


def said(caller: Caller, *words: str) -> Any:
    """The JSON that a verb prints."""
    return json.loads(caller.podwire(*words, "-o", "json").stdout)


def test_lists(lab: Caller) -> None:
    (row,) = said(lab, "ls")
    assert (row["lab"], row["status"], row["nodes"], row["pods"]) == ("flannel-vxlan", "up", 2, 4)
    pods = said(lab, "get", "pods")
    assert [(p["pod"], p["ip"], p["node"]) for p in pods][::3] == [
        ("n1-p1", "10.244.1.2", "n1"), ("n2-p2", "10.244.2.3", "n2")
    ]  # fmt: skip
    assert [n["ip"] for n in said(lab, "get", "nodes")] == ["192.168.50.11", "192.168.50.12"]
    assert [h["host"] for h in said(lab, "get", "hosts")] == ["client"]
    assert len(said(lab, "get", "links")) == 9
    assert said(lab, "get", "processes") == [] and said(lab, "get", "faults") == []
    assert "no faults" in lab.podwire("get", "faults").stdout
    assert "kind: Cluster" in lab.podwire("get", "spec").stdout
    planned, state = (lab.podwire("get", what).stdout for what in ("plan", "state"))
    assert "n1 vxlan flannel.1 id 1" in state and "n1 vxlan flannel.1 id 1" in planned
    wide = lab.podwire("get", "pods", "-o", "wide").stdout.splitlines()
    assert "NAMESPACE" in wide[0] and "NAMESPACE" not in lab.podwire("get", "pods").stdout


def test_verify_for_eye_and_program(lab: Caller) -> None:
    text = lab.podwire("verify").stdout
    assert text.splitlines()[-1] == "good" and "M3 " in text
    report = said(lab, "verify")
    assert report["good"] and report["probes"] == 32 and report["deviations"] == []
    assert said(lab, "verify", "--no-probes")["probes"] == 0
    assert "n2-p2" in lab.podwire("verify", "--matrix").stdout


def test_fail_heal_apply(lab: Caller) -> None:
    assert "~ rack interface" in lab.podwire("fail", "link", "n2").stdout
    assert [row["target"] for row in said(lab, "get", "faults")] == ["n2"]
    assert "link n2" in lab.podwire("ls").stdout
    assert "M3   does not hold" in lab.podwire("verify").stdout
    assert "did you mean" in lab.podwire("fail", "interface", "n1:flannel.2", code=2).stderr
    assert "no such fault" in lab.podwire("heal", "link", "n1", code=2).stderr
    steps = said(lab, "apply", ROUTED, "--dry-run")
    assert "link n2" in lab.podwire("ls").stdout and "flannel vxlan" in lab.podwire("ls").stdout
    assert set(steps) <= set(said(lab, "apply", ROUTED))
    assert "flannel host-gw" in lab.podwire("ls").stdout
    lab.podwire("heal")
    assert "0 operations" in lab.podwire("apply", ROUTED).stdout
    lab.podwire("apply", SPEC)
    lab.podwire("verify", "--no-probes")


def test_bad_input(lab: Caller) -> None:
    broken = lab.folder / "broken.yaml"
    broken.write_text(Path(SPEC).read_text().replace("vxlan}", "vxlna}"))
    for words in (["check"], ["plan"], ["up"], ["apply"]):
        wrong = lab.podwire(*words, str(broken), code=2).stderr
        assert f"{broken}:" in wrong and "vxlan" in wrong
    for words in (
        ["up", "/nowhere.yaml"], ["exec", "n7", "--", "true"], ["get", "everything"], ["what"],
        ["fail", "link", "n7"], ["capture", "n1:eth0", "--what"], ["verify", "now"], [],
    ):  # fmt: skip
        assert "Traceback" not in lab.podwire(*words, code=2).stderr
    gone = lab.podwire("verify", "--lab", "gone", code=1).stderr
    assert "running labs: flannel-vxlan" in gone


def test_help_teaches(lab: Caller) -> None:
    top = lab.podwire("--help").stdout
    for verb in VERBS:
        assert f"\n    {verb}" in top or f"  {verb} " in top
        text = lab.podwire(verb, "--help").stdout
        assert f"example: podwire {verb}" in text or verb == "cli"
    assert "exit codes: 0 good" in top


def test_completion_and_doctor(lab: Caller) -> None:
    assert (
        "complete -o bashdefault -F _shtab_podwire podwire"
        in lab.podwire("completion", "bash").stdout
    )
    findings = {row["what"]: row for row in said(lab, "doctor")}
    assert findings["kernel: vxlan"]["good"] and findings["privilege"]["good"]
    brief = lab.podwire("doctor", "--brief").stdout
    assert "all is well" in brief or "MISSING" in brief or "-" in brief


def test_pipe_that_closes_early(lab: Caller) -> None:
    plan = " ".join(lab.argv("plan", str(ROOT / "topologies/cluster-10x10.yaml")))
    started = lab.start(["sh", "-c", f"{plan} | head -1"])
    out, err = started.communicate(timeout=30)
    assert out.count("\n") == 1 and err == ""
