"""The loop of a run: for each block a cell for every condition, measured and stored.

Building and measuring never overlap.  Whatever ends the run (the last block, the precision
asked for, Ctrl-C, an error), the folder then holds a readable result over the complete blocks.
(Over 300 lines: the loop and what can end it belong to one state.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from emulator.errors import PodwireError, Problem, Unsupported
from emulator.harness import cell
from emulator.harness import fingerprint as fingerprints
from emulator.harness import settings as precision
from emulator.harness import store as stores
from emulator.harness.bench import NO_SPEED, Bench
from emulator.harness.cell import Cell, Cells
from emulator.harness.experiment import Condition, Experiment, block_seed
from emulator.harness.progress import Progress
from emulator.harness.settings import Settings
from emulator.harness.store import Store, StoredRun
from emulator.measure.sample import Sample

LabT = TypeVar("LabT")
Analyse = Callable[[StoredRun], Mapping[str, Any]]
"""A stored run to its summary document: ``emulator.report.summary.summarise``."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``status`` is complete, interrupted or failed; ``why`` one sentence."""

    folder: Path
    status: str
    why: str
    summary: Mapping[str, Any]


def run(
    experiment: Experiment[LabT],
    settings: Settings,
    results: Path,
    *,
    fingerprint: Mapping[str, Any],
    analyse: Analyse,
    stream: TextIO,
    resume: bool = False,
    name: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    ask: Callable[[], None] = lambda: None,
    cells: Cells | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run an experiment and store it under ``results/<experiment>/<run>``.

    The caller holds the lock (``harness.lock``) so that nothing else measures meanwhile.
    Ctrl-C ends it with status ``interrupted``; ``ask`` is called between cells and raises
    KeyboardInterrupt for a signal that went unheard.  An error (PodwireError of a lab, an
    instrument, a gate, a full disk) is raised after the partial result was stored as ``failed``.
    Unsupported, before anything is stored, when this bench can measure nothing of it.
    ``cells``: where cells are measured; by default here. ``progress``: a bar for several runs.
    """
    bench = Bench.of_fingerprint(fingerprint)
    bench.require(experiment.name, experiment.counts)
    if settings.precision is not None and not bench.has_speed:
        raise Unsupported(
            Problem("--precision", f"bench {bench.words()}: no speed is measured",
                    "ratios that become narrower with blocks", NO_SPEED)
        )  # fmt: skip
    lacking = {one.name: experiment.lacking(one) for one in experiment.matrix.conditions}
    if all(lacking.values()):
        raise Unsupported(
            *(Problem(f"condition {name}", why, "what it needs") for name, why in lacking.items())
        )
    if resume:
        store = _reopen(experiment, settings, results, fingerprint)
    else:
        store = _create(experiment, settings, results, fingerprint, name, stream)
    cells = cells or cell.here(experiment, bench, clock)
    return _Session(
        experiment, settings, store, analyse, stream, clock, ask, cells, lacking, bench, progress
    ).go()


def _create(
    experiment: Experiment[LabT], settings: Settings, results: Path,
    fingerprint: Mapping[str, Any], name: str | None, stream: TextIO,
) -> Store:  # fmt: skip
    left = stores.unfinished(results, experiment.name)
    if left and name is None and left == stores.runs(results, experiment.name)[-1]:
        stream.write(f"{left} holds {stores.describe(left)}; --resume would continue it\n")
    described = {one.name: experiment.describe(one) for one in experiment.matrix.conditions}
    manifest = {
        "experiment": experiment.name,
        "question": experiment.question,
        "status": "running",
        "why": "",
        "started": stores.now(),
        "ended": None,
        "measuring_share": None,
        "settings": settings.as_json(),
        "metrics": [metric._asdict() for metric in experiment.metrics],
        "counts": [metric._asdict() for metric in experiment.counts],
        "headline": list(experiment.headline),
        "pairs": [pair._asdict() for pair in experiment.matrix.pairs],
        "conditions": [
            {"name": one.name, "arm": one.arm, "factors": dict(one.factors)}
            for one in experiment.matrix.conditions
        ],
        "exclusions": [exclusion.name for exclusion in experiment.exclusions],
        "fingerprint": dict(fingerprint),
        "fingerprint_hash": fingerprints.identity(fingerprint),
    }
    return Store.create(
        results, name or stores.new_name(results, experiment.name), manifest, described
    )


def _reopen(
    experiment: Experiment[LabT], settings: Settings, results: Path,
    fingerprint: Mapping[str, Any],
) -> Store:  # fmt: skip
    folder = stores.unfinished(results, experiment.name)
    if folder is None:
        raise PodwireError(
            Problem(str(results / experiment.name), "no unfinished run", "one to continue",
                    "start a new run without --resume")
        )  # fmt: skip
    manifest = stores.read(folder).manifest
    conditions = sorted(one.name for one in experiment.matrix.conditions)
    before_bench = Bench.of_fingerprint(manifest["fingerprint"])
    if before_bench != (bench := Bench.of_fingerprint(fingerprint)):
        raise PodwireError(
            Problem(str(folder), f"bench {bench.words() or bench.bench}",
                    f"{before_bench.words() or before_bench.bench}, where it was begun",
                    "results of two benches never mix: start a new run without --resume")
        )  # fmt: skip
    changed = fingerprints.differences(manifest["fingerprint"], fingerprint)
    changed += fingerprints.differences(manifest["settings"], settings.as_json(), "settings.")
    before = sorted(one["name"] for one in manifest["conditions"])
    changed += fingerprints.differences({"conditions": before}, {"conditions": conditions})
    if not changed:
        described = {one.name: experiment.describe(one) for one in experiment.matrix.conditions}
        for kind, digests in stores.digests(described).items():
            changed += fingerprints.differences(manifest[kind], digests, f"{kind}.")
    if changed:
        raise PodwireError(
            Problem(str(folder), "; ".join(changed), "the machine and the settings that it had",
                    "start a new run without --resume; the old one stays readable")
        )  # fmt: skip
    return Store.reopen(folder)


class _Session(Generic[LabT]):
    """One stretch of a run, from a start or a resumption to its end."""

    def __init__(
        self, experiment: Experiment[LabT], settings: Settings, store: Store, analyse: Analyse,
        stream: TextIO, clock: Callable[[], float], ask: Callable[[], None], cells: Cells,
        lacking: Mapping[str, str], bench: Bench, progress: Progress | None,
    ) -> None:  # fmt: skip
        self._cells, self._lacking, self._bench = cells, lacking, bench
        self._experiment, self._settings, self._store = experiment, settings, store
        self._analyse, self._clock, self._ask = analyse, clock, ask
        self._blocks: list[dict[str, Any]] = store.manifest["blocks"]
        # the machine is cold again when a run is resumed: its warm-up comes again, too
        self._whole = {one["block"] for one in self._blocks if one["complete"] and one["block"]}
        self._cell = 1 + max((row.cell for row in stores.read(store.folder).rows), default=0)
        self._session: dict[str, Any] = {
            "started": stores.now(), "ended": None, "wall_s": 0.0, "measured_s": 0.0,
            "fingerprint_hash": store.manifest["fingerprint_hash"],
        }  # fmt: skip
        self._began = clock()
        self._looks = 0
        ahead = [block for block in self._numbers() if block not in self._whole]
        ahead_cells = len(ahead) * len(experiment.matrix.conditions)
        self._progress = progress or Progress(stream, ahead_cells, clock)

    def go(self) -> Outcome:
        """All blocks, then the end; see ``run``."""
        self._store.manifest.update(status="running")
        self._store.manifest["sessions"].append(self._session)
        self._store.save()
        try:
            return self._end("complete", self._all_blocks())
        except KeyboardInterrupt as signal:
            return self._end("interrupted", f"{str(signal) or 'Ctrl-C'} after {self._count()}")
        except Exception as error:
            self._end_after(error)
            raise
        finally:
            self._progress.close()
            self._store.close()

    def _numbers(self) -> range:
        return range(0 if self._settings.warm_up else 1, self._settings.last_block + 1)

    def _count(self) -> str:
        measured = len(self._whole - {0})
        return f"{measured} complete block{'' if measured == 1 else 's'}"

    def _all_blocks(self) -> str:
        """Run what is missing; says why it is enough."""
        settings = self._settings
        for block in self._numbers():
            if block in self._whole:
                continue
            if self._no_time_for_another():
                return self._reached(f"time budget of {settings.budget_s:g} s")
            if block > settings.fewest_blocks and self._precise():
                break
            self._block(block)
        return self._reached("" if self._precise() else f"limit of {settings.last_block} blocks")

    def _precise(self) -> bool:
        """Whether the headline intervals are narrow enough; every look is kept in the manifest."""
        target = self._settings.precision
        if target is None:
            return False
        looks = self._store.manifest.setdefault("looks", [])
        measured = len(self._whole - {0})
        if not looks or looks[-1]["blocks"] != measured:
            summary = self._analyse(stores.read(self._store.folder))
            found = precision.widths(summary, self._experiment.headline, self._experiment.matrix)
            looks.append(
                {"blocks": measured, "narrow": precision.narrow(found, target),
                 "widest": precision.widest(found)}
            )  # fmt: skip
        return bool(looks[-1]["narrow"])

    def _reached(self, limit: str) -> str:
        target = self._settings.precision
        if target is None:
            if len(self._whole - {0}) == self._settings.blocks:
                return f"all {self._count()}"
            return f"{limit}: stopped after {self._count()} of {self._settings.blocks}"
        self._precise()
        widest = self._store.manifest["looks"][-1]["widest"]
        if limit:
            return f"{limit} reached before ±{target:.1%}: widest {widest} after {self._count()}"
        return f"±{target:.1%} reached after {self._count()}: widest {widest}"

    def _no_time_for_another(self) -> bool:
        if self._settings.budget_s is None or not self._blocks:
            return False
        before = sum(one["wall_s"] for one in self._store.manifest["sessions"][:-1])
        spent = before + self._clock() - self._began
        longest = max((one["wall_s"] for one in self._blocks if one["complete"]), default=0.0)
        return bool(spent + longest > self._settings.budget_s)

    def _block(self, block: int) -> None:
        """Every condition once; the block counts only when the last one is stored."""
        order = self._experiment.matrix.order(self._settings.seed, block)
        attempt = 1 + sum(one["block"] == block for one in self._blocks)
        phase = "measure" if block else "warm-up"
        record: dict[str, Any] = {
            "block": block, "attempt": attempt, "phase": phase, "complete": False,
            "seed": block_seed(self._settings.seed, block), "order": [one.name for one in order],
            "started": stores.now(), "wall_s": 0.0, "measured_s": 0.0,
        }  # fmt: skip
        self._blocks.append(record)
        self._store.save()
        began = self._clock()
        title = f"block {block}/{self._settings.last_block}" if block else "warm-up"
        possible = [one for one in order if not self._lacking[one.name]]
        with closing(self._cells(record["seed"], possible)) as cells:
            for condition in order:
                self._progress.cell(title, condition.name)
                if self._lacking[condition.name]:
                    self._leave_out(record, condition)
                else:
                    self._keep(record, condition, next(cells))
                self._progress.done()
                self._ask()
        record.update(wall_s=self._clock() - began, complete=True)
        self._whole.add(block)
        self._account()
        self._store.save()
        self._progress.block(f"{title} in {record['wall_s']:.1f} s")

    def _keep(self, record: dict[str, Any], condition: Condition, done: Cell) -> None:
        """Store a cell; PodwireError when its lab was not what it claims."""
        block, attempt = record["block"], record["attempt"]
        excluded = "integrity" if done.problems else self._exclusion(condition, done.samples)
        self._store.append(
            block, attempt, record["phase"], self._cell, condition, done.started, done.samples,
            excluded,
        )  # fmt: skip
        self._cell += 1
        for files in done.raw:
            self._store.keep_raw(block, attempt, condition, files)
        if done.problems:
            raise PodwireError(*done.problems)
        record["measured_s"] += done.spent_s

    def _leave_out(self, record: dict[str, Any], condition: Condition) -> None:
        """Rows for a condition that this kernel or bench cannot carry."""
        why = self._lacking[condition.name]
        declared = (*self._experiment.counts, *self._experiment.metrics)
        rows = [Sample(one.name, None, one.unit, {}, why, supported=False) for one in declared]
        self._store.append(
            record["block"], record["attempt"], record["phase"], self._cell, condition,
            "", rows,
        )  # fmt: skip
        self._cell += 1

    def _exclusion(self, condition: Condition, samples: Sequence[Sample]) -> str:
        rules = self._experiment.exclusions
        return next((rule.name for rule in rules if rule.applies(condition, samples)), "")

    def _account(self) -> None:
        """Bring the times of this session and of the whole run up to now."""
        sessions = self._store.manifest["sessions"]
        self._session["wall_s"] = self._clock() - self._began
        self._session["ended"] = stores.now()
        self._session["measured_s"] = sum(
            one["measured_s"] for one in self._blocks
            if one["complete"] and one["phase"] == "measure"
        ) - sum(one["measured_s"] for one in sessions[:-1])  # fmt: skip
        wall = sum(one["wall_s"] for one in sessions)
        measured = sum(one["measured_s"] for one in sessions)
        share = measured / wall if wall and not self._bench.own_clock else None
        self._store.manifest["measuring_share"] = share

    def _end(self, status: str, why: str) -> Outcome:
        store = self._store
        store.discard_unfinished()
        store.manifest.update(status=status, why=why, ended=stores.now())
        self._account()
        store.save()
        store.summarise(summary := self._analyse(stores.read(store.folder)))
        self._progress.say(f"{status}: {why}")
        return Outcome(store.folder, status, why, summary)

    def _end_after(self, error: Exception) -> None:
        """Store what there is; a disk that is full stays full, and the first error counts."""
        words = str(error) if isinstance(error, PodwireError) else repr(error)
        try:
            self._end("failed", words)
        except Exception as second:
            self._progress.say(f"the partial result has no summary: {second}")
