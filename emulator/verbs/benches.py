"""Which bench a verb is for: the one asked for, the one that its lab is on, the first that can."""

from __future__ import annotations

import argparse
import os
import sys

from emulator.bench import guest as guests
from emulator.errors import Problem, SpecError, Unsupported
from emulator.substrate import runtime
from emulator.verbs import BENCHES, guest


def where(arguments: argparse.Namespace) -> str:
    """The bench that a verb is for: as asked, else where its lab is. SpecError."""
    if guest.in_guest():
        return "native"
    bench = asked(arguments)
    makes = arguments.verb in guest.MAKING
    if bench == "auto" and makes:
        return _first_that_can(arguments)
    if bench in ("native", "vm", "virtual"):
        return bench
    if makes or arguments.verb == "ls":
        return "native"
    if arguments.verb == "down" and arguments.all:
        return "native"  # and from there to the other one
    return _of_lab(arguments.name if arguments.verb == "down" else arguments.lab)


def asked(arguments: argparse.Namespace) -> str:
    """The bench that the command line asks for, or else the environment. SpecError."""
    bench: str = arguments.on or os.environ.get("PODWIRE_ON", "")
    if bench and bench not in BENCHES:
        raise SpecError(
            Problem("environment: PODWIRE_ON", repr(bench), f"one of {', '.join(BENCHES)}")
        )
    if bench == "virtual" and arguments.verb != "run":
        found = "--on virtual" if arguments.on else "PODWIRE_ON=virtual in the environment"
        raise SpecError(
            Problem(f"podwire {arguments.verb}", found, "an experiment, which is all that "
                    "this bench carries", "podwire run EXPERIMENT --on virtual; for a lab to look "
                    "around in --on native or --on vm")
        )  # fmt: skip
    return bench


def _of_lab(name: str | None) -> str:
    """Where the lab of that name is, or the only one. SpecError when each bench has one."""
    here = [world.name for world in runtime.worlds()]
    if name is None and here:
        there = [str(row["lab"]) for row in guest.labs()]
        if there:
            names = ", ".join([*here, *(f"{one} (vm)" for one in there)])
            hint = "name it: --lab NAME (podwire down NAME), or say --on"
            raise SpecError(Problem("lab", f"several: {names}", "one", hint))
    if name in here or (name is None and here) or guests.find() is None:
        return "native"
    return "vm"


def _first_that_can(arguments: argparse.Namespace) -> str:
    """``native``, unless this kernel lacks what the spec needs; says which and why."""
    if getattr(arguments, "spec", None) is None:
        if arguments.verb == "run":
            _say("bench native: what this kernel lacks are rows of their own; --on vm has all")
        return "native"
    from emulator.compile import compile_spec
    from emulator.doctor import lacking
    from emulator.needs import needs
    from emulator.verbs.specs import load

    if not hasattr(arguments, "set"):
        arguments.set = []
    wanted = needs(entry.resource for entry in compile_spec(load(arguments)))
    try:
        missing = lacking(wanted)
    except Unsupported as error:  # no namespaces at all
        _say(f"bench vm: {error}")
        return "vm"
    if missing:
        _say(f"bench vm: this kernel has no {', no '.join(missing)}")
        return "vm"
    _say("bench native: this kernel has all that the spec needs")
    return "native"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
