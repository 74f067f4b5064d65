"""Files as the kernel unpacks them at boot: cpio in its format ``newc``. Pure.

Nothing is in it but names, modes and contents, in the order of names: the same files are the same
bytes, whenever and by whomever they were written. (Documentation/driver-api/early-userspace/
buffer-format.rst of Linux.)
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_END = "TRAILER!!!"
_MAGIC = "070701"


class Entry(NamedTuple):
    """A file, a folder, or a link, whose ``content`` is what it points to; a mode as in stat(2)."""

    mode: int
    content: bytes = b""


FOLDER = Entry(stat.S_IFDIR | 0o755)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def file(content: bytes, *, executable: bool = False) -> Entry:
    """A file that everybody may read."""
    return Entry(stat.S_IFREG | (0o755 if executable else 0o644), content)


def pack(entries: Mapping[str, Entry]) -> Iterator[bytes]:
    """The archive, piece by piece. Names are relative to the root; folders that are only named in
    paths are made."""
    whole = dict(entries)
    for name in entries:
        while name := name.rpartition("/")[0]:
            whole.setdefault(name, FOLDER)
    for number, (name, entry) in enumerate(sorted(whole.items()), 1):
        yield from _member(number, name, entry)
    yield from _member(0, _END, Entry(0))


def _member(number: int, name: str, entry: Entry) -> Iterator[bytes]:
    named = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # inode, mode, owner, group, links, time, size, four device numbers, length of the name, sum
    numbers = (number, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, 0, 0, len(named), 0)
    head = _MAGIC.encode() + b"".join(b"%08X" % one for one in numbers) + named
    yield head + bytes(-len(head) % 4)
    yield entry.content + bytes(-len(entry.content) % 4)
