"""What this machine can run: privilege, global limits against a spec, features, tools.

``require`` is the quick look that ``up`` takes: numbers only, no trial, no process.
"""

from __future__ import annotations

import resource
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from emulator.errors import Problem, Unsupported
from emulator.spec.resolved import ResolvedSpec
from emulator.substrate import nft, privilege
from emulator.substrate.process import PACKAGES
from emulator.substrate.trial import features


class Finding(NamedTuple):
    """One thing looked at. ``needed``: without it something of this version does not run."""

    what: str
    found: str
    good: bool
    needed: bool
    remedy: str


_LEVELS = {
    "root": "root: everything",
    "subordinate ids": "no root, subordinate ids: everything, programs that change user too",
    "one id": "no root, one id: everything but programs that change user",
}
_TOOLS = {
    "iperf3": "throughput",
    "sockperf": "latency",
    "ping": "round trips",
    "tcpdump": "podwire capture",
    "mnexec": "podwire cli (Mininet's helper)",
    "ifconfig": "podwire cli: link NODE NODE up|down",
    "gcc": "the replay floor of the bring-up experiment",
}
_MODULES = {
    "veth": "veth",
    "bridge": "bridge",
    "vxlan": "vxlan",
    "nftables with masquerade": "nft_masq",
    "tbf": "sch_tbf",
    "htb": "sch_htb",
}


def namespaces(spec: ResolvedSpec) -> int:
    """Network namespaces that a spec needs."""
    own = sum(not pod.host_network for pod in spec.pods)
    return len(spec.segments) + len(spec.routers) + len(spec.nodes) + len(spec.hosts) + own


def neighbours(spec: ResolvedSpec) -> int:
    """Learnt neighbour entries when every pod talks to its gateway and every node to all.

    The table has one size for the whole machine; pods of one bridge that talk to each
    other add two entries for each pair.
    """
    own = sum(not pod.host_network for pod in spec.pods)
    per_segment = Counter(node.segment for node in spec.nodes)
    per_segment.update(host.segment for host in spec.hosts)
    for router in spec.routers:
        per_segment.update(router.segments)
    return 2 * own + sum(count * (count - 1) for count in per_segment.values())


def require(spec: ResolvedSpec) -> list[Problem]:
    """Refuse what cannot come up here; return what will come up but may disappoint.

    Unsupported with the remedy.
    """
    nft.load()
    need = namespaces(spec)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = need + 1400  # namespaces stand above the first 1024 descriptors
    if soft < files <= hard or (soft < files and hard == resource.RLIM_INFINITY):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    elif soft < files:
        raise Unsupported(
            Problem(
                "open files",
                f"at most {hard}",
                f"{files} for {need} namespaces",
                f"ulimit -n {files} (as root), or LimitNOFILE= of the session",
            )
        )
    limit = _number("/proc/sys/user/max_net_namespaces")
    if limit is not None and limit < need + 1:
        raise Unsupported(
            Problem(
                "network namespaces",
                f"user.max_net_namespaces = {limit}",
                f"{need + 1}",
                f"sudo sysctl user.max_net_namespaces={2 * need}",
            )
        )
    finding = _neighbour_table(spec)
    if finding.good:
        return []
    return [
        Problem(finding.what, finding.found, "room for every pod to talk at once", finding.remedy)
    ]


def examine(spec: ResolvedSpec | None) -> list[Finding]:
    """Look at everything, by trying where that is possible."""
    out = [
        Finding(
            "python",
            ".".join(map(str, sys.version_info[:3])),
            sys.version_info >= (3, 11),
            True,
            "sudo apt-get install python3 (3.11 or newer)",
        )
    ]
    try:
        tried = features()
        out.append(Finding("privilege", _LEVELS[privilege.level()], True, True, ""))
    except Unsupported as error:
        problem = error.problems[0]
        assert isinstance(problem, Problem)
        out.append(Finding("privilege", problem.found, False, True, problem.hint))
        tried = []
    for one in tried:
        module = _MODULES.get(one.feature)
        out.append(
            Finding(
                f"kernel: {one.feature}",
                "works" if one.works else one.words,
                one.works,
                True,
                "" if one.works or not module else f"sudo modprobe {module}",
            )
        )
    filtered = Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
    out.append(
        Finding(
            "kernel: br_netfilter",
            "loaded" if filtered else "not loaded: bridged pod traffic skips nftables",
            filtered,
            False,
            ""
            if filtered
            else "real nodes have it; it hooks this host's bridges too: sudo modprobe br_netfilter",
        )
    )
    out += [_limit("ipv4"), _limit("ipv6")]
    for tool, use in _TOOLS.items():
        path = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")
        package = PACKAGES.get(tool, tool)
        out.append(
            Finding(
                f"tool: {tool}",
                path or f"missing ({use})",
                bool(path),
                tool in ("iperf3", "sockperf", "ping"),
                "" if path else f"sudo apt-get install {package}",
            )
        )
    if spec is not None:
        out.append(_neighbour_table(spec))
        need = namespaces(spec)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        enough = hard == resource.RLIM_INFINITY or hard >= need + 1400
        out.append(
            Finding(
                "limit: open files",
                f"{hard} for {need} namespaces",
                enough,
                True,
                "" if enough else f"ulimit -n {need + 1400}",
            )
        )
    return out


def _limit(family: str) -> Finding:
    value = _number(f"/proc/sys/net/{family}/neigh/default/gc_thresh3")
    return Finding(
        f"limit: {family} neighbour table",
        "unknown (not visible here)" if value is None else f"{value} entries for all namespaces",
        True,
        False,
        "",
    )


def _neighbour_table(spec: ResolvedSpec) -> Finding:
    need = neighbours(spec)
    limit = _number("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
    good = limit is None or need <= limit
    return Finding(
        "limit: neighbour table",
        f"{limit} entries, {need} wanted when all pods of {spec.name} talk",
        good,
        True,
        "" if good else f"sudo sysctl net.ipv4.neigh.default.gc_thresh3={2 * need}",
    )


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


__all__ = ["Finding", "examine", "namespaces", "neighbours", "require"]
