"""Instructions that a guest executes, counted by a plugin of QEMU (``counting.c``).

The guest does not notice: the same instructions at the same instants of its clock.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

from emulator.bench.virtual.symbols import Symbols, attributed
from emulator.errors import PodwireError, Problem
from emulator.measure.subsystems import Function
from emulator.substrate import compiler

SOURCE: Final = Path(__file__).with_suffix(".c")
_FLAGS: Final = ("-shared", "-fPIC")
_END: Final = "end"


def words(out: Path) -> tuple[str, ...]:
    """For QEMU: count, and write to a file at the end. Unsupported without a compiler."""
    plugin = compiler.compiled(SOURCE, _FLAGS)
    return ("-plugin", ",".join(_quoted(one) for one in (str(plugin), f"out={out}")))


def _quoted(word: str) -> str:
    return word.replace(",", ",,")


def parsed(text: str) -> dict[int, Counter[int]]:
    """Instructions by phase and address; address 0 is user space. A phase that came several times
    is one. PodwireError for a text that is not whole."""
    found: dict[int, Counter[int]] = {}
    lines = text.splitlines()
    if lines[-1:] != [_END]:
        raise PodwireError(
            Problem("bench virtual", "counts of instructions without an end", "whole ones",
                    "try again; a disk that is full would be a reason")
        )  # fmt: skip
    counts: Counter[int] = Counter()
    for line in lines[:-1]:
        first, second = line.split()
        if first == "phase":
            counts = found.setdefault(int(second), Counter())
        else:
            counts[int(first, 16)] += int(second)
    return found


def functions(out: Path, symbols: Symbols, modules: str) -> dict[int, Counter[Function]]:
    """What a guest's file says, by phase and function; ``modules`` is its /proc/modules."""
    return {
        phase: attributed(counts, symbols, modules)
        for phase, counts in parsed(out.read_text()).items()
    }
