"""What happens to packets at one end of a cable, as qdiscs; queues and bursts are computed.

Where frames are to be real on the wire (offload ``wire``) a cutter is the root: it makes frames of
what offloads and GRO have put together, before anything counts, delays or loses it. The kernel
guesses what the headers of such a packet would be, and misses those of a tunnel; and whoever loses
it loses up to 64 KiB at once.

``netem`` follows where there is more than a rate, and the shaper of a rate stands below it:
a packet is first late, lost or doubled, and then waits in a queue of bytes that is as long as
the rate says, whatever the delay and however small the packets. The other way round the packets
on their way and those that wait would share one limit of packets; so they would by netem's own
rate, which those that overtake do not pay.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.plan.resources import BELOW_CUTTER, Cutter, Netem, Qdisc, Resource
from emulator.spec.limits import RATE_BITS
from emulator.spec.medium import CERTAIN, Loss, Medium, Rate, slowest_us
from emulator.spec.resolved import Links

_TICKS_PER_S = 250
"""The coarsest timer that common kernels run with (CONFIG_HZ=250)."""

_QUEUE_S = 0.025
"""Time that a full queue takes to drain, as the bandwidth plugin of CNI has it."""

_SUPER_PACKET_B = 65536
"""Largest packet that segmentation offload hands to the qdisc."""

_SMALLEST_BITS = 60 * 8
"""The smallest frame without its checksum, as the qdisc counts it."""

_PACKETS_PER_S = 1_000_000
"""More than one processor core sends through a veth pair, however small they are."""

_HEADER_B = 14
"""Of Ethernet."""

_HEADROOM_P = 1000
"""Packets that a burst may bring, as netem has it by default and network cards have queues."""


def shaped(ns: str, dev: str, medium: Medium, links: Links) -> Iterator[Resource]:
    """The qdiscs of an interface that sends into a cable with this medium; none for a bare one."""
    if medium.only_rate and not medium.rate:
        return
    parent = ""
    if links.offload == "wire":
        yield Cutter(ns, dev, -(-(links.mtu + _HEADER_B) // 400) * 400)
        parent = BELOW_CUTTER
    if not medium.only_rate:
        netem = impair(ns, dev, medium, links)._replace(parent=parent)
        yield netem
        parent = f"{netem.handle}1"
    if medium.rate:
        yield shape(ns, dev, medium.rate, links.mtu)._replace(parent=parent)


def shape(ns: str, dev: str, rate: Rate, mtu: int) -> Qdisc:
    """The qdisc for a rate.

    The burst is what the rate sends in one timer tick and never less than the largest
    packet, in whole thousands of bytes (the kernel keeps it as a time, which costs some
    bytes of precision). The queue holds 25 ms of the rate beyond it. It counts bytes and not
    packets, for segments are cut behind it: one packet may be an MTU or 64 KiB. A rate is of
    whole bytes, as the kernel has it.
    """
    bytes_per_s = rate.bits_per_second // 8
    burst = -(-max(bytes_per_s // _TICKS_PER_S, _SUPER_PACKET_B + mtu) // 1000) * 1000
    queue = int(bytes_per_s * _QUEUE_S)
    return Qdisc(ns, dev, rate.by, bytes_per_s * 8, burst, burst + queue)


def impair(ns: str, dev: str, medium: Medium, links: Links) -> Netem:
    """The netem of a medium, its rate aside.

    It holds what is on its way at the same time, in the smallest packets that the rate takes (or,
    without one, the machine), and so loses nothing that it was not asked to lose.

    Losses that are correlated are those of a Gilbert model, whose long-run loss and whose
    correlation are exactly what was asked for. netem's own correlation is not used: it
    averages random numbers, and fewer than asked for come below a small limit.
    """
    bits = medium.rate.bits_per_second if medium.rate else RATE_BITS[links.offload]
    per_s = min(_PACKETS_PER_S, bits / _SMALLEST_BITS)
    limit = _HEADROOM_P + int(per_s * slowest_us(medium) / 1e6)
    loss = medium.loss or Loss(0)
    burst = loss.correlation_ppb > 0
    delay, reorder = medium.delay, medium.reorder
    return Netem(
        ns,
        dev,
        limit,
        delay_us=delay.us if delay else 0,
        jitter_us=delay.jitter_us if delay else 0,
        distribution=delay.distribution if delay else "uniform",
        loss_ppb=0 if burst else loss.ppb,
        gilbert_ppb=_gilbert(loss) if burst else (0, 0),
        duplicate_ppb=medium.duplicate_ppb or 0,
        reorder_ppb=reorder.ppb if reorder else 0,
        gap=reorder.gap if reorder else 0,
        corrupt_ppb=medium.corrupt_ppb or 0,
    )


def _gilbert(loss: Loss) -> tuple[int, int]:
    """The chances to begin losing and to stop, in ppb: their ratio is the loss, and what is
    missing in their sum the correlation of one packet with the next."""
    change = CERTAIN - loss.correlation_ppb
    return (
        round(loss.ppb * change / CERTAIN),
        round((CERTAIN - loss.ppb) * change / CERTAIN),
    )
