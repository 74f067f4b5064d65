"""Levels of privilege and the remedies for what a system forbids."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
from waiting import until

from emulator.substrate import privilege


def refused(step: str, number: int) -> str:
    return str(privilege.refusal(step, OSError(number, os.strerror(number))))


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Not root, and none of the settings that forbid something; they may be put into the folder."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(privilege, "APPARMOR", tmp_path / "apparmor")
    monkeypatch.setattr(privilege, "_CLONE_SYSCTL", tmp_path / "clone")
    monkeypatch.setattr(privilege, "_LIMITS", tmp_path)
    monkeypatch.setattr(privilege, "_CONTAINERS", ())
    return tmp_path


def test_apparmor_of_ubuntu(user: Path) -> None:
    (user / "apparmor").write_text("1\n")
    text = refused("network, mount and PID namespaces", errno.EPERM)
    assert "AppArmor restricts user namespaces here (Ubuntu 24.04)" in text
    assert "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0" in text
    (user / "apparmor").write_text("0\n")
    assert "AppArmor" not in refused("a user namespace", errno.EPERM)


def test_settings_of_other_systems(user: Path) -> None:
    assert "run it with sudo" in refused("a user namespace", errno.EPERM)
    (user / "clone").write_text("0\n")
    assert "kernel.unprivileged_userns_clone=1" in refused("a user namespace", errno.EPERM)
    (user / "clone").unlink()
    assert "user.max_*_namespaces" in refused("a user namespace", errno.ENOSPC)
    (user / "max_user_namespaces").write_text("0\n")
    assert "sudo sysctl user.max_user_namespaces=10000" in refused("x", errno.ENOSPC)
    assert "uidmap" in refused("newuidmap", errno.EPERM)
    assert "systempaths=unconfined" in refused("mounting /proc", errno.EPERM)
    assert "pivot_root" in refused("mounting /", errno.EINVAL)


def test_containers(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "root without CAP_SYS_ADMIN" in refused("network namespaces", errno.EPERM)
    (user / "mark").touch()
    monkeypatch.setattr(privilege, "_CONTAINERS", (user / "mark",))
    assert "a container: start it with --privileged" in refused("namespaces", errno.EPERM)


@pytest.mark.kernel
def test_helpers_that_may_not_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is one id, as for who has no helpers."""
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).write_text("#!/bin/sh\necho Operation not permitted >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    child = subprocess.Popen(["unshare", "--user", "sleep", "60"])
    try:
        ours, theirs = Path("/proc/self/ns/user"), Path(f"/proc/{child.pid}/ns/user")
        until(lambda: theirs.readlink() != ours.readlink(), "a user namespace")
        assert privilege.map_ids(child.pid, "subordinate ids") == "one id"
        mapped = Path(f"/proc/{child.pid}/uid_map").read_text().split()
        assert mapped == ["0", str(os.geteuid()), "1"]
    finally:
        child.kill()
        child.wait()


def test_level_of_a_user_without_an_entry(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privilege, "_IDS", str(user / "sub{kind}"))
    assert privilege.subordinate("uid") is None
    assert privilege.level() == "one id"
    for kind in ("uid", "gid"):
        (user / f"sub{kind}").write_text("other:1:2\n\nbroken\n54321:300000:65536\n")
    assert privilege.subordinate("uid") == (300_000, 65_536)
    tools = user / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    assert privilege.level() == "one id", "without newuidmap ranges are of no use"
    for name in ("newuidmap", "newgidmap"):
        (tools / name).touch(0o755)
    assert privilege.level() == "subordinate ids"
