"""What becomes of a guest that should run a command and does not: errors, with its last words."""

from __future__ import annotations

import signal

from emulator.bench import machine
from emulator.bench.guest import Guest
from emulator.errors import PodwireError, Problem

_TAIL = 12


class Ended(PodwireError):
    """The guest has ended, though a command was running in it."""


class NotBegun(Ended):
    """It had ended before it took the command."""


def raise_if_known(guest: Guest, number: int, program: str, after_b: int) -> None:
    """PodwireError for a command that a signal has ended for a reason that can be told.

    ``after_b``: how much the console had said when the command began.
    """
    if number == signal.SIGKILL and (killed := out_of_memory(said(guest)[after_b:])):
        mib = int(guest.facts.get("memory_mib", machine.memory_mib()))
        raise PodwireError(
            Problem("the guest", f"out of memory: {killed}", f"{mib} MiB to do",
                    f"a smaller cluster, or PODWIRE_VM_MEMORY={2 * mib} (MiB) after podwire vm "
                    "down")
        )  # fmt: skip
    if number == signal.SIGILL:
        raise PodwireError(
            Problem("the guest", f"{program} ended by an instruction that its CPU has not",
                    f"programs for {machine.CPU}", "a build of it for any x86-64")
        )  # fmt: skip


def ended(guest: Guest) -> Ended:
    """The error for a guest that is gone, in the words of its console."""
    text = said(guest)
    found, remedy = "it ended", "podwire vm up starts another"
    if panic(text):
        found = "its kernel panicked"
    elif "terminating on signal" in text or not text:
        found = "it was ended (podwire vm down, or a signal)"
    return Ended(Problem("the guest", found + tail(text), "it to run", remedy))


def silent(guest: Guest, seconds: float) -> PodwireError:
    """The error for a guest that hangs."""
    return PodwireError(
        Problem("the guest", f"no answer for {seconds:.0f} s{tail(said(guest))}", "an answer",
                "podwire vm down ends it; a machine that is too busy is too slow for it")
    )  # fmt: skip


def said(guest: Guest) -> str:
    """All that the console has said; empty when it is gone."""
    try:
        return guest.console.read_text(errors="replace")
    except OSError:
        return ""


def tail(text: str) -> str:
    """The last lines, as they stand in an error."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()][-_TAIL:]
    return "".join(f"\n    | {line}" for line in lines) + ("\n   " if lines else "")


def panic(text: str) -> str:
    """The line of a console that says why its kernel gave up; empty if it did not."""
    return _line(text, "Kernel panic")


def out_of_memory(text: str) -> str:
    """The line of a console that says whom its kernel has killed for memory; empty if nobody."""
    return _line(text, "Out of memory: Killed")


def _line(text: str, words: str) -> str:
    return next((line.strip() for line in text.splitlines() if words in line), "")
