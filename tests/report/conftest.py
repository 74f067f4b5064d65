"""Stored runs made by hand, without the loop of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.harness.store import Row, StoredRun

FINGERPRINT = {"kernel": "6.18", "cpu_count": 2, "cpu_model": "Abacus", "virtualisation": "QEMU"}


@pytest.fixture
def make_run() -> Callable[..., StoredRun]:
    """``values`` maps metric, arm and MTU to one value (or a failure text) per block."""

    def make(
        values: Mapping[tuple[str, str, int], Sequence[float | str]],
        fingerprint: Mapping[str, Any] = FINGERPRINT,
        name: str = "r1",
        **manifest: Any,
    ) -> StoredRun:
        rows, conditions = [], {}
        for (metric, arm, mtu), column in values.items():
            condition = f"{arm.replace(' ', '-')}_{mtu}"
            conditions[condition] = {"name": condition, "arm": arm, "factors": {"mtu": mtu}}
            for block, value in enumerate(column, 1):
                failed = isinstance(value, str)
                rows.append(
                    Row(block, 1, "measure", block * 10, condition, arm, {"mtu": mtu}, metric,
                        None if failed else value, "bit/s" if metric == "rate" else "us",
                        value if failed else "", "", "t", {})
                )  # fmt: skip
        blocks = max((row.block for row in rows), default=0)
        document = {
            "experiment": "e", "run": name, "status": "complete", "why": "", "notes": [],
            "fingerprint": dict(fingerprint), "fingerprint_hash": "f00d",
            "conditions": list(conditions.values()),
            "metrics": [{"name": "rate", "unit": "bit/s", "better": "higher"},
                        {"name": "delay", "unit": "us", "better": "lower"}],
            "settings": {"precision": None}, "headline": ["rate"],
            "pairs": [{"treatment": "vxlan", "baseline": "host-gw", "twin": False},
                      {"treatment": "host-gw again", "baseline": "host-gw", "twin": True}],
            "blocks": [{"block": one, "attempt": 1, "phase": "measure", "complete": True}
                       for one in range(1, blocks + 1)],
        }  # fmt: skip
        return StoredRun(Path(name), document | manifest, tuple(rows), ())

    return make


@pytest.fixture
def usual_run(make_run: Callable[..., StoredRun]) -> StoredRun:
    """Twelve blocks; the overlay has 0.75 of the rate and 1.3 of the delay, drift in common."""
    rng = np.random.default_rng(1)
    values = {}
    for mtu in (1500, 9000):
        drift = rng.normal(0, 0.2, 12)
        for arm, factor in (("host-gw", 1.0), ("host-gw again", 1.0), ("vxlan", 0.75)):
            rate = factor * 6e9 * np.exp(drift + rng.normal(0, 0.01, 12))
            values["rate", arm, mtu] = rate.tolist()
            values["delay", arm, mtu] = (1.5e11 / rate).tolist()
    return make_run(values)
