"""The rate of a cable as a qdisc at each of its ends; burst and queue are computed."""

from __future__ import annotations

from emulator.plan.resources import Qdisc
from emulator.spec.resolved import Rate

_TICKS_PER_S = 250
"""The coarsest timer that common kernels run with (CONFIG_HZ=250)."""

_QUEUE_S = 0.025
"""Time that a full queue takes to drain, as the bandwidth plugin of CNI has it."""

_SUPER_PACKET_B = 65536
"""Largest packet that segmentation offload hands to the qdisc."""


def shape(ns: str, dev: str, rate: Rate, mtu: int) -> Qdisc:
    """The root qdisc for a rate.

    The burst is what the rate sends in one timer tick and never less than the largest
    packet, in whole thousands of bytes (the kernel keeps it as a time, which costs some
    bytes of precision). The queue holds 25 ms of the rate.
    """
    per_tick = rate.bits_per_second // 8 // _TICKS_PER_S
    burst = -(-max(per_tick, _SUPER_PACKET_B + mtu) // 1000) * 1000
    queue = int(rate.bits_per_second / 8 * _QUEUE_S)
    if rate.by == "tbf":
        return Qdisc(ns, dev, "tbf", rate.bits_per_second, burst, burst + queue, 0)
    return Qdisc(ns, dev, "htb", rate.bits_per_second, burst, 0, max(16, queue // mtu))
