"""Which machine, kernel and tools a result was made with.

Results of different fingerprints never enter one statistic.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.harness.bench import Bench

SYSCTLS = (
    "net/core/default_qdisc", "net/core/netdev_budget", "net/core/netdev_max_backlog",
    "net/core/rmem_default", "net/core/rmem_max", "net/core/wmem_default", "net/core/wmem_max",
    "net/core/rps_sock_flow_entries", "net/ipv4/tcp_congestion_control", "net/ipv4/tcp_mem",
    "net/ipv4/tcp_no_metrics_save", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem",
    "net/ipv4/neigh/default/gc_thresh3", "kernel/sched_autogroup_enabled",
)  # fmt: skip
SOURCES = (".py", ".c", ".sh", ".yaml")
PACKAGES = ("numpy", "pydantic", "pyyaml", "mininet", "iperf3")


def take(
    tool_versions: Mapping[str, str],
    *,
    source: Path,
    root: Path = Path("/"),
    commit: str | None = None,
    bench: Bench | None = None,
) -> dict[str, Any]:
    """The fingerprint of this machine, as a flat JSON object.

    ``tool_versions`` is what the measuring programs say of themselves.  ``source`` is the folder
    of the program's own modules: their digest tells an edited checkout from the commit that it
    stands on.  ``root`` is where /proc, /sys and /etc are read.  ``bench``: by default what the
    environment says.
    """
    return {
        "bench": (Bench.here() if bench is None else bench).as_json(),
        "kernel": platform.release(),
        "kernel_build": platform.version(),
        "machine": platform.machine(),
        "distribution": _distribution(root),
        "cpu_model": _cpu(root).get("model name", platform.processor() or "unknown"),
        "cpu_count": os.cpu_count() or 1,
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "governor": _text(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "none"),
        "clock_source": _text(
            root, "sys/devices/system/clocksource/clocksource0/current_clocksource", "unknown"
        ),
        "virtualisation": _virtualisation(root),
        "memory_mib": _memory_mib(root),
        "privilege": "root" if os.geteuid() == 0 else "unprivileged",
        "python": platform.python_version(),
        "tools": dict(sorted(tool_versions.items())),
        "packages": _packages(),
        "sysctls": {
            name.replace("/", "."): _text(root, f"proc/sys/{name}", "absent") for name in SYSCTLS
        },
        "git_commit": commit or git_commit(source),
        "source": digest(source),
    }


def identity(fingerprint: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that differ when any field differs."""
    text = json.dumps(fingerprint, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(first: Mapping[str, Any], second: Mapping[str, Any], under: str = "") -> list[str]:
    """The fields that differ, one line each: ``sysctls.net.core.rmem_max: '1' and '2'``."""
    lines = []
    for key in sorted(first.keys() | second.keys()):
        one, other = first.get(key), second.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            lines += differences(one, other, f"{under}{key}.")
        elif one != other:
            lines.append(f"{under}{key}: {one!r} and {other!r}")
    return lines


def digest(source: Path) -> str:
    """16 hexadecimal digits over names and contents of all sources of a folder."""
    total = hashlib.sha256()
    for path in sorted(one for one in source.rglob("*") if one.suffix in SOURCES):
        total.update(f"{path.relative_to(source)}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def git_commit(source: Path) -> str:
    """The commit of the checkout around ``source``, read from its files; ``none`` without one."""
    for folder in (source, *source.parents):
        marker = folder / ".git"
        if marker.is_dir():
            return _head(marker, marker)
        if marker.is_file():  # a worktree: its own HEAD, the refs of the main checkout
            own = (folder / marker.read_text().removeprefix("gitdir:").strip()).resolve()
            return _head(own, (own / _text(own, "commondir", ".")).resolve())
    return "none"


def _head(own: Path, common: Path) -> str:
    head = _text(own, "HEAD", "none")
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    loose = _text(own, name, "") or _text(common, name, "")
    if loose:
        return loose
    for line in _text(common, "packed-refs", "").splitlines():
        if line.endswith(f" {name}"):
            return line.split()[0]
    return "none"


def _text(root: Path, name: str, missing: str) -> str:
    try:
        return (root / name).read_text(errors="replace").strip()
    except OSError:
        return missing


def _cpu(root: Path) -> dict[str, str]:
    first = _text(root, "proc/cpuinfo", "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _virtualisation(root: Path) -> str:
    if "hypervisor" not in _cpu(root).get("flags", "").split():
        return "none"
    names = (_text(root, f"sys/class/dmi/id/{name}", "") for name in ("sys_vendor", "product_name"))
    return " ".join(filter(None, names)) or "unnamed hypervisor"


def _memory_mib(root: Path) -> int:
    for line in _text(root, "proc/meminfo", "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def _distribution(root: Path) -> str:
    for line in _text(root, "etc/os-release", "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "unknown"


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found
