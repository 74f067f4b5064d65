"""The verb down, by itself: it needs no compiler, and so loads none."""

from __future__ import annotations

import argparse
import time

from emulator.substrate import lab as labs
from emulator.substrate import runtime


def down_(arguments: argparse.Namespace) -> int:
    """End one lab, or all."""
    worlds = runtime.worlds() if arguments.all else [runtime.find(arguments.name)]
    for world in worlds:
        began = time.perf_counter()
        labs.end(world)
        print(f"{world.name} is down ({time.perf_counter() - began:.3f} s)")
    return 0
