"""What became of the packets, in words: one line for each mode and situation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from emulator.harness.store import Row, StoredRun
from emulator.report.summary import summarise
from emulator.report.table import Table
from experiments.path_mtu.situations import PROBES, SITUATIONS
from experiments.two_nodes.modes import MODES, PLACES, TWIN


class Outcome(NamedTuple):
    """``word``: lost, refused, in pieces, whole, failed or unsupported; ``more``: by whom, of
    which MTU, or why."""

    word: str
    more: str = ""


def analyse(run: StoredRun) -> dict[str, Any]:
    """The summary, with ``outcomes``: a row for each mode, situation and probe."""
    rows = [
        {"arm": row.arm, "situation": row.factors["situation"], "metric": row.metric,
         **_outcome(row)._asdict()}
        for row in run.complete()
        if row.metric in PROBES and not row.excluded
    ]  # fmt: skip
    return {**summarise(run), "outcomes": rows}


def _outcome(row: Row) -> Outcome:
    if row.value is None:
        return Outcome("unsupported" if row.unsupported else "failed", row.failure)
    word, told = str(row.detail["outcome"]), row.detail["told"]
    if word == "refused":
        return Outcome(word, f"{row.detail['mtu']} by {row.detail['by']}")
    if word == "in pieces":
        return Outcome(word, "by " + ", ".join(row.detail["cut_by"]))
    if word == "whole" and "mss" in told:
        return Outcome(word, f"MSS {told['mss']}")
    return Outcome(word)


def outcomes(summary: Mapping[str, Any]) -> Table:
    """The table; the last block's word where several differ, which none should."""
    found = {
        (one["arm"], one["situation"], one["metric"]): Outcome(one["word"], one["more"])
        for one in summary["outcomes"]
    }
    lines = []
    for arm, mode in MODES.items():
        way = mode.at(PLACES[1])
        if isinstance(way, str) and found and arm != TWIN:
            lines.append((mode.title, f"unsupported: {way}", *[""] * len(PROBES)))
        for situation, what in SITUATIONS.items():
            mine = [found.get((arm, situation, metric)) for metric in PROBES]
            if not any(mine):
                continue
            if all(one and one.word == "unsupported" for one in mine):
                why = next(one.more for one in mine if one)
                lines.append((mode.title, f"unsupported: {why}", *[""] * len(PROBES)))
                break
            lines.append((mode.title, what.title, *map(_words, mine)))
    return Table(("mode", "situation", *PROBES.values()), tuple(lines), frozenset(),
                 summary["bench"])  # fmt: skip


def _words(one: Outcome | None) -> str:
    if one is None:
        return "–"
    return f"{one.word} ({one.more})" if one.more else one.word
