"""The same rows as a terminal table, Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emulator.harness.bench import VIRTUAL
from emulator.harness.store import full_disk
from emulator.report.figure import as_csv
from emulator.report.statistics import FEWEST_BLOCKS, TOO_FEW


class Table(NamedTuple):
    """Text cells under headings; ``right`` names the headings of right-aligned columns.

    ``bench`` is where all of it was measured, empty for natively; every form says it.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str]
    bench: str = ""


_SCALES = {
    "bit/s": ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s")),
    "us": ((1e6, "s"), (1e3, "ms"), (1.0, "µs")),
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "1": ((1.0, ""),),
}


def ratios(summary: Mapping[str, Any]) -> Table:
    """The comparisons: ratio, interval (``…`` between the ends of a range), n, verdict."""
    rows = []
    for row in summary["comparisons"]:
        low, high = row["ci"]
        digits = _digits(high - low)
        between = " … " if row["verdict"] == TOO_FEW else ", "
        rows.append(
            (
                row["metric"],
                f"{row['treatment']} / {row['baseline']}",
                _factors(row["factors"]),
                f"{row['ratio']:.{digits}f}",
                f"[{low:.{digits}f}{between}{high:.{digits}f}]",
                str(row["n"]),
                row["verdict"],
            )
        )
    spread = _spread(summary)
    headings = ("metric", "ratio of", "factors", "ratio", spread, "n", "verdict")
    right = frozenset({"ratio", spread, "n"})
    return Table(headings, tuple(rows), right, summary["bench"])


def values(summary: Mapping[str, Any]) -> Table:
    """The absolute medians with their units and intervals (``…`` between the ends of a range).

    A metric that is unsupported everywhere for one reason is one row.
    """
    nowhere = _nowhere(summary)
    rows = [(one, "all", "all", f"unsupported: {why}", "", "", "") for one, why in nowhere.items()]
    for row in summary["cells"]:
        if row["metric"] in nowhere:
            continue
        where = (row["metric"], row["arm"], _factors(row["factors"]))
        if row["unsupported"]:
            rows.append((*where, f"unsupported: {row['unsupported']}", "", "", ""))
            continue
        if row["median"] is None:
            rows.append((*where, "–", "", row["unit"], "0"))
            continue
        low, high = row["ci"]
        scale, unit = _scale(row["median"], row["unit"])
        digits = _digits((high - low) / scale, abs(row["median"] / scale))
        between = " … " if row["n"] < FEWEST_BLOCKS else ", "
        rows.append(
            (
                *where,
                f"{row['median'] / scale:.{digits}f}",
                f"[{low / scale:.{digits}f}{between}{high / scale:.{digits}f}]",
                unit,
                str(row["n"]),
            )
        )
    spread = _spread(summary)
    headings = ("metric", "mode", "factors", "median", spread, "unit", "n")
    right = frozenset({"median", spread, "n"})
    return Table(headings, tuple(rows), right, summary["bench"])


def _spread(summary: Mapping[str, Any]) -> str:
    """What an interval over blocks is: on bench virtual nothing but their seeds differs."""
    return "seed spread" if summary["bench"].startswith(VIRTUAL) else "95 % interval"


def _nowhere(summary: Mapping[str, Any]) -> dict[str, str]:
    """Why, by metric, for those with several cells of which none is supported."""
    reasons: dict[str, list[str]] = {}
    for row in summary["cells"]:
        reasons.setdefault(row["metric"], []).append(row["unsupported"])
    return {
        metric: found[0]
        for metric, found in reasons.items()
        if len(found) > 1 and found[0] and len(set(found)) == 1
    }


def spread(cell: Mapping[str, Any], scale: float = 1.0) -> str:
    """``4.34 [4.10, 4.52]``: a cell of a summary, divided by ``scale``. ``failed`` for no value."""
    if cell["median"] is None:
        return "unsupported" if cell["unsupported"] else "failed"
    low, high = (end / scale for end in cell["ci"])
    median = cell["median"] / scale
    digits = _digits(high - low, abs(median))
    between = " … " if cell["n"] < FEWEST_BLOCKS else ", "
    return f"{median:.{digits}f} [{low:.{digits}f}{between}{high:.{digits}f}]"


