"""Which CPUs the two ends of a measurement run on: part of the settings of a run.

Pinning the programs does not pin all of the work: on virtual cables the receive side of the
kernel runs in softirq context on the CPU of the sender, up to the queue of the receiving
socket. So the client's CPU carries most of the path, whatever the mode is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class CpuMap(NamedTuple):
    """CPU numbers for the programs of the client (sender) and of the server (receiver)."""

    client: tuple[int, ...]
    server: tuple[int, ...]

    @classmethod
    def for_machine(cls, available: Iterable[int]) -> CpuMap:
        """The lower half for the client, the upper half for the server; one CPU serves both.

        ``available`` is what the process may run on (``os.sched_getaffinity(0)``); with an odd
        number the middle one stays free for everything else. ValueError when it is empty.
        """
        cpus = sorted(set(available))
        if not cpus:
            raise ValueError("no CPU is available")
        if len(cpus) == 1:
            return cls((cpus[0],), (cpus[0],))
        half = len(cpus) // 2
        return cls(tuple(cpus[:half]), tuple(cpus[-half:]))

    def for_client(self, stream: int) -> tuple[int]:
        """The one CPU of the n-th client process: a process that moves measures its moving."""
        return (self.client[stream % len(self.client)],)

    def for_server(self, stream: int) -> tuple[int]:
        """The one CPU of the n-th server process."""
        return (self.server[stream % len(self.server)],)

    def as_detail(self) -> dict[str, list[int]]:
        """For the detail of a sample or a manifest."""
        return {"client": list(self.client), "server": list(self.server)}
