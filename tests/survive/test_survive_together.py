"""Labs side by side, and what a lab costs while nothing happens in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from callers import KINDS, ROOT, SPEC, MakeCaller

pytestmark = pytest.mark.kernel


def test_labs_of_two_users_with_the_same_names(make_caller: MakeCaller) -> None:
    one, two = make_caller(KINDS[0]), make_caller(KINDS[-1])
    one.podwire("up", SPEC)
    two.podwire("up", SPEC, "--set", "spec.network.backend=host-gw")
    for caller, backend in ((one, "vxlan"), (two, "host-gw")):
        (row,) = json.loads(caller.podwire("ls", "-o", "json").stdout)
        assert row["network"] == f"flannel {backend}"
    checks = [caller.start(caller.argv("verify")) for caller in (one, two, one, two)]
    for check in checks:
        out, err = check.communicate(timeout=40)
        assert check.returncode == 0, out + err
    one.podwire("exec", "n1", "--", "sh", "-c", "echo one > /run/who")
    two.podwire("exec", "n1", "--", "cat", "/run/who", code=1)
    one.podwire("down")
    two.podwire("verify")
    two.podwire("down")


def test_two_labs_of_one_user(make_caller: MakeCaller) -> None:
    caller = make_caller(KINDS[-1])
    caller.podwire("up", SPEC)
    again = caller.podwire("up", SPEC, code=2)
    assert "a running lab of that name" in again.stderr
    assert "podwire down flannel-vxlan, podwire apply, or podwire up --name" in again.stderr
    # two at the same moment: one of them has the name
    both = [caller.start(caller.argv("up", SPEC, "--name", "same")) for _ in range(2)]
    for one in both:
        one.communicate(timeout=40)
    assert sorted(one.returncode for one in both) == [0, 2]
    several = caller.podwire("verify", code=2)
    assert "several: flannel-vxlan, same" in several.stderr and "--lab NAME" in several.stderr
    caller.podwire("verify", "--no-probes", "--lab", "same")
    caller.podwire("down", "same")
    caller.podwire("verify", "--no-probes")
    caller.podwire("down", "other", code=1)
    caller.podwire("up", SPEC, "--name", "../escape", code=2)
    caller.podwire("down", "--all")
    assert caller.left() == []


def test_idle_lab_costs_no_process_and_little_memory(make_caller: MakeCaller) -> None:
    caller = make_caller(KINDS[0])
    pods = 500
    timings = caller.podwire("up", str(ROOT / "topologies/cluster-50x10.yaml"), "--timings").stdout
    assert set(json.loads(timings)) >= {"apply_s", "mininet_s", "ready_s", "command_s"}
    assert len(caller.processes()) == 1
    (pid,) = caller.supervisors()
    rollup = dict(
        row.split(":") for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    assert int(rollup["Pss"].split()[0]) / pods <= 200, "KiB of user-space memory per pod"
    assert len(os.listdir(f"/proc/{pid}/fd")) < pods + 100
    said = caller.podwire("down").stdout
    assert said.startswith("cluster-50x10 is down (")
