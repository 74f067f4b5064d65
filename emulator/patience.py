"""How long to wait for what ought to happen, on a kernel that may be emulated.

Deadlines say when something has gone wrong, so they are made for a machine of usual speed. The
guest of bench ``vm`` says of itself that it is emulated; there a program takes ten times as long.
What the kernel does by itself is still done before anybody looks: there a pause is waited out where
nothing comes, and is only somewhat longer.
"""

from __future__ import annotations

import json
import os
from typing import Any

VARIABLE = "PODWIRE_BENCH"
"""In a guest's environment: what it says of itself."""
EMULATED = "tcg"
"""The accelerator that is none."""
_PROGRAMS, _KERNEL = 10.0, 3.0


def bench() -> dict[str, Any]:
    """What the guest that this program runs in says of its machine; empty on the host.

    ``bench``, ``accelerator`` (``kvm`` or ``tcg``), ``qemu``, ``machine``, ``cpu``. What a user has
    set there is none of it; an experiment says so (:mod:`emulator.harness.bench`).
    """
    try:
        facts = json.loads(os.environ.get(VARIABLE) or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def patient(seconds: float, *, kernel: bool = False) -> float:
    """A deadline that is right here; ``kernel``: for what waits for no program."""
    if bench().get("accelerator") != EMULATED:
        return seconds
    return seconds * (_KERNEL if kernel else _PROGRAMS)
