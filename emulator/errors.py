"""The errors that a user meets: each says place, found, expected, remedy.

The exit code of the command line is a property of the class, so that no other
place has to know which failure means what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong in a file, a plan or a machine.

    ``place`` is ``file:line:column: path`` for a spec, or the name of the
    object of the machine; ``hint`` may be empty.
    """

    place: str
    found: str
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: found {self.found}, expected {self.expected}"
        return f"{text}\n    hint: {self.hint}" if self.hint else text


class PodwireError(Exception):
    """The check or the run failed (exit code 1)."""

    exit_code = 1

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: Sequence[Problem | str] = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class SpecError(PodwireError):
    """Bad input: a file, an option or a name that cannot be used (exit code 2)."""

    exit_code = 2


class Unsupported(PodwireError):
    """Good input that this machine or bench cannot carry (exit code 3).

    The text names what is missing and how to get it.
    """

    exit_code = 3


class KernelRefused(PodwireError):
    """The kernel refused an operation of the plan."""


class LabGone(PodwireError):
    """The lab that was asked for does not run (any more)."""
