"""What CNI finds in a node's own files: the journal, names of pods' namespaces, the binaries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from emulator.conflist import records
from emulator.conflist.records import Record
from emulator.substrate import libc
from emulator.substrate.namespaces import Namespaces
from emulator.substrate.sandbox import OWN


class NodeFiles:
    """The files of all nodes of one lab, from outside."""

    def __init__(self, spaces: Namespaces) -> None:
        self._spaces = spaces

    def journal(self, ns: str) -> list[Record]:
        """What was begun on a node and not undone, by name."""
        folder = self._spaces.file(ns, records.FOLDER)
        if not folder.is_dir():
            return []
        found = (records.read(path.read_text()) for path in sorted(folder.iterdir()))
        return [record for record in found if record]

    def journals(self) -> Iterator[tuple[str, Record]]:
        """The journals of all nodes."""
        for ns in self._spaces.fds:
            for record in self.journal(ns):
                yield ns, record

    def begin(self, ns: str, record: Record) -> None:
        """Write down an attachment that begins; its pod's namespace gets a name on the node, as
        `ip netns` there shows it."""
        link = self._spaces.file(ns, record.target.netns)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.readlink(self._spaces.names / record.pod))
        self.write(ns, record)

    def write(self, ns: str, record: Record) -> None:
        """Write an attachment down, whole or not at all."""
        file = self._file(ns, record)
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}")
        new.write_text(record.text())
        new.rename(file)

    def end(self, ns: str, record: Record) -> None:
        """Strike it out."""
        self._file(ns, record).unlink(missing_ok=True)
        self._spaces.file(ns, record.target.netns).unlink(missing_ok=True)

    def show(self, ns: str, folders: Iterable[str]) -> None:
        """Let a node see folders of binaries that lie where it has files of its own."""
        for folder in folders:
            there = self._spaces.file(ns, folder)
            if not folder.startswith(tuple(f"{own}/" for own in OWN)) or os.path.ismount(there):
                continue
            if Path(folder).is_dir():
                there.mkdir(parents=True, exist_ok=True)
                libc.mount(folder, str(there), "", libc.MS_BIND)
                # a node that goes takes its files with it, and these are the user's
                libc.make_read_only(str(there))

    def _file(self, ns: str, record: Record) -> Path:
        return self._spaces.file(ns, f"{records.FOLDER}/{record.name}")
