"""How alike two ways of building a network are shown to be.

A comparison is equivalent within a bound when its whole interval lies inside 1 -+ the bound: a
difference that was not found is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.harness.store import StoredRun
from emulator.report.statistics import TOO_FEW
from emulator.report.summary import summarise

BOUNDS = (0.03, 0.05)


def analyse(run: StoredRun) -> dict[str, Any]:
    """The usual summary with ``equivalence``: metric, factors, arms, ``within`` and a verdict.

    ``within`` is the smallest bound that holds the interval, None below six blocks.
    """
    summary = summarise(run)
    summary["equivalence"] = [
        {
            **{key: row[key] for key in ("metric", "treatment", "baseline", "factors")},
            **judged(row),
        }
        for row in summary["comparisons"]
    ]
    return summary


def judged(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """``within`` and ``verdict`` of one comparison."""
    if comparison["verdict"] == TOO_FEW:
        return {"within": None, "verdict": TOO_FEW}
    low, high = comparison["ci"]
    within = max(abs(1 - low), abs(high - 1))
    bound = next((one for one in BOUNDS if within <= one), None)
    if bound is not None:
        return {"within": within, "verdict": f"equivalent within {bound:.0%}"}
    verdict = "differs" if not low <= 1 <= high else "not shown to be equivalent"
    return {"within": within, "verdict": f"{verdict} (inside {within:.1%})"}


def report(summary: Mapping[str, Any]) -> str:
    """One line for each comparison of the two builders."""
    lines = ["equivalence (whole 95 % interval inside the bound):"]
    for row in summary["equivalence"]:
        factors = " ".join(f"{name}={value}" for name, value in row["factors"].items())
        pair = f"{row['treatment']} / {row['baseline']}"
        lines.append(f"  {row['metric']:<18} {pair:<14} {factors}: {row['verdict']}")
    return "\n".join(lines) + "\n"
