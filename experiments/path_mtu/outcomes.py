"""From what the programs and the kernel's counters say to what became of a packet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Sample, failed, good
from experiments.path_mtu.situations import OUTCOMES

FRAGMENTS = "Ip.FragCreates"
LOST, REFUSED, IN_PIECES, WHOLE = range(len(OUTCOMES))


def parse(said: bytes) -> dict[str, Any]:
    """What a sender prints. MeasureFailed when it is anything else."""
    try:
        told: dict[str, Any] = json.loads(said)
        told["came_b"] = int(told["came_b"])
        return told
    except (ValueError, TypeError, KeyError) as error:
        raise MeasureFailed(f"a sender wrote {said[:80]!r}") from error


def cut_by(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Fragments made meanwhile, by place."""
    made = {place: after[place] - before[place] for place in before}
    return {place: count for place, count in made.items() if count}


def outcome(metric: str, told: Mapping[str, Any], sent_b: int, cut: Mapping[str, int]) -> Sample:
    """The sample: ``detail`` has the word, who cut it, who refused it and the MTU that was told.

    A stream that finds a smaller MTU out arrives whole: its segments have become smaller.
    """
    detail: dict[str, Any] = {"told": dict(told), "cut_by": dict(cut)}
    if told["came_b"] not in (0, sent_b):
        return failed(metric, f"{told['came_b']} B came of {sent_b} B", **detail)
    if told["came_b"]:
        value = IN_PIECES if cut else WHOLE
    elif told.get("refused"):
        value = REFUSED
        detail |= {"by": "sender" if told["at_once"] else "path", "mtu": told["mtu"]}
    else:
        value = LOST
    return good(metric, value, outcome=OUTCOMES[value], **detail)
