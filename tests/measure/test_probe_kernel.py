"""The prober and the oracle against real kernels' networks built by plain ``ip`` commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

pytestmark = pytest.mark.kernel

CASES = (
    "none",
    "host",
    "vxlan",
    "vxlan-no-masq",
    "vxlan-direct",
    "vxlan-direct-nft",
    "vxlan-chain-jumbo",
    "host-gw",
    "host-gw-no-masq",
    "host-gw-nft",
    "uplink-cut",
    "uplink-down",
    "tunnel-down",
    "tunnel-down-no-masq",
    "bridge-down",
    "pod-cut",
    "node-cut",
    "router-cut",
    "none-ipv6",
    "vxlan-ipv6",
    "host-gw-no-masq-ipv6",
    "tunnel-down-ipv6",
    "uplink-down-ipv6",
)


def in_a_world_of_its_own(*words: str) -> dict[str, Any]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    world = ["unshare", *user, "--net", "--mount", "--fork", "--kill-child"]
    done = subprocess.run(
        [*world, sys.executable, str(HERE / "plain_lab.py"), *words],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """Every case once. They mostly wait for what is lost, so some run side by side."""
    with ThreadPoolExecutor(3) as pool:
        return dict(zip(CASES, pool.map(in_a_world_of_its_own, CASES), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_kernel_agrees_with_the_oracle(results: dict[str, Any], case: str) -> None:
    found = results[case]
    assert found["differences"] == [], found["grid"]
    assert found["delivered"] > 0
    assert found["sized"] == found["delivered"]


def test_the_network_model_is_judged_by_what_was_observed(results: dict[str, Any]) -> None:
    assert all(results["vxlan"]["statements"].values())
    fails = {number for number, holds in results["none"]["statements"].items() if not holds}
    assert fails == {"M1", "M3", "M6", "M8", "M9"}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    return in_a_world_of_its_own("outcomes")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "delivered",
            {"outcome": "delivered", "by": "n2-p1", "source": "10.244.1.2", "ttl": 62},
        ),
        (
            "masqueraded",
            {"by": "out1", "source": "192.168.1.11", "own": "10.244.1.2", "ttl": 63, "mtu": 1500},
        ),
        ("refused", {"outcome": "refused", "detail": "10.244.2.1 says: port unreachable"}),
        ("lost", {"outcome": "lost"}),
        ("no route", {"outcome": "lost", "detail": "out1 has no route (ENETUNREACH)"}),
        (
            "failed",
            {"outcome": "failed", "detail": "ghost: ENOENT when opening port 8474/udp"},
        ),
        ("narrow", {"outcome": "delivered", "mtu": 1400, "silent": False}),
        ("wide", {"outcome": "delivered", "mtu": 1001, "silent": False}),
        ("black hole", {"outcome": "delivered", "mtu": 0, "silent": True}),
    ],
)
def test_each_outcome(outcomes: dict[str, Any], name: str, expected: dict[str, Any]) -> None:
    found = {field: outcomes[name][field] for field in expected}
    assert found == expected


@pytest.fixture(scope="module")
def outcomes_of_ipv6() -> dict[str, Any]:
    return in_a_world_of_its_own("outcomes", "6")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "delivered",
            {"by": "n2-p1", "source": "fd00:10:244:1::2", "own": "fd00:10:244:1::2", "ttl": 62},
        ),
        (
            "masqueraded",
            {"by": "out1", "source": "fd00:192:168:1::b", "own": "fd00:10:244:1::2", "mtu": 1500},
        ),
        ("refused", {"outcome": "refused", "detail": "fd00:10:244:2::1 says: port unreachable"}),
        ("lost", {"outcome": "lost"}),
        ("no route", {"outcome": "lost", "detail": "out1 has no route (ENETUNREACH)"}),
        ("failed", {"outcome": "failed", "detail": "ghost: ENOENT when opening port 8474/udp"}),
        ("narrow", {"outcome": "delivered", "mtu": 1400, "silent": False}),
        ("wide", {"outcome": "delivered", "mtu": 1001, "silent": False}),
        ("black hole", {"outcome": "delivered", "mtu": 0, "silent": True}),
    ],
)
def test_each_outcome_over_ipv6(
    outcomes_of_ipv6: dict[str, Any], name: str, expected: dict[str, Any]
) -> None:
    found = {field: outcomes_of_ipv6[name][field] for field in expected}
    assert found == expected


@pytest.mark.parametrize("budget", ["400", "12"])
def test_batches_of_any_size_find_the_same(budget: str) -> None:
    found = in_a_world_of_its_own("mesh", "3", "3", budget)
    assert (found["probes"], found["differences"]) == (72, [])
