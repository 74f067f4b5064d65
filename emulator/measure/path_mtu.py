"""The largest IP packet that arrives in one piece, found with ping and the bit Don't Fragment."""

from __future__ import annotations

from collections.abc import Callable

from emulator.measure import ping, tool
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, all_failed, good
from emulator.place import Place

METRICS = ("path_mtu_b",)
HEADERS_B = 28
"""IPv4 and ICMP echo."""
SMALLEST_B, LARGEST_B = 576, 65_535
TRIES = 2
"""The first packet may be what the path learns its MTU from."""


def largest(passes: Callable[[int], bool], guess: int) -> tuple[int, list[int]]:
    """The largest size that passes, and the sizes that were tried in order.

    The guess and what is one above it come first, for they are usually the answer. MeasureFailed
    where not even the smallest passes.
    """
    tried: list[int] = []

    def ask(size: int) -> bool:
        tried.append(size)
        return passes(size)

    low, high = SMALLEST_B, LARGEST_B + 1
    if ask(guess):
        if guess == LARGEST_B or not ask(guess + 1):
            return guess, tried
        low = guess + 1
    else:
        high = guess
        if not ask(low):
            raise MeasureFailed(f"not even {low} B pass")
    while high - low > 1:
        middle = min((low + high) // 2, 2 * low)  # sizes are small numbers: climb, then bisect
        low, high = (middle, high) if ask(middle) else (low, middle)
    return low, tried


def probe(client: Place, target_ip: str, *, guess: int, cpus: CpuMap | None = None) -> Measured:
    """``path_mtu_b``, with the sizes that were tried in its detail."""
    raw: dict[str, bytes] = {}

    def passes(size: int) -> bool:
        argv = ping.argv(target_ip, TRIES, 0.2, size - HEADERS_B, True)
        running = client.start(
            argv, cpus=None if cpus is None else cpus.for_client(0), env=tool.SURROUNDINGS
        )
        try:
            done = tool.finish(running, "ping", client, ping.REPLY_WITHIN_S + 5.0)
        finally:
            running.kill()
        tool.keep(raw, f"path-mtu-{size}", done)
        return ping.parse(done.stdout, done.stderr).received > 0

    try:
        found, tried = largest(passes, guess)
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), raw, guess=guess)
    return Measured((good("path_mtu_b", found, guess=guess, tried=tried),), raw)
