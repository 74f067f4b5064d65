"""What a machine may lack: one clear error with the remedy, and nothing left over."""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from callers import SPEC, Caller, MakeCaller
from nested import nested, powerless

pytestmark = pytest.mark.kernel


def run(caller: Caller, argv: Sequence[str], code: int) -> str:
    """Run to the end; all that was said. No traceback, no process left."""
    ended = caller.start(argv)
    out, err = ended.communicate(timeout=40)
    assert ended.returncode == code, out + err
    assert "Traceback" not in out + err
    assert err.count("podwire ") <= 2, err
    assert caller.processes() == {}
    return out + err


def full(folder: Path | str, size: str = "8k") -> list[str]:
    """Steps that lay a full disk over a folder."""
    return [
        f"mount -t tmpfs -o size={size},mode=700 tmpfs {folder}",
        f"dd if=/dev/zero of={folder}/filler bs=1k 2>/dev/null || true",
    ]


def test_full_disk_for_the_run_directory(either: Caller) -> None:
    said = run(either, nested(*full(either.run), either.argv("up", SPEC)), 1)
    assert "No space left on device" in said and "free some space" in said


def test_run_directory_that_fills_up(somebody: Caller) -> None:
    """Wherever the space ends on the way up, the lab is gone and its directory with it."""
    ends = set()
    for inodes in range(3, 10):
        left = nested(
            f"mount -t tmpfs -o nr_inodes={inodes},mode=700 tmpfs {somebody.run}",
            f"{' '.join(somebody.argv('up', SPEC))} || code=$?",
            f"echo left: $(ls -A {somebody.run}/podwire 2>/dev/null)",
            f"test -z $code || exit $code; {' '.join(somebody.argv('down', '--all'))}",
        )
        ended = somebody.start(left)
        out, err = ended.communicate(timeout=40)
        ends.add(ended.returncode)
        if ended.returncode:
            assert "No space left on device" in err and "free some space" in err
            assert "Traceback" not in err
            assert "left: .lock" in out or "left:\n" in out, out
        assert somebody.processes() == {}
    assert ends == {0, 1}


def test_full_disk_for_what_a_verb_writes(somebody: Caller) -> None:
    target = f"{somebody.home}/numbers"
    steps = nested(
        somebody.argv("up", SPEC),
        somebody.argv("exec", "n1", "--", "sh", "-c", "seq 9999 > /tmp/numbers"),
        *full(somebody.home),
        f"{shlex.join(somebody.argv('cp', 'n1:/tmp/numbers', target))} || echo code=$?",
        f"{shlex.join(somebody.argv('plan', SPEC))} > {target} || echo code=$?",
        somebody.argv("verify", "--no-probes"),
        somebody.argv("down"),
    )
    said = run(somebody, steps, 0)
    assert "code=2" in said and "code=1" in said
    assert said.count("No space left on device") == 2


def test_too_few_open_files(either: Caller) -> None:
    for count in (40, 1000):
        argv = ["sh", "-c", f"ulimit -n {count}; exec {' '.join(either.argv('up', SPEC))}"]
        said = run(either, argv, 3)
        assert f"found at most {count}" in said and "ulimit -n " in said
        argv = ["sh", "-c", f"ulimit -n {count}; exec {' '.join(either.argv('doctor', SPEC))}"]
        assert "MISSING  ulimit -n" in run(either, argv, 3)
    assert either.left() == []
    # only the hard limit counts: the soft one is raised for the supervisor
    argv = ["sh", "-c", f"ulimit -S -n 64; exec {' '.join(either.argv('up', SPEC))}"]
    started = either.start(argv)
    assert started.communicate(timeout=30)[1] == ""
    either.podwire("verify", "--no-probes")


