"""Features of a link, one after the other on one lab: the rows of the table and their verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from emulator.cluster import Cluster
from emulator.errors import Unsupported
from emulator.spec import load
from emulator.spec.medium import Ends as Asked
from emulator.spec.resolved import ResolvedSpec
from experiments.links.features import Feature, Row, bare_us
from experiments.links.flow import Ends

HEAD = ("feature", "asked", "quantity", "theory", "measured", "between", "verdict")
_TOPOLOGY = Path(__file__).with_name("topology.yaml")
_MISSED, _NOT_HERE = "MISSED", "not here"


class Bench:
    """A lab whose first node's cable takes what is asked, and its latency without anything."""

    def __init__(self, cluster: Cluster, spec: ResolvedSpec) -> None:
        self.cluster, self._spec = cluster, spec
        self.ends = Ends(cluster, "n1", "n2")
        self.base_us = bare_us(self.ends)

    def rows(self, feature: Feature) -> Iterator[tuple[str, ...]]:
        """The feature's rows, as ``HEAD`` has them. What misses is looked at once again: of a
        hundred that are right one misses."""
        try:
            self.cluster.apply(_with(self._spec, feature.ends))
        except Unsupported as error:
            yield feature.name, feature.asked, "", "", "", str(error.problems[0]), _NOT_HERE
            return
        rows = list(feature.measure(self.ends, self.base_us))
        good = all(row.good for row in rows)
        again = rows if good else list(feature.measure(self.ends, self.base_us))
        for row, second in zip(rows, again, strict=True):
            verdict = "holds" if row.good else _second(second)
            yield feature.name, feature.asked, *row[:4], verdict


@contextmanager
def bench(name: str) -> Iterator[Bench]:
    """The lab, up under this name and down after the block."""
    spec = load(_TOPOLOGY)
    with Cluster(spec, name) as cluster:
        yield Bench(cluster, spec)


def shown(rows: Iterable[Sequence[str]]) -> int:
    """Print rows as they come. 0 when all hold, 1 when one does not, 3 when the kernel lacks
    one."""
    verdicts = set()
    _show(HEAD)
    for row in rows:
        _show(row)
        verdicts.add(row[-1])
    return 1 if _MISSED in verdicts else 3 if _NOT_HERE in verdicts else 0


def _second(row: Row) -> str:
    return f"holds (then {row.measured})" if row.good else _MISSED


def _with(spec: ResolvedSpec, asked: Asked) -> ResolvedSpec:
    first, *others = spec.nodes
    return spec._replace(nodes=(first._replace(ends=asked), *others))


def _show(cells: Sequence[str]) -> None:
    wide = (10, 36, 38, 14, 14, 26)
    text = [cell.ljust(width) for cell, width in zip(cells, wide, strict=False)]
    print("  ".join([*text, *cells[len(wide) :]]).rstrip(), flush=True)
