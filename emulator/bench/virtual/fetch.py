"""Get what the lock names, from where it still is, into the user's cache.

Mirrors drop a version when the next one comes.  So each package is asked for at the mirrors that
this machine's apt knows, at Debian's own, and at last at snapshot.debian.org, which keeps all.
What has not the SHA-256 of the lock is not taken.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from emulator.bench.virtual.lock import Lock, Package, Wheel
from emulator.errors import PodwireError, Problem, Unsupported
from emulator.substrate import compiler
from emulator.substrate.host import run_on_host

HELPER: Final = "/usr/lib/apt/apt-helper"
DEBIANS: Final = {
    "debian": "https://deb.debian.org/debian",
    "debian-security": "https://deb.debian.org/debian-security",
}
SNAPSHOT: Final = "https://snapshot.debian.org/archive"
WHEELS_FOR: Final = (
    "--implementation", "cp", "--python-version", "3.11", "--platform", "manylinux2014_x86_64",
    "--platform", "manylinux_2_28_x86_64",
)  # fmt: skip
AT_ONCE: Final = 20
_PATIENCE_S: Final = 900.0
_ROW: Final = "\n    | "
Say = Callable[[str], None]


def folder() -> Path:
    """Where what has been fetched is kept: by its SHA-256."""
    return compiler.cache() / "packages"


def fetched(lock: Lock, say: Say) -> dict[str, Path]:
    """Every package and wheel by its SHA-256. Unsupported where one is nowhere to be had."""
    here = folder()
    here.mkdir(parents=True, exist_ok=True)
    packages = [one for one in lock.packages if not _good(here / one.sha256, one.sha256)]
    wheels = [one for one in lock.wheels if not _good(here / one.sha256, one.sha256)]
    sums = [one.sha256 for one in lock.packages] + [one.sha256 for one in lock.wheels]
    found = {one: here / one for one in sums}
    if not packages and not wheels:
        return found
    size_mb = sum(one.size_b for one in packages) / 1e6
    _require_room(here, sum(one.size_b for one in packages))
    say(f"bench virtual: {len(packages)} packages ({size_mb:.0f} MB), {len(wheels)} wheels …")
    said = []
    with tempfile.TemporaryDirectory(dir=here) as work:
        for mirror in _mirrors(lock):
            if packages:
                said += _download(packages, mirror, Path(work))
                packages = [one for one in packages if not _taken(Path(work), one.sha256)]
        if wheels:
            _pip(wheels, Path(work))
            wheels = [one for one in wheels if not _taken(Path(work), one.sha256)]
    missing = [f"{one.name} {one.version}" for one in packages]
    missing += [one.requirement for one in wheels]
    if missing:
        raise Unsupported(
            Problem("bench virtual", f"{', '.join(missing[:5])} is nowhere to be had "
                    f"({len(missing)} in all){''.join(f'{_ROW}{one}' for one in said)}",
                    "what emulator/bench/virtual/lock.json names",
                    "a network that reaches a mirror or snapshot.debian.org; make virtual-lock "
                    "takes the versions of today")
        )  # fmt: skip
    return found


def _require_room(here: Path, size_b: int) -> None:
    free_b = shutil.disk_usage(here).free
    if free_b < size_b:
        raise PodwireError(
            Problem(str(here), f"{free_b / 1e6:.0f} MB free", f"room for {size_b / 1e6:.0f} MB of "
                    "packages", "free some space, or have the cache elsewhere: XDG_CACHE_HOME")
        )  # fmt: skip


Mirror = Callable[[Package], str]


def _mirrors(lock: Lock) -> Iterator[Mirror]:
    """Ways to the address of a package, the nearest first."""
    if not os.access(HELPER, os.X_OK):
        raise Unsupported(
            Problem("bench virtual", f"no {HELPER}", "apt to fetch packages with",
                    "run it on Debian or Ubuntu")
        )  # fmt: skip
    told = run_on_host(["apt-get", "indextargets", "--format", "$(SITE)"], timeout_s=60)
    sites = dict.fromkeys(told.stdout.decode().split())
    for site in sites:
        if site.rstrip("/").rpartition("/")[2] in DEBIANS:
            yield partial(_below, site.rstrip("/"))
    yield lambda one: f"{DEBIANS[one.archive]}/{one.path}"
    yield lambda one: f"{SNAPSHOT}/{one.archive}/{lock.taken}T235959Z/{one.path}"


def _below(site: str, one: Package) -> str:
    return f"{site}/{one.path}" if site.endswith(f"/{one.archive}") else ""


def _download(packages: Sequence[Package], mirror: Mirror, work: Path) -> list[str]:
    """As many as this mirror has. apt checks the sums as well; its words on the first that fails,
    if one does."""
    asked = [(url, one) for one in packages if (url := mirror(one))]
    said = []
    for at in range(0, len(asked), AT_ONCE):
        words = [
            word
            for url, one in asked[at : at + AT_ONCE]
            for word in (url, str(work / one.sha256), f"SHA256:{one.sha256}")
        ]
        done = run_on_host([HELPER, "-q", "download-file", *words], timeout_s=_PATIENCE_S)
        lines = done.stderr.decode(errors="replace").splitlines()
        said += [one.removeprefix("E: ") for one in lines if one.startswith("E: ")]
    return said[:1]


def _pip(wheels: Sequence[Wheel], work: Path) -> None:
    """pip takes a wheel by its sum alone."""
    wanted = work / "wheels.txt"
    wanted.write_text("".join(f"{one.requirement} --hash=sha256:{one.sha256}\n" for one in wheels))
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    argv += [*WHEELS_FOR, "--require-hashes", "-d", str(work), "-r", str(wanted)]
    done = run_on_host(argv, timeout_s=_PATIENCE_S)
    if done.returncode:
        raise PodwireError(
            Problem("pip download", done.stderr.decode(errors="replace").strip()[-600:],
                    "the wheels of the lock", "a network that reaches PyPI")
        )  # fmt: skip
    for one in wheels:
        (work / one.file).rename(work / one.sha256)


def _taken(work: Path, sha256: str) -> bool:
    """Move a file into the cache, if it has come and is the right one."""
    if not _good(work / sha256, sha256):
        return False
    (work / sha256).rename(folder() / sha256)
    return True


def _good(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False
