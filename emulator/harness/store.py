"""The folder of a run: written once, appended to, readable at every moment.

``samples.jsonl`` is the record: one line for each sample, a whole cell in one write, on the disk
before the next cell begins.  ``manifest.json`` says which blocks are complete; it is replaced in
one step.  A ``kill -9`` therefore leaves every finished cell, and at worst half a line at the
end.  docs/results-format.md describes the files.

Longer than 300 lines, because what writes the format and what reads it stay side by side.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from emulator.errors import PodwireError, Problem
from emulator.harness.experiment import Condition, Description
from emulator.measure.sample import Sample

FORMAT = 1
PACK_FROM_B = 4096
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Row(NamedTuple):
    """One line of samples.jsonl. ``excluded`` is the name of the exclusion that applied.

    ``status`` is measured, failed or unsupported; lines of older runs are without.
    """

    block: int
    attempt: int
    phase: str
    cell: int
    condition: str
    arm: str
    factors: Mapping[str, Any]
    metric: str
    value: float | None
    unit: str
    failure: str
    excluded: str
    started: str
    detail: Mapping[str, Any]
    status: str = ""

    @property
    def unsupported(self) -> bool:
        """Whether nothing was tried, for lack of what ``failure`` names."""
        return self.status == "unsupported"


class StoredRun(NamedTuple):
    """A run as read from its folder; ``notes`` names what was damaged."""

    folder: Path
    manifest: dict[str, Any]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def complete(self) -> tuple[Row, ...]:
        """The rows of measured (not warm-up) blocks that came to their end."""
        whole = {
            (block["block"], block["attempt"])
            for block in self.manifest["blocks"]
            if block["complete"] and block["phase"] == "measure"
        }
        return tuple(row for row in self.rows if (row.block, row.attempt) in whole)


def read(folder: Path) -> StoredRun:
    """A run from its folder; PodwireError when it is none or cannot be understood.

    One that was made on several machines or benches is none: nothing may be pooled over them.
    """
    manifest = _read_manifest(folder)
    _of_one_machine(folder, manifest)
    rows, fragment = _read_rows(folder / "samples.jsonl")
    notes = [*manifest["notes"]]
    if fragment:
        notes.append(f"samples.jsonl: the last line is cut off ({len(fragment)} bytes), left out")
    return StoredRun(folder, manifest, tuple(rows), tuple(notes))


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise PodwireError(
            Problem(str(folder), "no manifest.json", "the folder of a run",
                    "runs are results/<experiment>/<run>")
        ) from None  # fmt: skip
    except (OSError, ValueError) as error:
        raise PodwireError(Problem(str(path), str(error), "a manifest")) from error
    if manifest.get("format") != FORMAT:
        raise PodwireError(
            Problem(str(path), f"format {manifest.get('format')}", f"format {FORMAT}",
                    "read it with the version of Podwire that wrote it")
        )  # fmt: skip
    return manifest


def _of_one_machine(folder: Path, manifest: Mapping[str, Any]) -> None:
    own = manifest.get("fingerprint_hash")
    for number, session in enumerate(manifest["sessions"], 1):
        other = session.get("fingerprint_hash", own)
        if other != own:
            raise PodwireError(
                Problem(f"{folder}/manifest.json", f"session {number} of fingerprint {other}",
                        f"{own}, as the run", "results of machines and benches never mix")
            )  # fmt: skip


def _read_rows(path: Path) -> tuple[list[Row], bytes]:
    """All rows, and the half line that an interrupted write left at the end."""
    if not path.exists():
        return [], b""
    *lines, fragment = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise PodwireError(
                Problem(f"{path}:{number}", f"a line that is no sample ({error})", "one sample")
            ) from error
    return rows, fragment


class Store:
    """The writing end of one run's folder. Every method: PodwireError when the disk is full."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with full_disk(folder):
            self._samples = os.open(folder / "samples.jsonl", flags, 0o644)

    @classmethod
    def create(
        cls, results: Path, name: str, manifest: Mapping[str, Any],
        described: Mapping[str, Description],
    ) -> Store:  # fmt: skip
        """A new run ``results/<experiment>/<name>``; PodwireError when it exists."""
        folder = results / manifest["experiment"] / name
        with full_disk(folder):
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                raise PodwireError(
                    Problem(str(folder), describe(folder), "a new name",
                            "continue an interrupted run with --resume, or choose another name")
                ) from None  # fmt: skip
            (folder / "raw" / "specs").mkdir(parents=True)
            (folder / "figures").mkdir()
            for condition, text in described.items():
                (folder / "raw" / "specs" / f"{condition}.yaml").write_text(text.spec)
            specs = {condition: text.spec for condition, text in described.items()}
            plans = {condition: text.plan for condition, text in described.items()}
            (folder / "spec.yaml").write_text(_merged(specs, "---\n"))
            (folder / "plan.txt").write_text(_merged(plans, ""))
        document = {
            **manifest, "format": FORMAT, "run": name, **digests(described),
            "blocks": [], "discarded": [], "sessions": [], "notes": [],
        }  # fmt: skip
        store = cls(folder, document)
        store.save()
        return store

    @classmethod
    def reopen(cls, folder: Path) -> Store:
        """Go on with a run: a half line goes to raw/, unfinished blocks are marked discarded."""
        manifest = _read_manifest(folder)
        path = folder / "samples.jsonl"
        _, fragment = _read_rows(path)
        with full_disk(folder):
            if fragment:
                kept = folder / "raw" / f"cut-off-line-{len(manifest['sessions'])}.txt"
                kept.write_bytes(fragment)
                os.truncate(path, path.stat().st_size - len(fragment))
                manifest["notes"].append(
                    f"samples.jsonl: a cut-off last line was moved to raw/{kept.name}"
                )
        store = cls(folder, manifest)
        store.discard_unfinished()
        store.save()
        return store

    def discard_unfinished(self) -> None:
        """List the blocks that did not come to their end under ``discarded`` (not yet saved)."""
        known = {(one["block"], one["attempt"]) for one in self.manifest["discarded"]}
        for block in self.manifest["blocks"]:
            where = (block["block"], block["attempt"])
            if not block["complete"] and where not in known:
                rows, _ = _read_rows(self.folder / "samples.jsonl")
                count = sum((row.block, row.attempt) == where for row in rows)
                self.manifest["discarded"].append(
                    {"block": where[0], "attempt": where[1], "samples": count,
                     "why": "the run ended inside this block"}
                )  # fmt: skip

    def append(
        self, block: int, attempt: int, phase: str, cell: int, condition: Condition,
        started: str, samples: Sequence[Sample], excluded: str = "",
    ) -> None:  # fmt: skip
        """The samples of one cell; they are on the disk on return, all of them or none."""
        lines = b"".join(
            json.dumps(
                Row(block, attempt, phase, cell, condition.name, condition.arm,
                    dict(condition.factors), sample.metric, sample.value, sample.unit,
                    sample.failure, excluded, started, dict(sample.detail),
                    sample.status)._asdict(),
                allow_nan=False,
            ).encode() + b"\n"
            for sample in samples
        )  # fmt: skip
        with full_disk(self.folder):
            before = os.fstat(self._samples).st_size
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[os.write(self._samples, rest) :]
                os.fsync(self._samples)
            except OSError:
                os.ftruncate(self._samples, before)
                raise

    def keep_raw(
        self, block: int, attempt: int, condition: Condition, raw: Mapping[str, bytes]
    ) -> None:
        """The outputs of the tools of one cell, as ``raw/block-003/<condition>/<name>``.

        A name that the cell has already used gets a number.  What is larger than a page is
        packed, as ``<name>.gz``: the single times of a latency tool are most of a run's bytes.
        """
        again = f"-attempt-{attempt}" if attempt > 1 else ""
        folder = self.folder / "raw" / f"block-{block:03d}{again}" / condition.name
        with full_disk(self.folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in raw.items():
                wanted = Path(name.replace("/", "-"))
                packed = ".gz" if len(content) > PACK_FROM_B else ""
                path, number = folder / f"{wanted}{packed}", 1
                while path.exists():
                    number += 1
                    path = folder / f"{wanted.stem}-{number}{wanted.suffix}{packed}"
                path.write_bytes(gzip.compress(content, mtime=0) if packed else content)

    def save(self) -> None:
        """Replace manifest.json by ``self.manifest``, in one step."""
        with full_disk(self.folder):
            replace(self.folder / "manifest.json", as_text(self.manifest))

    def summarise(self, summary: Mapping[str, Any]) -> None:
        """Replace summary.json and let ``latest`` point here."""
        with full_disk(self.folder):
            replace(self.folder / "summary.json", as_text(summary))
            link = self.folder.parent / f".latest-{os.getpid()}"
            link.unlink(missing_ok=True)
            link.symlink_to(self.folder.name)
            link.replace(self.folder.parent / "latest")

    def close(self) -> None:
        """No more samples."""
        os.close(self._samples)


def renew_summary(folder: Path, summary: Mapping[str, Any]) -> bool:
    """Write summary.json of a run unless it says the same; whether it was written."""
    path, text = folder / "summary.json", as_text(summary)
    if path.is_file() and path.read_text() == text:
        return False
    with full_disk(folder):
        replace(path, text)
    return True


def runs(results: Path, experiment: str) -> list[Path]:
    """The folders of all runs of an experiment that can be understood, oldest first."""
    folder = results / experiment
    found = []
    for one in folder.iterdir() if folder.is_dir() else ():
        if not one.is_symlink():
            with contextlib.suppress(PodwireError):
                found.append((_read_manifest(one)["started"], one.name, one))
    return [one for _, _, one in sorted(found)]


def unfinished(results: Path, experiment: str) -> Path | None:
    """The newest run that is not complete."""
    for folder in reversed(runs(results, experiment)):
        if _read_manifest(folder)["status"] != "complete":
            return folder
    return None


def describe(folder: Path) -> str:
    """What is there, in words: ``an interrupted run with 5 complete blocks, started …``."""
    if not (folder / "manifest.json").is_file():
        return "a folder that is no run"
    manifest = _read_manifest(folder)
    whole = sum(one["complete"] and one["phase"] == "measure" for one in manifest["blocks"])
    status = {"running": "unfinished"}.get(manifest["status"], manifest["status"])
    article = "an" if status[0] in "aeiou" else "a"
    return f"{article} {status} run with {whole} complete blocks, started {manifest['started']}"


def now() -> str:
    """The time as ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_name(results: Path, experiment: str) -> str:
    """A free name for a run: the time in UTC, such as ``20261120-061530``."""
    stem = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name, number = stem, 1
    while (results / experiment / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left" into an error that says what to do; pass on everything else."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise PodwireError(
            Problem(str(folder), f"no room to write ({error.strerror})", "space for the results",
                    "free some space, then continue with --resume; all finished samples are intact")
        ) from error  # fmt: skip


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader (or a crash) sees the old text or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def as_text(document: Mapping[str, Any]) -> str:
    """JSON that is read and compared by eye; ValueError for a number that is not finite."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def digests(described: Mapping[str, Description]) -> dict[str, dict[str, str]]:
    """SHA-256 of each condition's spec and plan, under ``specs`` and ``plans``."""
    return {
        "specs": {name: _sha256(text.spec) for name, text in described.items()},
        "plans": {name: _sha256(text.plan) for name, text in described.items()},
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _merged(texts: Mapping[str, str], separator: str) -> str:
    """Each different text once, under a comment that names its conditions."""
    owners: dict[str, list[str]] = {}
    for condition, text in texts.items():
        owners.setdefault(text, []).append(condition)
    parts = (
        f"{separator}# {', '.join(names)}\n{text.removeprefix('---').lstrip().rstrip()}\n"
        for text, names in owners.items()
    )
    return ("" if separator else "\n").join(parts)
