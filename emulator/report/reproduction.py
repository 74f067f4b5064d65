"""A stored run and the same run made again: which samples are the same, and which are not.

On bench ``virtual`` a run of the same image is the same to the byte. Of another image (another
version of the program, of its packages, of QEMU) the experiment's own metrics are the same within
a tolerance. What instruments tell beside them (how idle the machine was, the 999th of 1000 round
trips) hangs on single instants then, and is shown only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from emulator.harness.bench import Bench
from emulator.harness.store import Row, StoredRun
from emulator.report.table import Table

TOLERANCE = 0.02
"""By which a median may move between two images, unless an experiment says otherwise."""
_Key = tuple[int, str, str, int]
_OWN_WORDS = {"same": "same", "within": "differs, within", "beside": "differs, beside",
              "differs": "differs"}  # fmt: skip


class Line(NamedTuple):
    """One metric. ``same`` of ``samples`` have the same value, unit, failure and detail.

    ``moved``: how far the median of a condition moved at most, relative to the reference, and
    ``where``; ``allowed`` is 0 where nothing may differ at all, and None for what is only shown.
    ``lost``: samples that only one of the two runs has, or that have a value in one of them alone.
    """

    metric: str
    samples: int
    same: int
    moved: float
    where: str
    lost: int
    allowed: float | None

    @property
    def verdict(self) -> str:
        """``same``, ``within`` what is allowed, ``beside`` what is judged, or ``differs``."""
        if self.same == self.samples:
            return "same"
        if self.allowed is None:
            return "beside"
        if not self.allowed or self.lost or self.moved > self.allowed:
            return "differs"
        return "within"


class Reproduction(NamedTuple):
    """``image``: both runs are of the same image, hence to be identical."""

    experiment: str
    image: bool
    lines: tuple[Line, ...]

    @property
    def good(self) -> bool:
        """Whether nothing differs that may not."""
        return all(line.verdict != "differs" for line in self.lines)


def compare(
    reference: StoredRun,
    again: StoredRun,
    tolerances: Mapping[str, float] | None = None,
    *,
    medians: bool = False,
) -> Reproduction:
    """The two, metric by metric. ``tolerances``: shares by metric, for runs of two images, or with
    ``medians`` for any two."""
    image = _bench(reference) == _bench(again)
    before, now = _keyed(reference), _keyed(again)
    identity = image and not medians
    manifest, own = reference.manifest, tolerances or {}
    judged = {*(one["name"] for one in manifest["metrics"]), *manifest.get("counts", ()), *own}
    lines = []
    for metric in dict.fromkeys(key[2] for key in (*before, *now)):
        keys = [key for key in {**before, **now} if key[2] == metric]
        same = sum(key in before and key in now and _alike(before[key], now[key]) for key in keys)
        lost = sum((_value(before, key) is None) != (_value(now, key) is None) for key in keys)
        moved, where = max(
            (_moved(before, now, metric, one), one) for one in sorted({key[1] for key in keys})
        )
        share = own.get(metric, TOLERANCE) if metric in judged else None
        allowed = 0.0 if identity else share
        lines.append(Line(metric, len(keys), same, moved, where, lost, allowed))
    return Reproduction(reference.manifest["experiment"], image, tuple(lines))


def _bench(run: StoredRun) -> Bench:
    return Bench.of_fingerprint(run.manifest["fingerprint"])


def _keyed(run: StoredRun) -> dict[_Key, Row]:
    """Rows by block, condition, metric, and a number where a cell has several of one metric."""
    found: dict[_Key, Row] = {}
    for row in run.complete():
        number = 0
        while (key := (row.block, row.condition, row.metric, number)) in found:
            number += 1
        found[key] = row
    return found


def _alike(one: Row, other: Row) -> bool:
    """Whether all but the place in the run is the same."""
    return one._replace(cell=0, attempt=0) == other._replace(cell=0, attempt=0)


def _value(rows: Mapping[_Key, Row], key: _Key) -> float | None:
    return rows[key].value if key in rows else None


def _moved(
    before: Mapping[_Key, Row], now: Mapping[_Key, Row], metric: str, condition: str
) -> float:
    medians = []
    for rows in (before, now):
        values = [
            row.value for key, row in rows.items()
            if key[1:3] == (condition, metric) and row.value is not None
        ]  # fmt: skip
        if not values:
            return 0.0
        medians.append(median(values))
    first, second = medians
    if first == second:
        return 0.0
    return abs(second / first - 1) if first else float("inf")


def table(found: Sequence[Reproduction]) -> Table:
    """All lines of all experiments."""
    rows = [
        (
            one.experiment, line.metric, str(line.samples), str(line.same),
            f"{line.moved:.3%}" if line.moved else "0", line.where if line.moved else "",
            "" if line.allowed is None else f"{line.allowed:.1%}" if line.allowed else "nothing",
            _OWN_WORDS[line.verdict],
        )
        for one in found for line in one.lines
    ]  # fmt: skip
    headings = (
        "experiment", "metric", "samples", "same", "median moved", "most in", "allowed", "verdict",
    )  # fmt: skip
    right = frozenset({"samples", "same", "median moved", "allowed"})
    return Table(headings, tuple(rows), right)