def test_neighbour_table_too_small(somebody: Caller) -> None:
    table = int(Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3").read_text())
    count = math.isqrt(table) + 2
    if count > 200:
        pytest.skip("no lab that is quick to bring up fills the table of this machine")
    spec = somebody.folder / "wide.yaml"
    spec.write_text(
        "apiVersion: podwire/v1\nkind: Cluster\nmetadata: {name: wide}\nspec:\n"
        "  network: {plugin: flannel, backend: host-gw}\n"
        f"  nodes: {{count: {count}}}\n"
    )
    remedy = "sudo sysctl net.ipv4.neigh.default.gc_thresh3="
    doctor = somebody.podwire("doctor", str(spec), code=3).stdout
    row = next(row for row in doctor.splitlines() if row.startswith("limit: neighbour table"))
    assert "MISSING" in row and remedy in row
    up = somebody.podwire("up", str(spec))
    assert "warning: limit: neighbour table" in up.stderr and remedy in up.stderr


def test_missing_programs(either: Caller) -> None:
    # programs are found by PATH, and then in the places of the system
    hidden = "for t in sockperf iperf3 ping; do mount --bind /dev/null $(command -v $t); done"
    said = run(either, nested(hidden, either.argv("doctor")), 3)
    for package in ("sockperf", "iperf3", "iputils-ping"):
        assert f"MISSING  sudo apt-get install {package}" in said
    either.podwire("up", SPEC)
    missing = either.podwire("exec", "n1", "--", "no-such-program", code=3)
    assert "n1: no-such-program: found not installed" in missing.stderr
    either.podwire("exec", "n1", "--", "/etc/passwd", code=1)


def test_nftables_library_missing(either: Caller) -> None:
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    (path, *_) = [
        row.split()[-1] for row in listed.stdout.splitlines() if "libnftables.so.1" in row
    ]
    hide = f"mount --bind /dev/null {os.path.realpath(path)}"
    for verb in ("up", "doctor"):
        said = run(either, nested(hide, either.argv(verb, SPEC)), 3)
        assert "sudo apt-get install nftables" in said
    assert either.left() == []


def test_kernel_without_vxlan(either: Caller) -> None:
    """The kernel itself answers: it is asked for a kind of device that it has not."""
    program = (
        "import sys\n"
        "from emulator.substrate import encode, trial\n"
        "real = encode.attr_str\n"
        "def other(kind, text):\n"
        "    return real(kind, 'vxlan-x' if text == 'vxlan' else text)\n"
        "encode.attr_str = trial.attr_str = other\n"
        "from emulator.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    said = run(either, [sys.executable, "-c", program, "up", SPEC], 3)
    assert "expected a kernel with vxlan devices" in said and "sudo modprobe vxlan" in said
    assert "n1 vxlan flannel.1" in said and "Unknown device type" in said
    said = run(either, [sys.executable, "-c", program, "doctor"], 3)
    assert "MISSING  sudo modprobe vxlan" in said
    assert either.left() == []


def test_system_that_forbids_user_namespaces(caller: Caller) -> None:
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces"
    for verb in ("up", "doctor"):
        said = run(caller, nested(forbid, powerless(caller.argv(verb, SPEC))), 3)
        assert "a user namespace" in said
        assert "sudo sysctl user.max_user_namespaces=10000" in said
    assert caller.left() == []


def test_too_few_network_namespaces(either: Caller) -> None:
    few = "echo 5 > /proc/sys/user/max_net_namespaces"
    for verb in ("up", "doctor"):
        said = run(either, nested(few, either.argv(verb, SPEC)), 3)
        assert "user.max_net_namespaces = 5" in said
        assert "sudo sysctl user.max_net_namespaces=" in said
    assert either.left() == []


def test_network_namespaces_spent_by_another_lab(either: Caller) -> None:
    steps = nested(
        "echo 15 > /proc/sys/user/max_net_namespaces",
        either.argv("up", SPEC),
        f"{' '.join(either.argv('up', SPEC, '--name', 'two'))} || code=$?",
        either.argv("ls"),
        either.argv("verify", "--no-probes"),
        either.argv("down", "--all"),
        "exit $code",
    )
    said = run(either, steps, 1)
    assert "podwire up: " in said and "ENOSPC" in said and "take other labs down" in said
    assert "two " not in said


if os.geteuid() == 0:  # who is not root cannot hide anything for good

    @pytest.mark.parametrize("kind", ["user", "one id"])
    def test_container_that_hides_part_of_proc(kind: str, make_caller: MakeCaller) -> None:
        boxed = make_caller(kind, missing=["/proc/uptime"])
        for verb in ("up", "doctor"):
            said = run(boxed, boxed.argv(verb, SPEC), 3)
            assert "mounting /proc" in said and "systempaths=unconfined" in said
        assert boxed.left() == []

    def test_helpers_that_may_not_map_ids(make_caller: MakeCaller) -> None:
        user = make_caller("user")
        programs = user.folder / "bin"
        programs.mkdir()
        (programs / "newuidmap").write_text("#!/bin/sh\nexit 1\n")
        (programs / "newuidmap").chmod(0o755)
        user.env["PATH"] = f"{programs}:{user.env['PATH']}"
        assert "one id" in user.podwire("doctor").stdout
        user.podwire("up", SPEC)
        user.podwire("verify", "--no-probes")
