"""What netem has and a spec does not: correlations by averaged random numbers, measured.

Set by ``tc`` beside the plan, in a lab of the experiment's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.cluster import Cluster
from experiments.links import theory
from experiments.links.features import correlation
from experiments.links.flow import Arrival, Ends

COUNT, PER_S = 3000, 1000.0
SLOW = (600, 100.0)
_BOUND = "not offered"


def rejected(cluster: Cluster, ends: Ends, base_us: float) -> Iterator[tuple[str, ...]]:
    """Rows of the table."""
    node = cluster.node("n1")

    def netem(*words: str) -> None:
        node.run(["tc", "qdisc", "replace", "dev", "eth0", "root", "netem", "limit", "9000",
                  *words])  # fmt: skip

    try:
        asked: tuple[str, ...] = ("delay", "1s", "250ms", "50%")
        netem(*asked)
        took = [one.took_us - base_us for one in _in_order(ends)]
        yield _row(asked, "correlation with the next", "0.5", f"{correlation(took):.3f}")
        netem(*asked, "distribution", "normal")
        took = [one.took_us - base_us for one in _in_order(ends)]
        words = (*asked, "normal")
        yield _row(words, "correlation with the next", "0.5", f"{correlation(took):.3f}")
        asked = ("loss", "5%", "50%")
        netem(*asked)
        flow = ends.send(COUNT, PER_S)
        bar = theory.within(COUNT, 0.05)
        lost = str(COUNT - len(flow.came))
        yield _row(asked, f"lost of {COUNT}", f"{bar[0]} to {bar[1]}", lost)
    finally:
        node.run(["tc", "qdisc", "del", "dev", "eth0", "root"])


def _row(asked: tuple[str, ...], quantity: str, expected: str, found: str) -> tuple[str, ...]:
    return (asked[0], " ".join(asked[1:]), quantity, expected, found, "", _BOUND)


def _in_order(ends: Ends) -> list[Arrival]:
    return sorted(ends.send(*SLOW).arrivals)
