"""Attachments of a lab: made by ADD, undone by DEL, and written down before either.

The journal of a node lies in the node's own ``/var/lib/cni/results``. What stands there is what
this module observes: an attachment that is not whole is one that owes a DEL.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from emulator.conflist import chain
from emulator.conflist.chain import Run
from emulator.conflist.model import Conflist, parse
from emulator.conflist.records import Record
from emulator.conflist.requests import Target
from emulator.conflist.results import Result
from emulator.errors import PodwireError, Problem, Unsupported
from emulator.plan.resources import Attachment
from emulator.substrate.binaries import Binaries, Job, absent, find
from emulator.substrate.namespaces import Namespaces
from emulator.substrate.nodefiles import NodeFiles

MOST_TOLD = 3
"""One mistake in a conflist fails on every node."""


class Attacher:
    """The attachments of one lab."""

    def __init__(self, spaces: Namespaces) -> None:
        self._files = NodeFiles(spaces)
        self._binaries = Binaries(spaces.enter)
        self._sandboxes: Counter[str] = Counter()

    # --- what there is --------------------------------------------------------------

    def observe(self) -> dict[tuple[str, str, str], Attachment]:
        """Every attachment of every node, as its journal has it."""
        found = (_attachment(ns, record) for ns, record in self._files.journals())
        return {a.key: a for a in found}

    # --- changes --------------------------------------------------------------------

    def detach(self, attachments: Sequence[Attachment]) -> None:
        """DEL of each, also where nothing is attached; nodes in parallel.

        PodwireError: what failed is still owed.
        """
        kept = {(ns, r.pod, r.target.interface): r for ns, r in self._files.journals()}
        found = {a: kept.get((a.ns, a.pod, a.interface)) for a in attachments}
        spoken = self._spoken([a for a, record in found.items() if record is None])
        owed = {a: record or self._record(a, spoken[a]) for a, record in found.items()}
        self._drive(attachments, lambda ns, mine: self._delete_each(ns, [owed[a] for a in mine]))

    def attach(self, attachments: Sequence[Attachment]) -> None:
        """ADD of each: nodes in parallel, the pods of one node one after the other.

        One that fails is undone by DEL at once. PodwireError, Unsupported for a binary that
        is not there: then nothing was run.
        """
        spoken = self._spoken(attachments)

        def add_each(ns: str, mine: Sequence[Attachment]) -> Run[None]:
            for a in mine:
                yield from self._add(a, spoken[a])

        self._drive(attachments, add_each)

    def _spoken(self, attachments: Iterable[Attachment]) -> dict[Attachment, str]:
        """The version of each; asked once for each conflist. PodwireError."""
        found: dict[tuple[str, tuple[str, ...]], str] = {}
        spoken: dict[Attachment, str] = {}
        for a in attachments:
            asked = (a.conflist, a.path)
            if asked not in found:
                found[asked] = self.version(a)
            spoken[a] = found[asked]
        return spoken

    def _drive(
        self,
        attachments: Iterable[Attachment],
        chain_of: Callable[[str, Sequence[Attachment]], Run[Any]],
    ) -> None:
        nodes: dict[str, list[Attachment]] = {}
        for a in attachments:
            nodes.setdefault(a.ns, []).append(a)
        for ns, mine in nodes.items():
            self._files.show(ns, {folder for a in mine for folder in a.path})
        ended = self._binaries.drive(
            [
                Job(ns, chain_of(ns, mine), mine[0].path, mine[0].timeout_s)
                for ns, mine in nodes.items()
            ]
        )
        problems = [p for e in ended if isinstance(e, PodwireError) for p in e.problems]
        if problems:
            more = len(problems) - MOST_TOLD
            raise PodwireError(
                *problems[:MOST_TOLD], *([f"and {more} more like it"] if more > 0 else [])
            )

    def _add(self, a: Attachment, version: str) -> Run[None]:
        conflist = parse(a.conflist, _title(a.network))
        self._sandboxes[a.pod] += 1
        record = self._record(a, version)
        self._files.begin(a.ns, record)
        try:
            added = yield from chain.add(conflist, version, record.target, a.path, _where(a))
        except chain.PluginFailed as failed:
            try:
                yield from self._delete(a.ns, record, conflist)
            except chain.PluginFailed as again:
                raise PodwireError(*failed.problems, *again.problems) from failed
            raise
        record = record._replace(added=added)
        self._files.write(a.ns, record)
        _, complaints = yield from _check_each(a.ns, [record])
        if complaints:
            self._files.write(a.ns, record._replace(complaints=tuple(complaints)))

    def _delete_each(self, ns: str, owed: Sequence[Record]) -> Run[None]:
        problems: list[Problem | str] = []
        for record in owed:
            try:
                yield from self._delete(ns, record, parse(record.config, _title(record.network)))
            except chain.PluginFailed as failed:
                problems += failed.problems
        if problems:
            raise PodwireError(*problems)

    def _delete(self, ns: str, record: Record, conflist: Conflist) -> Run[None]:
        self._files.write(ns, record._replace(undoing=True))
        where = f"{ns}: pod {record.pod}"
        yield from chain.delete(
            conflist, record.version, record.target, record.path, where, record.added
        )
        self._files.end(ns, record)

    def forget(self, attachments: Iterable[Attachment]) -> None:
        """Strike attachments out without DEL: what their binaries have made is nobody's now."""
        kept = {_attachment(ns, record).key: record for ns, record in self._files.journals()}
        for a in attachments:
            self._files.end(a.ns, kept[a.key])

    # --- questions ------------------------------------------------------------------

    def version(self, a: Attachment) -> str:
        """The version to speak with the binaries of an attachment. PodwireError."""
        return self.versions(a)[1]

    def versions(self, a: Attachment) -> tuple[dict[str, tuple[str, ...]], str]:
        """What each binary of an attachment supports, and what is spoken. PodwireError."""
        conflist = parse(a.conflist, _title(a.network))
        _all_there(conflist, a)
        found = self._one(a, chain.supported(conflist, a.path, a.ns))
        return found, chain.choose(conflist, found, _title(a.network))

    def status(self, a: Attachment) -> bool:
        """STATUS on the node of an attachment; False where there is none. PodwireError."""
        conflist = parse(a.conflist, _title(a.network))
        return bool(self._one(a, chain.status(conflist, self.version(a), a.path, a.ns)))

    def collect(self, a: Attachment) -> bool:
        """GC on the node of an attachment, with all of the network that is attached there; False
        where there is none. PodwireError."""
        conflist = parse(a.conflist, _title(a.network))
        valid = [
            (r.target.container, r.target.interface)
            for r in self._files.journal(a.ns)
            if r.network == a.network
        ]
        return bool(self._one(a, chain.collect(conflist, self.version(a), a.path, a.ns, valid)))

    def _one(self, a: Attachment, run: Generator[Any, Any, Any]) -> Any:
        """Run one chain on the node of an attachment. PodwireError."""
        self._files.show(a.ns, a.path)
        (ended,) = self._binaries.drive([Job(a.ns, run, a.path, a.timeout_s)])
        if isinstance(ended, PodwireError):
            raise ended
        return ended

    def check(self, pods: Collection[str] | None = None) -> tuple[int, list[str]]:
        """CHECK of every attachment that has one, or of ``pods``: how many were asked, and who
        complained."""
        nodes: dict[str, list[Record]] = {}
        for ns, r in self._files.journals():
            if r.added and not r.undoing and (pods is None or r.pod in pods):
                nodes.setdefault(ns, []).append(r)
        jobs, said, asked = [], list[str](), 0
        for ns, mine in nodes.items():
            self._files.show(ns, {folder for r in mine for folder in r.path})
            jobs.append(Job(ns, _check_each(ns, mine), mine[0].path, mine[0].timeout_s))
        for count, words in self._binaries.drive(jobs):
            asked += count
            said += words
        return asked, said

    def complaints(self) -> list[str]:
        """What CHECK complained of right after ADD, when nobody else had changed anything."""
        return [words for _, record in self._files.journals() for words in record.complaints]

    def results(self) -> Iterator[tuple[Attachment, Result]]:
        """The result of each attachment that is whole."""
        for ns, record in self._files.journals():
            if record.added and not record.undoing:
                yield _attachment(ns, record), record.added

    def _record(self, a: Attachment, version: str) -> Record:
        """An attachment that is about to begin, or the last one of its pod."""
        target = Target(
            container_id(a.pod, self._sandboxes[a.pod]),
            f"/run/netns/{a.pod}",
            a.interface,
            a.args,
            json.loads(a.capabilities),
        )
        return Record(a.network, a.conflist, a.pod, a.path, a.timeout_s, version, target, None)