def text(table: Table) -> str:
    """Aligned columns; repeated first cells are left blank, so that groups are seen.

    A cell that only empty ones follow may be as long as it likes.
    """
    widths = [len(heading) for heading in table.headings]
    for row in table.rows:
        filled = _filled(row)
        for at, cell in enumerate(row[: filled - (filled < len(row))]):
            widths[at] = max(widths[at], len(cell))
    lines = [_aligned(table, table.headings, widths), "  ".join("─" * width for width in widths)]
    before = ""
    for row in table.rows:
        lines.append(_aligned(table, ("" if row[0] == before else row[0], *row[1:]), widths))
        before = row[0]
    if table.bench:
        lines.append(f"bench: {table.bench}")
    return "\n".join(lines) + "\n"


def _aligned(table: Table, row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if heading in table.right else cell.ljust(width)
        for heading, cell, width in zip(table.headings, row, widths, strict=True)
    )
    return "  ".join(cells).rstrip()


def markdown(table: Table) -> str:
    """A pipe table."""
    rule = ("---:" if heading in table.right else "---" for heading in table.headings)
    rows = ([cell.replace("|", "&#124;") for cell in row] for row in table.rows)
    lines = "".join(f"| {' | '.join(row)} |\n" for row in (table.headings, rule, *rows))
    return lines + (f"\nBench: {table.bench}.\n" if table.bench else "")


def csv(table: Table) -> str:
    """Comma-separated, the text of the cells; the bench as one column more."""
    bench = {"bench": table.bench} if table.bench else {}
    return as_csv([dict(zip(table.headings, row, strict=True)) | bench for row in table.rows])


def latex(table: Table) -> str:
    """A ``tabular`` for the package booktabs; a cell spans the empty ones that end its row."""
    columns = "".join("r" if heading in table.right else "l" for heading in table.headings)
    body = "".join(f"{' & '.join(_spanning(row))} \\\\\n" for row in table.rows)
    head = " & ".join(map(_escaped, table.headings))
    if table.bench:
        width = len(table.headings)
        body += f"\\midrule\n\\multicolumn{{{width}}}{{l}}{{Bench: {_escaped(table.bench)}}} \\\\\n"
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}"
        "\\bottomrule\n\\end{tabular}\n"
    )


def _filled(row: Sequence[str]) -> int:
    """How many cells there are without the empty ones at the end."""
    return max((at for at, cell in enumerate(row, 1) if cell), default=len(row))


def _spanning(row: Sequence[str]) -> list[str]:
    filled = _filled(row)
    cells = [_escaped(cell) for cell in row[:filled]]
    if filled < len(row):
        cells[-1] = f"\\multicolumn{{{len(row) - filled + 1}}}{{l}}{{{cells[-1]}}}"
    return cells


def save(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``ratios`` and ``values`` as .md, .csv and .tex; the files, none for an empty table."""
    tables = (("ratios", ratios(summary)), ("values", values(summary)))
    return [path for name, table in tables for path in write(table, folder, name)]


def write(table: Table, folder: Path, name: str) -> list[Path]:
    """A table as .md, .csv and .tex; the files, none where it is empty."""
    files = []
    with full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, form in (("md", markdown), ("csv", csv), ("tex", latex)):
            if table.rows:
                files.append(folder / f"{name}.{suffix}")
                files[-1].write_text(form(table))
    return files


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
        "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "µ": r"$\mu$", "×": r"$\times$", "…": r"\ldots{}", "–": "--",
    }
)  # fmt: skip


def _escaped(cell: str) -> str:
    return cell.translate(_LATEX)


def _factors(factors: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in factors.items())


def _scale(value: float, unit: str) -> tuple[float, str]:
    steps = _SCALES.get(unit, ((1.0, unit),))
    return next((step for step in steps if abs(value) >= step[0]), steps[-1])


def _digits(width: float, size: float = 1.0) -> int:
    """Decimals so that the interval's width has about two digits, 0 to 4."""
    spread = width if width > 0 else size / 100
    if spread <= 0:
        return 2
    digits = 1
    while digits < 4 and spread * 10**digits < 10:
        digits += 1
    return digits if spread < 10 else 0
