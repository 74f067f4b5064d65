"""Specs and labs of two nodes, and the pilots that find at which rate all modes can be measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from emulator.cluster import Cluster, Place
from emulator.errors import PodwireError, Problem
from emulator.harness.bench import Bench
from emulator.harness.experiment import Condition
from emulator.measure import iperf, tool
from emulator.measure.failure import MeasureFailed
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec
from experiments import labs, traffic
from experiments.traffic import Ends, Traffic
from experiments.two_nodes.modes import MODES, MTU, PLACES, way

UPLINK: Final = "eth0"
TOPOLOGIES: Final = dict(zip(PLACES, ("rack.yaml", "racks.yaml"), strict=True))
SLOWEST: Final = {
    False: ("vxlan", "canal", "wireguard", "ipsec"),
    True: ("udp", "sleeve", "sleeve-encrypted"),
}
"""Of modes in the kernel, and of those in user space: who may be the slowest. For the pilot."""


class Cell(NamedTuple):
    """A lab that is up, with the two ends to measure between."""

    cluster: Cluster
    client: Place
    server: Place
    node: Place
    ends: Ends
    seed: int


def spec(condition: Condition, congestion: str, **more: Any) -> ResolvedSpec:
    """The topology of the place under the network of the mode; ``more``: dotted paths to values."""
    there = way(condition)
    overrides: dict[str, Any] = {
        "spec.network": {**MODES[condition.arm].network, **there.network},
        "spec.underlay.routing": there.routing,
        "spec.underlay.links.mtu": condition.factors.get("mtu", MTU),
        "spec.underlay.links.offload": condition.factors.get("offload", "wire"),
        "spec.congestionControl": congestion,
    }
    topology = Path(__file__).with_name(TOPOLOGIES[str(condition.factors["place"])])
    return load(topology, overrides | more)


@contextmanager
def up(name: str, resolved: ResolvedSpec, condition: Condition, seed: int) -> Iterator[Cell]:
    """The lab, up and compared with its plan."""
    with labs.as_planned(resolved, name, condition) as cluster:
        client, server = cluster.pod("n1-p1"), cluster.pod("n2-p1")
        nodes = (cluster.node("n1"), cluster.node("n2"))
        watched: tuple[tuple[Place, tuple[str, ...]], ...] = tuple(
            (node, (UPLINK,)) for node in nodes
        )
        if client.ns != nodes[0].ns:
            watched += ((client, ("eth0",)), (server, ("eth0",)))
        ends = Ends(client, server, nodes[0], UPLINK, None, watched)
        yield Cell(cluster, client, server, nodes[0], ends, seed)


def lay_rules(place: Place, text: str) -> None:
    """Tables for nft, beside those of the plan; MeasureFailed where it does not take them."""
    done = place.run(["sh", "-c", f"nft -f - <<'EOF'\n{text}\nEOF\n"], timeout_s=60.0)
    if done.returncode:
        raise MeasureFailed(Problem(place.name, tool.said(done), "nft to take the rules"))


def fixed_rates(name: str, short: Traffic, arms: Collection[str]) -> Mapping[bool, int]:
    """Bits a second that all of the arms in the kernel (False) and in user space (True) carry.

    By pilots across two racks; 0 on a bench that has no speed, and where this kernel has no pilot.
    """
    if not Bench.here().has_speed:
        return dict.fromkeys(SLOWEST, 0)
    return {
        in_user_space: _fixed_rate_bit_s(name, short, [arm for arm in slowest if arm in arms])
        for in_user_space, slowest in SLOWEST.items()
    }


def _fixed_rate_bit_s(name: str, short: Traffic, arms: Sequence[str]) -> int:
    """From what the slowest of the arms carries, by two cells of each that this kernel has."""
    conditions = [
        Condition(arm, {"place": PLACES[1], "offload": "wire", "mtu": MTU}) for arm in arms
    ]
    specs = labs.Specs(conditions, lambda one: spec(one, short.congestion))
    lacking = labs.lacking(specs)
    there = [one for one in conditions if not lacking(one)]
    found = []
    for condition in (*there, *there):
        with up(name, specs[condition.name], condition, 0) as cell:
            measured = iperf.tcp(
                cell.server, cell.client, seconds=short.throughput_s, omit_s=short.omit_s,
                congestion=short.congestion, cpus=short.cpus,
            )  # fmt: skip
        value = measured.value("throughput_bit_s")
        if value is None:
            raise PodwireError(
                Problem("pilot", measured.samples[0].failure, f"the throughput of {condition.arm}")
            )
        found.append(value)
    return traffic.fixed_rate(min(found)) if found else 0
