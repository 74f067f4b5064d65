"""The figures of fidelity, drawn from a stored run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.harness.store import StoredRun
from emulator.report import figure, plots, selection, style
from emulator.report.pairing import Paired
from experiments.fidelity.equivalence import analyse, report

__all__ = ["analyse", "draw", "report"]


def draw(
    run: StoredRun, summary: Mapping[str, Any], folder: Path, *, pgf: bool = False
) -> list[Path]:
    """One forest plot for each metric that has ratios; the files that were written."""
    found: list[Path] = []
    for metric in run.manifest["metrics"]:
        name, title = metric["name"], metric["title"]
        ratios = selection.ratios(run, summary, name, _label)
        if not ratios:
            continue
        drawn = plots.forest(ratios, f"ratio of {title}", summary["noise_floor"].get(name))
        text = figure.caption(
            f"Ratio of {title} between the same network built by Podwire and by plain commands, "
            "and between two built by plain commands; grey band: noise floor",
            run, summary, [name],
            counts=[len(one.points) for one in ratios], factors=selection.factors(run, name),
            marks="bars: 95 % bootstrap interval of the median ratio, dots: single blocks",
        )  # fmt: skip
        verdicts = "; ".join(
            f"{row['treatment']} / {row['baseline']} on {row['factors']['network']}: "
            f"{row['verdict']}"
            for row in summary["equivalence"] if row["metric"] == name
        )  # fmt: skip
        stem = f"ratio-{name.replace('_', '-')}"
        found += figure.save(
            drawn.figure, folder, stem, f"{text} Equivalence: {verdicts}.", drawn.rows, pgf=pgf
        )
    return found


def _label(pair: Paired) -> str:
    short = {"podwire": "Podwire", "ip": "by hand", "ip again": "by hand (A/A)"}
    names = " / ".join(short[one.arm] for one in (pair.treatment, pair.baseline))
    return f"{names}\n{style.look(pair.treatment.factors['network']).label}"
