"""``python -m experiments.links``: every feature of a link against theory, as a table.

Exit code 0 when all hold, 1 when one does not, 3 when the kernel lacks one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from emulator.cluster import Cluster
from emulator.errors import Unsupported
from emulator.spec import load
from emulator.spec.medium import Ends as Asked
from emulator.spec.resolved import ResolvedSpec
from experiments.links.features import FEATURES, Feature, Row, bare_us
from experiments.links.flow import Ends
from experiments.links.rejected import rejected

TOPOLOGY = Path(__file__).with_name("topology.yaml")
HEAD = ("feature", "asked", "quantity", "theory", "measured", "between", "verdict")


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.links", description=__doc__)
    names = tuple(dict.fromkeys(one.name for one in FEATURES))
    parser.add_argument("--only", action="append", choices=names, help="only these features")
    parser.add_argument(
        "--rejected", action="store_true", help="what of netem is not offered, and why"
    )
    given = parser.parse_args(arguments)
    spec = load(TOPOLOGY)
    with Cluster(spec, f"links-{os.getpid()}") as cluster:
        ends = Ends(cluster, "n1", "n2")
        base_us = bare_us(ends)
        _show(HEAD)
        if given.rejected:
            for row in rejected(cluster, ends, base_us):
                _show(row)
            return 0
        verdicts = {
            verdict
            for feature in FEATURES
            if given.only is None or feature.name in given.only
            for verdict in _table(cluster, spec, feature, ends, base_us)
        }
    return 1 if "MISSED" in verdicts else 3 if "not here" in verdicts else 0


def _table(
    cluster: Cluster, spec: ResolvedSpec, feature: Feature, ends: Ends, base_us: float
) -> list[str]:
    """The feature's rows, printed; the verdicts. What misses is looked at once again: of a hundred
    that are right one misses."""
    try:
        cluster.apply(_with(spec, feature.ends))
    except Unsupported as error:
        _show((feature.name, feature.asked, "", "", "", str(error.problems[0]), "not here"))
        return ["not here"]
    rows = list(feature.measure(ends, base_us))
    again = list(feature.measure(ends, base_us)) if not all(row.good for row in rows) else rows
    verdicts = []
    for row, second in zip(rows, again, strict=True):
        verdicts.append("holds" if row.good else _second(second))
        _show((feature.name, feature.asked, *row[:4], verdicts[-1]))
    return verdicts


def _second(row: Row) -> str:
    return f"holds (then {row.measured})" if row.good else "MISSED"


def _with(spec: ResolvedSpec, asked: Asked) -> ResolvedSpec:
    first, *others = spec.nodes
    return spec._replace(nodes=(first._replace(ends=asked), *others))


def _show(cells: Sequence[str]) -> None:
    wide = (10, 30, 38, 14, 14, 26)
    text = [cell.ljust(width) for cell, width in zip(cells, wide, strict=False)]
    print("  ".join([*text, *cells[len(wide) :]]).rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
