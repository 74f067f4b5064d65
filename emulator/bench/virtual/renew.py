"""Write the lock anew, from what Debian's and PyPI's mirrors have today.

``python -m emulator.bench.virtual.renew`` (``make virtual-lock``), on Debian 12: apt resolves what
the packages need, as if nothing were installed, and pip finds the wheels.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from emulator.bench.virtual import fetch
from emulator.bench.virtual import lock as locks
from emulator.bench.virtual.fetch import Say
from emulator.bench.virtual.lock import Lock, Package, Role, Wheel
from emulator.errors import PodwireError, Problem, Unsupported
from emulator.substrate.host import run_on_host

DEBIAN: Final = "bookworm"
WANTED: Final[dict[Role, tuple[str, ...]]] = {
    "kernel": ("linux-image-amd64",),
    "guest": (
        "python3.11-minimal", "libpython3.11-stdlib", "dash", "busybox-static", "kmod",
        "iproute2", "nftables", "iptables", "wireguard-tools", "strongswan-charon",
        "strongswan-swanctl", "libcharon-extra-plugins", "libstrongswan-standard-plugins",
        "net-tools", "bash", "mininet", "iperf3", "sockperf", "iputils-ping", "tcpdump", "bird2",
        "gobgpd", "libsodium23", "bridge-utils", "ethtool", "containernetworking-plugins",
    ),
    "host": ("qemu-system-x86", "seabios"),
    # the compiler itself is in the preprocessor's package; its driver would start the user's parts
    "compiler": ("cpp-12", "binutils", "libgcc-12-dev", "libc6-dev", "libsodium-dev"),
}  # fmt: skip
LEFT_OUT: Final = re.compile(
    r"perl|perl-.*|libperl.*|dpkg|tar|passwd|adduser|debconf|libdb5.3|ucf|sensible-utils"
    r"|libpam-.*|init-system-helpers|python3(-.*)?|libpython3-.*|openvswitch-.*|cgroup.*|telnet"
    r"|iperf|socat|media-types|readline-common|linux-base|initramfs.*|klibc.*|libklibc"
    r"|lib(a|hwa|l|t|ub)san\d|libitm1|libquadmath0|libgprofng0|lib(crypt|nsl|tirpc)-dev|rpcsvc-proto"
    r"|libgomp1|libatomic1|libc-dev-bin|base-files|mawk"
)
"""What packages depend on to be installed, and nothing in a lab runs."""
WHEELS: Final = (
    "pydantic", "pyyaml", "mininet==2.3.0.dev6", "iperf3", "cryptography>=42", "vici>=5.8",
)  # fmt: skip
PYTHON: Final = ("--python-version", "3.11", "--platform", "manylinux2014_x86_64")
_URI = re.compile(r"^'([^']+)' (\S+?)_(\S+)_(?:amd64|all)\.deb (\d+) ", re.M)


def renewed() -> Lock:
    """The lock of today. PodwireError when a mirror has not what is wanted."""
    found: dict[str, Package] = {}
    for role, names in WANTED.items():
        for one in _resolved(role, names):
            before = found.get(one.name)
            roles = tuple(sorted({*(before.roles if before else ()), role}))
            found[one.name] = one._replace(roles=roles)
    today = datetime.now(UTC).strftime("%Y%m%d")
    return Lock(today, tuple(found[name] for name in sorted(found)), tuple(_wheels()))


def to_be_had(locked: Lock, say: Say) -> tuple[Lock, dict[str, Path]]:
    """A lock with its packages: where those of ``locked`` are nowhere left, today's instead.

    What was taken then is kept, so that it stays the same on this machine. Unsupported where
    neither can be had.
    """
    try:
        return locked, fetch.fetched(locked, say)
    except Unsupported as gone:
        kept = fetch.folder() / f"instead-of-{locked.digest}.json"
        say(f"{gone}\nbench virtual: today's versions are taken instead, so results are close to "
            "those of others, and not the same")  # fmt: skip
        try:
            instead = locks.read(kept) if kept.exists() else renewed()
            found = fetch.fetched(instead, say)
        except PodwireError as error:
            raise gone from error
        if not kept.exists():
            kept.write_text(locks.text(instead))
        return instead, found


def _resolved(role: Role, names: Sequence[str]) -> Iterable[Package]:
    with tempfile.NamedTemporaryFile() as nothing_installed:
        told = _said(
            ["apt-get", "-o", f"Dir::State::status={nothing_installed.name}", "-o",
             "Debug::NoLocking=1", "--print-uris", "--no-install-recommends", "-y", "install",
             *names]
        )  # fmt: skip
    for uri, name, version, size in _URI.findall(told):
        wanted = re.match(r"linux-image-\d", name) if role == "kernel" else True
        if not wanted or LEFT_OUT.fullmatch(name):
            continue
        archive = "debian-security" if "/debian-security/" in uri else "debian"
        yield Package(
            name, unquote(version), archive, "pool/" + unquote(uri).partition("/pool/")[2],
            int(size), _sum(name, unquote(version)), (role,),
        )  # fmt: skip


def _sum(name: str, version: str) -> str:
    told = _said(["apt-cache", "show", f"{name}={version}"])
    found = re.search(r"^SHA256: (\w+)$", told, re.M)
    if not found:
        raise PodwireError(Problem(f"apt-cache show {name}={version}", told[:200], "a SHA256"))
    return found[1]


def _wheels() -> Iterable[Wheel]:
    with tempfile.TemporaryDirectory() as folder:
        _said(["pip", "download", "--only-binary=:all:", *PYTHON, "-d", folder, *WHEELS], 600)
        for path in sorted(Path(folder).iterdir()):
            name, version = path.name.split("-")[:2]
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            yield Wheel(f"{name}=={version}", path.name, digest)


def _said(argv: Sequence[str], timeout_s: float = 60.0) -> str:
    done = run_on_host(argv, timeout_s=timeout_s)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()
        raise PodwireError(
            Problem(" ".join(argv[:3]), words, f"packages of Debian {DEBIAN}",
                    "run it on Debian 12, after apt-get update")
        )  # fmt: skip
    return done.stdout.decode()


if __name__ == "__main__":
    locks.FILE.write_text(locks.text(made := renewed()))
    total_b = sum(one.size_b for one in made.packages)
    print(f"{locks.FILE}: {len(made.packages)} packages ({total_b / 1e6:.0f} MB), "
          f"{len(made.wheels)} wheels, {made.digest}")  # fmt: skip
