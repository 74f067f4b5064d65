"""What each verb of the command line does: one function a verb, in a few modules.

Every function takes the parsed arguments and returns the exit code.
"""

from __future__ import annotations

import argparse
import gc
from importlib import import_module

BENCHES = ("native", "vm", "virtual", "auto")
"""What ``--on`` and PODWIRE_ON may say; see ``benches``."""
_MODULES = {
    "check": "specs",
    "plan": "specs",
    "doctor": "specs",
    "completion": "specs",
    "up": "labs",
    "ls": "labs",
    "down": "ending",
    "apply": "labs",
    "fail": "labs",
    "heal": "labs",
    "cni": "labs",
    "verify": "labs",
    "get": "places",
    "exec": "places",
    "shell": "places",
    "cp": "places",
    "capture": "places",
    "cli": "places",
    "run": "measuring",
    "plot": "measuring",
    "reproduce": "reproducing",
    "vm": "guest",
}


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; only its own module is loaded."""
    verb = arguments.verb
    if hasattr(arguments, "on") and verb not in ("run", "ls"):  # they have something to do here
        from emulator.verbs import benches, guest

        if benches.where(arguments) == "vm":
            return guest.forward(arguments, arguments.words)
    module = import_module(f"emulator.verbs.{_MODULES[verb]}")
    function = getattr(module, f"{verb}_")
    if verb not in ("check", "plan"):
        return int(function(arguments))
    # these end at once: collecting a hundred thousand small values costs more than the
    # memory that it would give back
    collecting = gc.isenabled()
    gc.disable()
    try:
        return int(function(arguments))
    finally:
        if collecting:
            gc.enable()
