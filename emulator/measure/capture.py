"""Captures: tcpdump's command line for a place of a lab."""

from __future__ import annotations

from collections.abc import Sequence

BUFFER_KIB = 64 * 1024


def argv(
    interface: str, *, count: int | None = None, into: str = "", words: Sequence[str] = ()
) -> list[str]:
    """The command; ``into`` writes a pcap to a file, to standard output as ``-``, packet by packet.

    Into a file of its own it is given room in the kernel for what comes all at once.

    tcpdump as root hands itself over to a user of its own, which neither a lab without
    root nor its private files have: ``-Z root`` keeps it from that.
    """
    # otherwise packets wait up to a second in the kernel, and are lost when it is interrupted
    command = ["tcpdump", "--immediate-mode", "-n", "-Z", "root", "-i", interface]
    if count:
        command += ["-c", str(count)]
    command += ["-U", "-w", into] if into else ["-l", "-e"]
    if into not in ("", "-"):
        command += ["-B", str(BUFFER_KIB)]
    return [*command, *words]
