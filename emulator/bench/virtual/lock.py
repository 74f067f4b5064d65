"""The lock: which packages the bench is made of, by name, version and SHA-256.

None of them is the user's own, whatever the user's distribution. ``renew`` writes it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from emulator.errors import PodwireError, Problem

FILE: Final = Path(__file__).with_name("lock.json")
FORMAT: Final = 1
QEMU: Final = "qemu-system-x86"

Role = Literal["kernel", "guest", "host", "compiler"]
"""``kernel``: what the guest boots; ``guest``: its files; ``host``: QEMU and its firmware;
``compiler``: what our own C programs become programs of the guest by."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
_NEEDED: Final[dict[Role, str]] = {
    "kernel": "linux-image-", "guest": "python3.11-minimal", "host": QEMU
}  # fmt: skip
"""Of each role how the package begins without which there is no image; there is one of it."""
_SHA256 = re.compile("[0-9a-f]{64}")


class Package(NamedTuple):
    """A package of Debian's. ``archive`` is ``debian`` or ``debian-security``, ``path`` what stands
    below it on every mirror, and on snapshot.debian.org for ever."""

    name: str
    version: str
    archive: str
    path: str
    size_b: int
    sha256: str
    roles: tuple[Role, ...]


class Wheel(NamedTuple):
    """A package of PyPI's, for the guest's Python: ``name==version``."""

    requirement: str
    file: str
    sha256: str


class Lock(NamedTuple):
    """``taken``: the day (in UTC, ``20261122``) at which mirrors had all of it."""

    taken: str
    packages: tuple[Package, ...]
    wheels: tuple[Wheel, ...]

    def of(self, role: Role) -> tuple[Package, ...]:
        """The packages for a purpose."""
        return tuple(one for one in self.packages if role in one.roles)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over all contents and what they are for, and nothing else."""
        sums = [f"{one.sha256} {' '.join(sorted(one.roles))}" for one in self.packages]
        sums += [one.sha256 for one in self.wheels]
        return hashlib.sha256("\n".join(sorted(sums)).encode()).hexdigest()[:16]


def read(path: Path = FILE) -> Lock:
    """The lock in a file. PodwireError for what is none."""
    try:
        document = json.loads(path.read_text())
        found = document.get("format")
        words = f"format {found}"
        if found == FORMAT:
            lock = _lock(document)
            if not (words := _lacks(lock)):
                return lock
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        words = f"{type(error).__name__}: {error}"
    raise PodwireError(
        Problem(str(path), words, f"a lock of format {FORMAT}",
                "git checkout it, or make virtual-lock")
    )  # fmt: skip


def _lock(document: Mapping[str, Any]) -> Lock:
    packages = tuple(
        Package(**{**one, "roles": tuple(one["roles"])}) for one in document["packages"]
    )
    return Lock(str(document["taken"]), packages, tuple(Wheel(**w) for w in document["wheels"]))


def _lacks(lock: Lock) -> str:
    """What is wrong with a lock whose grammar is right; empty where nothing is."""
    for package in lock.packages:
        if not package.roles or not set(package.roles) <= set(ROLES):
            return f"{package.name} with roles {list(package.roles)}"
    for name, sha256 in (
        *((one.name, one.sha256) for one in lock.packages),
        *((one.requirement, one.sha256) for one in lock.wheels),
    ):
        if not _SHA256.fullmatch(sha256):
            return f"{name} with sha256 {sha256!r}"
    for role, name in _NEEDED.items():
        found = [one.name for one in lock.of(role) if one.name.startswith(name)]
        if len(found) != 1:
            return f"{len(found)} packages {name} for role {role}"
    return ""


def text(lock: Lock) -> str:
    """The lock as it stands in its file, a line for each package."""
    rows = {
        name: ",\n  ".join(json.dumps(one._asdict()) for one in found)
        for name, found in (("packages", lock.packages), ("wheels", lock.wheels))
    }
    body = "".join(f',\n "{name}": [\n  {found}\n ]' for name, found in rows.items())
    return f'{{"format": {FORMAT}, "taken": "{lock.taken}"{body}\n}}\n'
