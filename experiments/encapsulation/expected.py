"""What is computed beforehand of a way between two nodes; the experiment must find the same."""

from __future__ import annotations

from emulator.measure import overheard
from emulator.measure.sample import WIRE_SIZES_B
from experiments.two_nodes.modes import Way


def expected(way: Way) -> dict[str, int]:
    """By metric: frames in bytes, the path MTU, one packet on the cables in each direction, and how
    many payloads a stranger reads there: all or none."""
    mtu = way.path_mtu
    sizes = {f"wire_{size}_b": size for size in WIRE_SIZES_B} | {"wire_largest_b": mtu}
    frames = {metric: way.around.frame_b(size, mtu) for metric, size in sizes.items()}
    return (
        frames
        | {"path_mtu_b": mtu, "cable_packets": 2}
        | {"readable_payloads": 0 if way.around.sealed else overheard.COUNT}
    )
