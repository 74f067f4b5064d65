"""A figure on disk: vector, preview, caption and numbers, the same bytes for the same numbers."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from emulator.errors import Problem, Unsupported
from emulator.harness.bench import LIMITS, Bench
from emulator.harness.store import StoredRun, full_disk
from emulator.report import style
from emulator.report.statistics import FEWEST_BLOCKS


def save(
    figure: Figure,
    folder: Path,
    name: str,
    caption: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    pgf: bool = False,
) -> list[Path]:
    """Write ``name`` as .pdf, .png (300 dpi), .txt (the caption) and .csv (the plotted numbers).

    ``pgf`` adds .pgf for LaTeX, which measures its text with LaTeX: Unsupported without XeLaTeX.
    Returns the files.  No file holds a date.
    """
    if pgf and not shutil.which("xelatex"):
        raise Unsupported(
            Problem(f"figure {name}", "no xelatex", "LaTeX, which sets the text of a PGF figure",
                    "apt install texlive-xetex, or use the PDF")
        )  # fmt: skip
    files = {suffix: folder / f"{name}.{suffix}" for suffix in ("pdf", "png", "txt", "csv")}
    with full_disk(folder), style.thesis():
        folder.mkdir(parents=True, exist_ok=True)
        dateless = {"Creator": "Podwire", "Producer": None, "CreationDate": None}
        figure.savefig(files["pdf"], metadata=dateless)
        figure.savefig(files["png"], dpi=style.PREVIEW_DPI, metadata={"Software": None})
        files["txt"].write_text(caption.rstrip() + "\n")
        files["csv"].write_text(as_csv(rows))
        if pgf:
            files["pgf"] = folder / f"{name}.pgf"
            figure.savefig(files["pgf"])
    return list(files.values())


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; the columns are those of all rows in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def caption(
    sentence: str,
    run: StoredRun,
    summary: Mapping[str, Any],
    metrics: Sequence[str],
    *,
    counts: Sequence[int],
    factors: Sequence[Mapping[str, Any]],
    marks: str = "error bars: 95 % bootstrap interval of the median over blocks",
) -> str:
    """What is to be known about a figure of one run, with ``sentence`` (what is shown) first.

    It names n (``counts``: the blocks behind each thing that is drawn), the error bars, the noise
    floor of ``metrics``, MTU and offload (those in ``factors``, one for each condition that is
    drawn), kernel, machine, and the run itself.
    """
    manifest = run.manifest
    fingerprint = manifest["fingerprint"]
    few, many = min(counts, default=0), max(counts, default=0)
    blocks = str(few) if few == many else f"{few} to {many}"
    parts = [f"{sentence.rstrip('.')}.", f"n = {blocks} block{'s' * (blocks != '1')}; {marks}."]
    if few < FEWEST_BLOCKS and "interval" in marks:
        parts.append(f"Below {FEWEST_BLOCKS} blocks the bars are the range, not an interval.")
    if manifest["settings"]["precision"] is not None:
        parts.append("The run was stopped by its precision: the intervals cover about 93 %.")
    floors = [
        f"{metric} {percent(summary['noise_floor'][metric])}"
        for metric in metrics if metric in summary["noise_floor"]
    ]  # fmt: skip
    parts.append(f"Noise floor (95th percentile of |ln A1/A2|): {', '.join(floors) or 'none'}.")
    for factor, title in (("offload", "Offload"), ("mtu", "MTU")):
        values = {one[factor] for one in factors if factor in one}
        if values:
            parts.append(f"{title}: {', '.join(map(str, sorted(values)))}.")
    parts.append(
        f"Linux {fingerprint['kernel']}, {fingerprint['cpu_count']} × {fingerprint['cpu_model']}"
        f" (virtualisation: {fingerprint['virtualisation']})."
    )
    if summary["bench"]:
        parts.append(f"Bench: {summary['bench']}.")
    if Bench.of_fingerprint(fingerprint).own_clock:
        parts.append(LIMITS)
    if manifest["status"] != "complete":
        parts.append(f"The run is {manifest['status']}: {manifest['why'] or 'not ended'}.")
    parts.append(
        f"Run {manifest['experiment']}/{manifest['run']}, "
        f"fingerprint {manifest['fingerprint_hash']}."
    )
    return " ".join(parts)


def percent(floor: float) -> str:
    """A noise floor, which is a natural logarithm, as the change that it stands for."""
    return f"{math.expm1(floor):.1%}"
