"""The process port: what measuring needs of a place in the lab.

The handles of pods, nodes and hosts that a Cluster gives fulfil it; tests use a fake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Completed(NamedTuple):
    """A process that has ended; ``returncode`` is negative for a signal."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


class Running(Protocol):
    """A process in the lab, started by this program."""

    @property
    def pid(self) -> int:
        """The process id as the host sees it."""
        ...

    def poll(self) -> int | None:
        """The return code, or None while it runs."""
        ...

    def wait(self, timeout_s: float) -> Completed:
        """Wait for the end and read both outputs.

        Past the deadline the process is killed and PodwireError raised.
        """
        ...

    def signal(self, number: int) -> None:
        """Send a signal; nothing when it has ended."""
        ...

    def kill(self) -> None:
        """End it now (SIGKILL) and reap it; no error when it has already ended."""
        ...


class Place(Protocol):
    """A pod, node, router or outside host: a network namespace to run programs in."""

    @property
    def name(self) -> str:
        """The name in the lab."""
        ...

    @property
    def ip(self) -> str:
        """The address that others reach it at, of the primary family."""
        ...

    def start(
        self,
        argv: Sequence[str],
        *,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a program; ``cpus`` pins it. Unsupported when the program is not installed."""
        ...

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Start, wait and return, whatever the return code."""
        ...

    def record(self, interface: str, path: str, words: Sequence[str] = ()) -> Running:
        """Start tcpdump at an interface, into a file of the place's own, until interrupted."""
        ...

    def read_file(self, path: str) -> bytes:
        """A file as this place sees it. PodwireError."""
        ...

    def listening(self, protocol: str, port: int) -> bool:
        """Whether a ``tcp`` or ``udp`` socket of this namespace listens on the port."""
        ...

    def counters(self, interface: str) -> Mapping[str, int]:
        """Kernel counters: rx/tx_bytes, rx/tx_packets, rx/tx_dropped, rx/tx_errors."""
        ...

    def snmp(self) -> Mapping[str, int]:
        """Counters of the namespace's IP stack: ``Tcp.RetransSegs``, ``Udp.InErrors``, …"""
        ...
