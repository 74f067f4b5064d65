"""The state of the machine that no lab may change, as text by name."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

_COMMANDS = (
    "ip -details link",
    "ip address",
    "ip route show table all",
    "ip -6 route show table all",
    "ip rule",
    "ip -6 rule",
    "ip netns list",
    "bridge fdb",
    "tc qdisc",
    "nft list ruleset",
    "hostname",
)
_VOLATILE = re.compile(
    r"/(fs/(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota/.*)|fs/binfmt_misc/.*"
    r"|kernel/(ns_last_pid|pty/nr|random/.*|perf_cpu_time_max_percent|sched_domain/.*)"
    r"|net/netfilter/nf_conntrack_count|.*/stat|vm/stat_refresh|.*_flush|.*/flush)$"
)
_FOLDERS = ("/etc", "/var", "/run", "/usr/local", "/root", "/home", "/opt", "/srv", "/tmp", "/dev")
_OTHERS = re.compile(
    # other programs of the machine, other labs, and the files of the tests themselves
    r"^(/var/log|/var/lib/(apt|dpkg|systemd)|/var/cache|/run/(podwire|systemd|udev|log|user|lock)"
    r"|/run/utmp|/tmp/(?!podwire-[0-9])|/tmp$|/dev/(pts|ptmx|tty|null|shm|kmsg|random|urandom|zero|full)"
    r"|/root/(?!\.mininet)|/home/[^/]*/.|/dev$)"
)
_MILLION = 1_000_000


def host_state(folders: Sequence[str] = _FOLDERS) -> dict[str, str]:
    """Links, addresses, routes, rules, filters, sysctls, mounts, files; by what it is."""
    found = {"mounts": Path("/proc/self/mountinfo").read_text()}
    for command in _COMMANDS:
        ended = subprocess.run(command.split(), capture_output=True, text=True, timeout=20)
        found[command] = _steady(ended.stdout + ended.stderr)
    found |= _sysctls()
    for folder in folders:
        found |= dict(_files(folder))
    assert len(found) > (1000 if folders else 300)
    return found


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What differs, in words."""
    return [
        f"{name}: {before.get(name)!r} became {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _steady(text: str) -> str:
    """Without lifetimes that count down."""
    return re.sub(r"(valid_lft|preferred_lft|expires) \S+", r"\1 -", text)


def _sysctls() -> dict[str, str]:
    found = {}
    for folder, _, names in os.walk("/proc/sys"):
        for name in names:
            path = f"{folder}/{name}"
            if not _VOLATILE.search(path) and os.stat(path).st_mode & 0o444:
                try:
                    found[path] = Path(path).read_bytes().decode(errors="replace")
                except OSError as error:
                    found[path] = str(error.strerror)
    return found


def _files(top: str) -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(top):
        folders[:] = [n for n in folders if not _OTHERS.match(f"{folder}/{n}")]
        for name in [*folders, *names]:
            path = f"{folder}/{name}"
            if _OTHERS.match(path):
                continue
            try:
                status = os.lstat(path)
            except OSError:
                continue
            yield path, f"{status.st_mode:o} {status.st_uid} {status.st_size} {status.st_mtime_ns}"