def container_id(pod: str, sandbox: int) -> str:
    """What a runtime would draw at random: 64 hex digits, other ones for each ``sandbox`` of a pod.

    Binaries name what they make after it, and what one attachment has left over must not meet
    the next one.
    """
    return hashlib.sha256(f"{pod} {sandbox}".encode()).hexdigest()


def _check_each(ns: str, mine: Sequence[Record]) -> Run[tuple[int, list[str]]]:
    asked, said = 0, list[str]()
    for r in mine:
        conflist, where = parse(r.config, _title(r.network)), f"{ns}: pod {r.pod}"
        assert r.added is not None
        try:
            asked += yield from chain.check(conflist, r.version, r.target, r.path, where, r.added)
        except chain.PluginFailed as failed:
            asked += 1
            said += map(str, failed.problems)
    return asked, said


def _attachment(ns: str, r: Record) -> Attachment:
    return Attachment(
        ns,
        r.pod,
        r.target.interface,
        r.network,
        r.config,
        r.path,
        r.target.args,
        json.dumps(dict(r.target.capabilities), sort_keys=True),
        int(r.timeout_s),
        r.added is not None and not r.undoing,
    )


def _title(network: str) -> str:
    """What a conflist is called in messages."""
    return f"conflist {network}"


def _where(a: Attachment) -> str:
    return f"{a.ns}: pod {a.pod}"


def _all_there(conflist: Conflist, a: Attachment) -> None:
    """Unsupported for what is missing of the binaries that a conflist names."""
    missing = [name for name in conflist.programs() if find(name, a.path) is None]
    if not missing:
        return
    known = sorted(
        {entry for folder in a.path if Path(folder).is_dir() for entry in os.listdir(folder)}
    )
    problems = []
    for name in missing:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        hint += "binDir says where else to look; sudo apt-get install containernetworking-plugins"
        problems.append(Problem(_title(conflist.name), absent(name, a.path), "the binary", hint))
    raise Unsupported(*problems)
