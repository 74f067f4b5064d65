"""The verb down, by itself: it needs no compiler, and so loads none."""

from __future__ import annotations

import argparse
import time

from emulator.errors import PodwireError, Problem
from emulator.substrate import lab as labs
from emulator.substrate import runtime
from emulator.verbs import benches, guest


def down_(arguments: argparse.Namespace) -> int:
    """End one lab, or all of a bench or of both; one that does not end keeps no other from it."""
    worlds = runtime.worlds() if arguments.all else [runtime.find(arguments.name)]
    problems: list[Problem | str] = []
    for world in worlds:
        began = time.perf_counter()
        try:
            labs.end(world)
            print(f"{world.name} is down ({time.perf_counter() - began:.3f} s)")
        except PodwireError as error:
            problems += error.problems
    both = arguments.all and benches.asked(arguments) in ("", "auto")
    code = guest.end_labs() if both else 0
    if problems:
        raise PodwireError(*problems)
    return code
