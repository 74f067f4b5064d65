"""Captures: tcpdump's command line for a place of a lab."""

from __future__ import annotations

from collections.abc import Sequence


def argv(interface: str, *, count: int | None, binary: bool, words: Sequence[str]) -> list[str]:
    """The command; ``binary`` writes a pcap to standard output, packet by packet.

    tcpdump as root hands itself over to a user of its own, which neither a lab without
    root nor its private files have: ``-Z root`` keeps it from that.
    """
    # otherwise packets wait up to a second in the kernel, and are lost when it is interrupted
    command = ["tcpdump", "--immediate-mode", "-n", "-Z", "root", "-i", interface]
    if count:
        command += ["-c", str(count)]
    command += ["-U", "-w", "-"] if binary else ["-l", "-e"]
    return [*command, *words]
