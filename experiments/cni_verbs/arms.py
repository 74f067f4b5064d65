"""The lists of plugins that are compared, one line each."""

from __future__ import annotations

from typing import Final, NamedTuple

from emulator.measure.distribution import carries

VERBS: Final = ("add", "check", "del")
PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Arm(NamedTuple):
    """A conflist of this folder, and what it stands for."""

    conflist: str
    title: str


ARMS: Final = {
    "bridge": Arm("bridge", "bridge"),
    "bridge again": Arm("bridge", "bridge (A/A)"),
    "ptp": Arm("ptp", "ptp"),
    "chain": Arm("chain", "bridge, portmap, firewall"),
}
QUICK: Final = ("bridge", "chain")
PODS: Final = 110
"""What a kubelet allows on a node unless told otherwise."""
QUICK_PODS: Final = 10
AT_ONCE: Final = (1, 8)


def percentiles(pods: int) -> dict[str, float]:
    """Those that so many calls can carry: of ten the 99th percentile would be their maximum."""
    return {name: level for name, level in PERCENTILES.items() if carries(pods, level)}


def metric(verb: str, percentile: str) -> str:
    """``add_p50_ms``."""
    return f"{verb}_{percentile}_ms"
