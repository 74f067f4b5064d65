"""A lab that a shell script builds: a private world whose contents Podwire does not know.

For comparisons with a network made by other means. The script runs as process 1's child in the
world, with a ``/run/netns`` of its own; namespaces that it adds there by ``ip netns`` are places
to run programs in, like those of any lab. The world ends with the process that started it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from emulator.errors import PodwireError, Problem
from emulator.substrate import control, lab
from emulator.substrate.lab import Start
from emulator.substrate.runtime import World


def start(name: str, script: str, arguments: Sequence[str], timeout_s: float = 30.0) -> World:
    """Run the text of a POSIX shell script in a fresh world and return it.

    PodwireError with the script's own words when it fails; then nothing is left.
    """

    def body(begun: Start) -> None:
        _build(script, arguments, timeout_s)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans are reaped by the kernel
        begun.ready({})
        _refuse_all(begun)

    world, _ = lab.start(name, body, keep=False)
    return world


def _build(script: str, arguments: Sequence[str], timeout_s: float) -> None:
    try:
        # not a pipe: what the script leaves running would hold it open
        with os.fdopen(os.memfd_create("said"), "w+b") as said:
            ended = subprocess.run(
                ["sh", "-s", "--", *arguments], input=script.encode(), stdout=said, stderr=said,
                timeout=timeout_s, check=False,
            )  # fmt: skip
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
    except subprocess.TimeoutExpired as error:
        raise PodwireError(
            Problem("script of the lab", f"still running after {timeout_s:g} s", "its end")
        ) from error
    if ended.returncode:
        raise PodwireError(
            Problem("script of the lab", f"code {ended.returncode}: {words}", "code 0")
        )


def _refuse_all(begun: Start) -> None:
    """Answer whoever asks this lab something (``podwire ls``) that there is nothing to ask."""
    words = PodwireError(
        Problem("lab", "a lab built by a script", "one that Podwire built", "ask who started it")
    )
    while True:
        link, _ = begun.control.accept()
        with link, suppress(OSError, EOFError):
            link.settimeout(1.0)
            if control.same_user(link):
                control.receive(link)
                control.send(link, ("error", words))
