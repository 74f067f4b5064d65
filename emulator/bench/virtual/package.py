"""Debian's packages, read without dpkg: what they install, and nothing that they would run. Pure.

A ``.deb`` is an ar archive of three members, the last of which is a tar archive of the files
(deb(5)).
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator

from emulator.bench.virtual.archive import Entry
from emulator.errors import PodwireError, Problem

_AR = b"!<arch>\n"
_HEAD_B = 60
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders of the root that are links into ``usr``, whatever a package says."""


def files(name: str, content: bytes) -> Iterator[tuple[str, Entry]]:
    """Names and entries of what a package installs, below ``usr`` where ``/bin`` and its like are
    meant. PodwireError for what is no package. A hard link is one file more."""
    members = {one.partition(".tar")[0]: data for one, data in _members(name, content)}
    if "data" not in members:
        raise _damaged(name, "no data.tar")
    try:
        with tarfile.open(fileobj=io.BytesIO(members["data"])) as tar:
            for one in tar:
                if entry := _entry(tar, one):
                    yield _merged(one.name), entry
    except (tarfile.TarError, EOFError, OSError) as error:
        raise _damaged(name, str(error)) from error


def _members(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    if not content.startswith(_AR):
        raise _damaged(name, "no ar archive")
    at = len(_AR)
    while at + _HEAD_B <= len(content):
        head = content[at : at + _HEAD_B]
        size = head[48:58].strip()
        if head[58:60] != b"`\n" or not size.isdigit():
            raise _damaged(name, f"no member at byte {at}")
        at += _HEAD_B
        yield head[:16].decode(errors="replace").strip().rstrip("/"), content[at : at + int(size)]
        at += int(size) + int(size) % 2


def _entry(tar: tarfile.TarFile, one: tarfile.TarInfo) -> Entry | None:
    if one.isdir():
        return Entry(stat.S_IFDIR | 0o755)
    if one.issym():
        return Entry(stat.S_IFLNK | 0o777, one.linkname.encode())
    read = tar.extractfile(one) if one.isfile() or one.islnk() else None
    if read is None:  # devices are made by the kernel
        return None
    return Entry(stat.S_IFREG | (one.mode & 0o755), read.read())


def _merged(name: str) -> str:
    path = name.removeprefix("./").strip("/")
    return f"usr/{path}" if path.partition("/")[0] in _MERGED else path


def _damaged(name: str, found: str) -> PodwireError:
    return PodwireError(Problem(name, found, "a package of Debian's", "remove it from the cache"))
