"""Many orders, one guest for each, and as many guests at a time as there are CPUs for them."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from emulator.bench.virtual import guests, machine
from emulator.bench.virtual.guests import Guest
from emulator.bench.virtual.image import Image

PATIENCE_S: Final = 1800.0
"""Until an order is carried out; seconds to a minute are usual."""
_GUEST_MIB: Final = machine.MEMORY_MIB + 256


class _Under(NamedTuple):
    """An order that is being carried out."""

    guest: Guest
    end: ExitStack
    deadline: float


def at_once(meminfo: Path = Path("/proc/meminfo")) -> int:
    """How many guests this machine can run at a time: as its CPUs and free memory say."""
    rows = (row.split() for row in meminfo.read_text().splitlines())
    free_mib = next(int(kib) // 1024 for name, kib, *_ in rows if name == "MemAvailable:")
    return max(1, min(len(os.sched_getaffinity(0)), free_mib // _GUEST_MIB))


def answers(
    image: Image, moment: Path, orders: Sequence[Mapping[str, Any]],
    more: Sequence[tuple[str, ...]] = (), patience_s: float = PATIENCE_S,
) -> Generator[Any, None, None]:  # fmt: skip
    """The answers to orders (see :func:`guests.thawed`), in their order.

    ``more``: words for QEMU for each order. PodwireError for a guest that fails, ends without an
    answer or hangs. When the generator is closed, all guests are gone.
    """
    most, ahead = at_once(), list(enumerate(orders))[::-1]
    under: dict[int, _Under] = {}
    done: dict[int, Any] = {}
    with ExitStack() as every:
        for number in range(len(orders)):
            while True:
                while ahead and len(under) < most:
                    at, order = ahead.pop()
                    end = every.enter_context(ExitStack())
                    words = more[at] if more else ()
                    guest = end.enter_context(guests.thawed(image, moment, order, words))
                    under[at] = _Under(guest, end, time.monotonic() + patience_s)
                if number in done:
                    break
                for at in _ended(under, patience_s):
                    one = under.pop(at)
                    with one.end:
                        done[at] = one.guest.answer()
            yield done.pop(number)


def _ended(under: Mapping[int, _Under], patience_s: float) -> list[int]:
    """Wait for guests to end, and name them. PodwireError for one that takes too long."""
    first = min(under.values(), key=lambda one: one.deadline)
    left_s = max(0.0, first.deadline - time.monotonic())
    ready, _, _ = select.select([one.guest.ended for one in under.values()], [], [], left_s)
    if not ready:
        raise first.guest.failed(
            f"no end of it after {patience_s:g} s",
            "a machine that is less busy; where it is not, --on native or --on vm may tell more",
        )
    return [at for at, one in under.items() if one.guest.ended in ready]
