"""What this machine can run: privilege, global limits against a spec, features, tools.

``require`` is the quick look that ``up`` takes: numbers only, no trial, no process.
(Over 300 lines: each thing looked at has its remedy beside it.)
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from emulator.bench import machine
from emulator.errors import Problem, Unsupported
from emulator.modes import modes
from emulator.spec.resolved import ResolvedSpec
from emulator.substrate import compiler, nft, stack
from emulator.substrate.binaries import find
from emulator.substrate.daemons import DAEMONS
from emulator.substrate.process import PACKAGES
from emulator.substrate.refusal import WITHOUT_NETEM
from emulator.substrate.trial import Tried
from emulator.substrate.trial import features as trial

_OTHER_FILES = 1400
"""Namespaces are held above the first 1024 descriptors, and there is more than them."""


class Finding(NamedTuple):
    """One thing looked at. ``needed``: without it something of this version runs on no bench.
    ``elsewhere``: the bench that has it where it is not ``good`` here."""

    what: str
    found: str
    good: bool
    needed: bool
    remedy: str
    expected: str = ""
    elsewhere: str = ""


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
    "bird": "BGP: underlay.routing bgp, and plugins that speak it",
    "gobgpd": "plugin kube-router",
    "charon": "flannel's backend ipsec",
    "swanctl": "flannel's backend ipsec: how charon is told what to do",
    "iptables": "plugin cni: masquerading and port mapping by its binaries",
    "wg": "looking at WireGuard, and the script of podwire plan -o sh where it has keys",
    "mnexec": "podwire cli (Mininet's helper)",
    "ifconfig": "podwire cli: link NODE NODE up|down",
    "gcc": "proxies of flannel's udp and Weave's sleeve, the replay floor of bring-up",
}
_TUNNELS = ("ipip", "sit", "ip6tnl", "foo-over-UDP", "geneve", "dummy")
_DATAPATH = "datapath of Open vSwitch"
_SELDOM = (
    *("tun", "routes with several next hops", _DATAPATH, *_TUNNELS, "wireguard", "netem"),
    "IPsec",
)
"""Features that few specs ask for."""
_LINKS = {
    "rate": "htb",
    "delay, jitter, loss, duplicates, reordering, corruption": "netem",
}
_MODULES = {
    "veth": "veth",
    "bridge": "bridge",
    "vxlan": "vxlan",
    "tun": "tun",
    "ipip": "ipip",
    "sit": "sit",
    "ip6tnl": "ip6_tunnel",
    "foo-over-UDP": "fou",
    "geneve": "geneve",
    "dummy": "dummy",
    "wireguard": "wireguard",
    _DATAPATH: "vport_vxlan",
    "nftables with masquerade": "nft_masq",
    "tbf": "sch_tbf",
    "htb": "sch_htb",
    "u32 filters": "cls_u32",
    "IPsec": "-a xfrm_user esp4 gcm",
}


_HIDDEN = "/usr/lib/ipsec:/usr/lib/strongswan:/usr/libexec/ipsec:/usr/libexec/strongswan"
"""Where distributions keep charon, which is in nobody's PATH."""


def namespaces(spec: ResolvedSpec) -> int:
    """Network namespaces that a spec needs."""
    own = sum(not pod.host_network for pod in spec.pods)
    return (
        sum(len(s.tree) for s in spec.segments)
        + len(spec.routers)
        + len(spec.nodes)
        + len(spec.hosts)
        + own
    )


def neighbours(spec: ResolvedSpec) -> int:
    """Learnt neighbour entries of IPv4 when every pod talks to its gateway and every node to all.

    The table has one size for the whole machine; pods of one bridge that talk to each
    other add two entries for each pair. IPv6 has a table of its own, and in it up to twice as
    many: who asks for what it forwards asks from its link-local address.
    """
    own = sum(not pod.host_network for pod in spec.pods)
    per_segment = Counter(node.segment for node in spec.nodes)
    per_segment.update(host.segment for host in spec.hosts)
    for router in spec.routers:
        per_segment.update(router.segments)
    return 2 * own + sum(count * (count - 1) for count in per_segment.values())


def installed(tool: str) -> str:
    """Where a program is, for one who is root in a lab; empty where it is not."""
    return shutil.which(tool) or shutil.which(tool, path=f"/usr/sbin:/sbin:{_HIDDEN}") or ""


