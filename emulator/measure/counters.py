"""What the kernel dropped or sent again during a measurement: did the emulator keep up?

Two looks at the counters of some places and interfaces, and of the machine's backlog queues.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, Sample, failed, good
from emulator.place import Place

DROPS = ("rx_dropped", "tx_dropped", "rx_errors", "tx_errors")
RETRANSMITS, UDP_ERRORS = "Tcp.RetransSegs", "Udp.InErrors"


class Look(NamedTuple):
    """Counters at one moment: of IP stacks by place, of interfaces by ``place/interface``, and
    of each CPU's backlog queue (dropped, squeezed)."""

    snmp: Mapping[str, Mapping[str, int]]
    interfaces: Mapping[str, Mapping[str, int]]
    softnet: tuple[tuple[int, int], ...]


def read_softnet_stat() -> str:
    """The text of ``/proc/net/softnet_stat``: one line for each CPU of the whole machine."""
    return Path("/proc/net/softnet_stat").read_text()


def parse_softnet(text: str) -> tuple[tuple[int, int], ...]:
    """The columns dropped and time_squeeze of each line; MeasureFailed when there are none."""
    try:
        lines = [line.split() for line in text.splitlines() if line.strip()]
        queues = tuple((int(fields[1], 16), int(fields[2], 16)) for fields in lines)
    except (IndexError, ValueError) as error:
        raise MeasureFailed(f"/proc/net/softnet_stat reads {text[:100]!r}") from error
    if not queues:
        raise MeasureFailed("/proc/net/softnet_stat is empty")
    return queues


def look(
    watched: Sequence[tuple[Place, Sequence[str]]],
    read_softnet: Callable[[], str] = read_softnet_stat,
) -> Look:
    """Read all counters now; ``watched`` is each place with the names of its interfaces."""
    return Look(
        {place.name: dict(place.snmp()) for place, _ in watched},
        {
            f"{place.name}/{interface}": dict(place.counters(interface))
            for place, interfaces in watched
            for interface in interfaces
        },
        parse_softnet(read_softnet()),
    )


def between(before: Look, after: Look) -> Measured:
    """What was counted between two looks: retransmitted segments, UDP errors, drops.

    The details name where it happened. A counter that is missing or ran backwards (an interface
    made anew in between) makes its sample a failure.
    """
    raw = {"counters.json": json.dumps([before._asdict(), after._asdict()], indent=1).encode()}
    return Measured(
        (
            _sum("tcp_retransmitted_segments", before.snmp, after.snmp, (RETRANSMITS,)),
            _sum("udp_receive_errors", before.snmp, after.snmp, (UDP_ERRORS,)),
            _sum("interface_drops", before.interfaces, after.interfaces, DROPS),
            _sum("softnet_drops", _queues(before, 0), _queues(after, 0), ("count",)),
            _sum("softnet_squeezes", _queues(before, 1), _queues(after, 1), ("count",)),
        ),
        raw,
    )


def _queues(one: Look, column: int) -> dict[str, dict[str, int]]:
    return {f"cpu{number}": {"count": queue[column]} for number, queue in enumerate(one.softnet)}


def _sum(
    metric: str,
    before: Mapping[str, Mapping[str, int]],
    after: Mapping[str, Mapping[str, int]],
    keys: Sequence[str],
) -> Sample:
    where: dict[str, int] = {}
    for owner in sorted({*before, *after}):
        for key in keys:
            try:
                grown = after[owner][key] - before[owner][key]
            except KeyError as error:
                return failed(metric, f"{owner} has no counter {error} in one of the two looks")
            if grown < 0:
                return failed(metric, f"{key} of {owner} ran backwards by {-grown}")
            if grown:
                where[f"{owner} {key}"] = grown
    return good(metric, sum(where.values()), where=where)
