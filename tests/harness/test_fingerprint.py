from __future__ import annotations

import json
from pathlib import Path

from emulator.harness import fingerprint

HEAD = "3df6df8a1b2c3d4e5f60718293a4b5c6d7e8f901"


def machine(root: Path, flags: str = "fpu hypervisor") -> Path:
    files = {
        "proc/cpuinfo": f"model name\t: Abacus 9\nflags\t: {flags}\n\nmodel name\t: second\n",
        "proc/meminfo": "MemTotal:       8388608 kB\nMemFree: 1 kB\n",
        "proc/sys/net/core/rmem_max": "212992\n",
        "sys/class/dmi/id/sys_vendor": "QEMU\n",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
        "etc/os-release": 'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "code/.git/HEAD": "ref: refs/heads/main\n",
        "code/.git/packed-refs": f"# pack-refs\n{HEAD} refs/heads/main\n",
        "code/emulator/a.py": "a = 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_it_reads_the_machine(tmp_path: Path) -> None:
    root = machine(tmp_path)
    found = fingerprint.take({"iperf3": "3.12"}, source=root / "code" / "emulator", root=root)
    assert found["cpu_model"] == "Abacus 9"
    assert found["memory_mib"] == 8192
    assert found["virtualisation"] == "QEMU"
    assert found["clock_source"] == "tsc"
    assert found["governor"] == "none"
    assert found["distribution"] == "Debian GNU/Linux 12 (bookworm)"
    assert found["sysctls"]["net.core.rmem_max"] == "212992"
    assert found["sysctls"]["net.ipv4.tcp_rmem"] == "absent"
    assert found["git_commit"] == HEAD
    assert found["tools"] == {"iperf3": "3.12"}
    assert json.loads(json.dumps(found)) == found


def test_bare_metal_is_not_called_virtual(tmp_path: Path) -> None:
    root = machine(tmp_path, flags="fpu")
    assert fingerprint.take({}, source=root / "code", root=root)["virtualisation"] == "none"


def test_commit_of_a_loose_ref_a_detached_head_a_worktree_and_no_checkout(tmp_path: Path) -> None:
    git = machine(tmp_path) / "code" / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "refs" / "heads" / "main").write_text("loose\n")
    assert fingerprint.git_commit(git.parent / "emulator") == "loose"
    (git / "HEAD").write_text("detached\n")
    assert fingerprint.git_commit(git.parent) == "detached"
    (git / "worktrees" / "w").mkdir(parents=True)
    (git / "worktrees" / "w" / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "worktrees" / "w" / "commondir").write_text("../..\n")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / ".git").write_text(f"gitdir: {git}/worktrees/w\n")
    assert fingerprint.git_commit(tmp_path / "w") == "loose"


def test_an_edited_module_changes_the_digest(tmp_path: Path) -> None:
    source = machine(tmp_path) / "code" / "emulator"
    before = fingerprint.digest(source)
    (source / "a.py").write_text("a = 2\n")
    assert fingerprint.digest(source) != before


def test_differences_name_the_fields() -> None:
    one = {"kernel": "6.1", "sysctls": {"a": "1", "b": "2"}}
    other = {"kernel": "6.18", "sysctls": {"a": "1", "b": "3"}}
    assert fingerprint.identity(one) != fingerprint.identity(other)
    assert fingerprint.differences(one, other) == [
        "kernel: '6.1' and '6.18'", "sysctls.b: '2' and '3'"
    ]  # fmt: skip