def require(spec: ResolvedSpec, programs: Iterable[str] = ()) -> list[Problem]:
    """Refuse what cannot come up here; return what will come up but may disappoint.

    ``programs``: daemons that the lab runs; our own are compiled where they are not yet.
    Unsupported with the remedy.
    """
    nft.load()
    programs = {*programs, *(p for name in programs for p in DAEMONS.get(name, ()))}
    ours = compiler.PROGRAMS.keys() & set(programs)
    for name in sorted(ours):
        compiler.program(name)
    missing = [
        Problem(f.what, f.found, f.expected, f.remedy)
        for f in (_open_files(spec), _namespace_limit(spec), *_stack(spec))
        if not f.good
    ]
    missing += [
        Problem(name, "not installed", "a daemon that this lab runs",
                f"sudo apt-get install {PACKAGES[name]}" if name in PACKAGES else "install it")
        for name in sorted({*programs} - ours - DAEMONS.keys())
        if not installed(name)
    ]  # fmt: skip
    if missing:
        raise Unsupported(*missing)
    return [
        Problem(table.what, table.found, table.expected, table.remedy)
        for table in _tables(spec)
        if not table.good
    ]


def examine(spec: ResolvedSpec | None) -> list[Finding]:
    """Look at everything, by trying where that is possible."""
    out = [
        Finding(
            "python",
            ".".join(map(str, sys.version_info[:3])),
            sys.version_info >= (3, 11),
            True,
            "" if sys.version_info >= (3, 11) else "sudo apt-get install python3 (3.11 or newer)",
        )
    ]
    before = _modules()
    elsewhere = "" if machine.missing() else "vm"
    try:
        level, tried = trial()
        out.append(Finding("privilege", _LEVELS[level], True, True, ""))
    except Unsupported as error:
        problem = error.problems[0]
        assert isinstance(problem, Problem)
        out.append(Finding("privilege", str(problem).partition("\n")[0], False, True, problem.hint))
        tried = []
    for one in tried:
        out.append(
            Finding(
                f"kernel: {one.feature}",
                "works" if one.works else one.words,
                one.works,
                one.feature not in _SELDOM,
                "" if one.works else _remedy(one),
                elsewhere="" if one.works or one.feature not in _SELDOM else elsewhere,
            )
        )
    out += _benches(tried)
    loaded = sorted(_modules() - before)
    if loaded:
        out.append(
            Finding("kernel: modules loaded by this look", " ".join(loaded), True, False, "")
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
        path = installed(tool)
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
    out.append(_reference_plugins())
    if spec is not None:
        out += [*_stack(spec), *_tables(spec), _open_files(spec), _namespace_limit(spec)]
    return out


def _benches(tried: Iterable[Tried]) -> list[Finding]:
    """The other bench, and which modes and link features run on which."""
    missing = machine.missing()
    out = [
        Finding(
            "bench: vm",
            "; ".join(f"{one.found}" for one in missing)
            or f"QEMU, kernel {machine.kernel().version}",
            not missing,
            False,
            missing[0].hint if missing else "",
        )
    ]
    out.append(_virtual())
    elsewhere = "" if missing else "vm"
    remedy = "podwire up SPEC --on vm" if elsewhere else machine.HOW
    lacking = [one.feature for one in tried if not one.works]
    every = list(modes())
    here = [mode.name for mode in every if not mode.needs.intersection(lacking)]
    out.append(Finding("modes", ", ".join(here), True, False, ""))
    for feature in lacking:
        theirs = [mode.name for mode in every if feature in mode.needs]
        if theirs:
            found = f"{', '.join(theirs)}: not in this kernel"
            out.append(
                Finding(f"modes: {feature}", found, False, False, remedy, elsewhere=elsewhere)
            )
    for what, feature in _LINKS.items():
        good = feature not in lacking
        out.append(
            Finding(
                f"links: {what}",
                "works" if good else f"no {feature} in this kernel",
                good,
                False,
                "" if good else remedy,
                elsewhere="" if good else elsewhere,
            )
        )
    return out


def _virtual() -> Finding:
    """The bench that counts instructions: all that it needs is apt, and that once."""
    from emulator.bench.virtual import fetch, image, lock  # not for whoever brings up a lab

    made = any(image.folder().glob("[!.]*-*"))
    can = made or os.access(fetch.HELPER, os.X_OK)
    size_mb = sum(one.size_b for one in lock.read().packages) / 1e6
    found = "its image is in your cache" if made else f"its first use fetches {size_mb:.0f} MB"
    return Finding(
        "bench: virtual",
        found if can else f"no {fetch.HELPER}",
        can,
        False,
        "" if can else "run it on Debian or Ubuntu: packages are fetched by apt",
    )


def lacking(features: Iterable[str]) -> list[str]:
    """Which of these features this kernel has not; tried when there is one to ask for."""
    asked = set(features)
    if not asked:
        return []
    _, tried = trial()
    return sorted(one.feature for one in tried if one.feature in asked and not one.works)


def _reference_plugins() -> Finding:
    folders = [f for f in ("/usr/lib/cni", "/opt/cni/bin") if find("bridge", [f])]
    return Finding(
        "tool: CNI plugins",
        ", ".join(folders) or "missing (plugin cni)",
        bool(folders),
        False,
        "" if folders else "sudo apt-get install containernetworking-plugins",
    )


def _remedy(one: Tried) -> str:
    if "libnftables" in one.words:
        return "sudo apt-get install nftables"
    if one.feature == "tun" and os.path.exists("/dev/net/tun"):
        return "sudo chmod 0666 /dev/net/tun, which is how distributions have it"
    if one.feature == "nftables on bridges":
        return "a kernel with CONFIG_NF_TABLES_BRIDGE, or for kubenet another hairpinMode"
    if one.feature == "netem":
        return WITHOUT_NETEM
    module = _MODULES.get(one.feature)
    if not module:
        return ""
    return f"sudo modprobe {module}, or run with --on vm"


def _modules() -> set[str]:
    """The kernel's modules that are loaded; none where everything is built in."""
    try:
        return {row.split()[0] for row in Path("/proc/modules").read_text().splitlines()}
    except OSError:
        return set()


def _limit(family: str) -> Finding:
    value = _number(f"/proc/sys/net/{family}/neigh/default/gc_thresh3")
    return Finding(
        f"limit: {family} neighbour table",
        "unknown (not visible here)" if value is None else f"{value} entries for all namespaces",
        True,
        False,
        "",
    )


def _stack(spec: ResolvedSpec) -> list[Finding]:
    """Whether the kernel has IPv6, where a spec asks for it."""
    if not spec.ipv6:
        return []
    found, remedy = "works", ""
    if not stack.IPV6:
        found, remedy = "none in this kernel", stack.WITHOUT_IPV6
    elif _number("/proc/sys/net/ipv6/conf/default/disable_ipv6"):
        found = "switched off in new namespaces"
        remedy = "boot it without ipv6.disable_ipv6=1, or use networks of IPv4 only"
    good = not remedy
    return [Finding("kernel: IPv6", found, good, True, remedy, f"IPv6 for {spec.name}")]


def _tables(spec: ResolvedSpec) -> list[Finding]:
    """The tables of one size for all namespaces, in the families of a spec."""
    need = neighbours(spec)
    found = []
    if any(":" not in cidr for cidr in spec.pod_cidrs):
        found.append(_neighbour_table(spec, "ipv4", need))
    if spec.ipv6:
        found += [_neighbour_table(spec, "ipv6", 2 * need), _route_table(spec)]
    return found


def _route_table(spec: ResolvedSpec) -> Finding:
    """Before Linux 6.3 a namespace's IPv6 had 4096 entries for whom it talks to."""
    need = len(spec.nodes) + len(spec.pods) + len(spec.hosts)
    limit = _number("/proc/sys/net/ipv6/route/max_size")
    good = limit is None or need <= limit
    return Finding(
        "limit: ipv6 route cache",
        f"net.ipv6.route.max_size = {'unknown' if limit is None else limit}",
        good,
        True,
        "" if good else f"sudo sysctl net.ipv6.route.max_size={2 * need}",
        f"{need}, so that one may talk to all of {spec.name}",
    )


def _neighbour_table(spec: ResolvedSpec, family: str, need: int) -> Finding:
    limit = _number(f"/proc/sys/net/{family}/neigh/default/gc_thresh3")
    good = limit is None or need <= limit
    return Finding(
        "limit: neighbour table" + (" of IPv6" if family == "ipv6" else ""),
        f"{limit or 'unknown number of'} entries, {need} wanted when all pods of {spec.name} talk",
        good,
        True,
        "" if good else f"sudo sysctl net.{family}.neigh.default.gc_thresh3={2 * need}",
        "room for every pod to talk at once",
    )


def _open_files(spec: ResolvedSpec) -> Finding:
    """The supervisor raises its soft limit to the hard one, so only that one counts."""
    need = namespaces(spec)
    files = need + _OTHER_FILES
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    good = hard == resource.RLIM_INFINITY or hard >= files
    return Finding(
        "limit: open files",
        f"at most {'any number' if hard == resource.RLIM_INFINITY else hard}",
        good,
        True,
        "" if good else f"ulimit -n {files} (as root), or LimitNOFILE= of the session",
        f"{files} for {need} namespaces",
    )


def _namespace_limit(spec: ResolvedSpec) -> Finding:
    need = namespaces(spec) + 1
    limit = _number("/proc/sys/user/max_net_namespaces")
    good = limit is None or limit >= need
    return Finding(
        "limit: network namespaces",
        f"user.max_net_namespaces = {'unknown' if limit is None else limit}",
        good,
        True,
        "" if good else f"sudo sysctl user.max_net_namespaces={2 * need}",
        str(need),
    )


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


__all__ = ["Finding", "examine", "namespaces", "neighbours", "require"]
