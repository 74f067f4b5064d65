"""Whose instruction is at an address: the kernel's own symbols, and those of its modules.

The kernel proper is at the same addresses in every guest of an image (``nokaslr``). A module is
where there was room when it was loaded, the same within itself each time.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from emulator.measure.subsystems import USER, Function

_CODE: Final = "tTwW"
"""Types of symbols that are code, as nm(1) has them."""
_MODULE = re.compile(r"^(\S+) (\d+) .* 0x([0-9a-f]+)", re.M)

Table = list[tuple[int, str]]
"""(address, name), in order; the first of several names of an address."""


class Symbols(NamedTuple):
    """Addresses of the kernel proper, and those within each module, from where it begins."""

    kernel: Table
    modules: Mapping[str, Table]


def parsed(kallsyms: str, modules: str) -> Symbols:
    """From /proc/kallsyms and the /proc/modules of the same moment."""
    began = {name: start for name, start, _ in places(modules)}
    kernel: dict[int, str] = {}
    within: dict[str, dict[int, str]] = {name: {} for name in began}
    for line in kallsyms.splitlines():
        address, kind, name, *module = line.split()
        if kind not in _CODE:
            continue
        if not module:
            kernel.setdefault(int(address, 16), name)
        elif (owner := module[0].strip("[]")) in began:
            within[owner].setdefault(int(address, 16) - began[owner], name)
    return Symbols(sorted(kernel.items()), {one: sorted(t.items()) for one, t in within.items()})


def places(modules: str) -> list[tuple[str, int, int]]:
    """(module, where it begins, where it ends), in the order of addresses, of /proc/modules."""
    found = [(m[1], int(m[3], 16), int(m[3], 16) + int(m[2])) for m in _MODULE.finditer(modules)]
    return sorted(found, key=lambda one: one[1])


def attributed(counts: Mapping[int, int], symbols: Symbols, modules: str) -> Counter[Function]:
    """Counts by function, from counts by address and the /proc/modules of the guest.

    The sum stays the same: what is in a module without symbols is the module's ``?``, and what is
    nowhere is that of no module.
    """
    there = places(modules)
    starts = [start for _, start, _ in there]
    found: Counter[Function] = Counter()
    for address, count in counts.items():
        found[_function(address, symbols, there, starts)] += count
    return found


def _function(
    address: int, symbols: Symbols, there: list[tuple[str, int, int]], starts: list[int]
) -> Function:
    if not address:
        return USER
    at = bisect_right(starts, address) - 1
    if at >= 0 and address < there[at][2]:
        name, start, _ = there[at]
        return Function(_name(symbols.modules.get(name, []), address - start), name)
    return Function(_name(symbols.kernel, address))


def _name(table: Table, address: int) -> str:
    at = bisect_right(table, address, key=lambda one: one[0]) - 1
    return table[at][1] if at >= 0 else "?"
