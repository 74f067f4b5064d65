"""Was the network what the condition says? Judged by where the bytes were counted."""

from __future__ import annotations

from collections.abc import Sequence

from emulator.errors import Problem
from emulator.harness.experiment import Condition
from emulator.measure.sample import Sample

ETHERNET_B = 14


def gate(condition: Condition, samples: Sequence[Sample]) -> list[Problem]:
    """What contradicts the condition; nothing when throughput itself failed.

    Between nodes the bytes read must have left through the uplink, through the tunnel exactly
    when there is one, and in frames of the MTU exactly when the profile cuts them.  On one node
    nothing of it may appear on the uplink.
    """
    seen = {sample.metric: sample.value for sample in samples}
    throughput = next((one for one in samples if one.metric == "throughput_bit_s"), None)
    if throughput is None or throughput.value is None:
        return []
    read_b = throughput.detail["received_b"]
    assert isinstance(read_b, int)
    uplink_b, tunnel_b = seen.get("uplink_tx_b") or 0.0, seen.get("tunnel_tx_b")
    found: list[tuple[str, str, str]] = []
    if condition.factors["path"] == "nodes":
        if uplink_b < read_b:
            found.append(("uplink", f"{uplink_b:.0f} B sent", f"at least {read_b} B read"))
        frame_b = seen.get("frame_b") or 0.0
        largest_b = int(condition.factors["mtu"]) + ETHERNET_B
        cut = condition.factors["offload"] == "wire"
        if cut != (frame_b <= largest_b):
            wanted = f"{'at most' if cut else 'more than'} {largest_b} B"
            found.append(("frames on the uplink", f"{frame_b:.0f} B on average", wanted))
        if condition.arm == "vxlan" and (tunnel_b or 0.0) < read_b:
            found.append(("flannel.1", f"{tunnel_b} B sent", f"at least {read_b} B read"))
        if condition.arm != "vxlan" and tunnel_b is not None:
            found.append(("flannel.1", "there", "no tunnel in a routed mode"))
    elif uplink_b + (tunnel_b or 0.0) > read_b / 100:
        found.append(("uplink", f"{uplink_b:.0f} B sent", "nothing: both pods are on one node"))
    return [Problem(f"{condition.name}: {place}", what, wanted) for place, what, wanted in found]
