"""Daemons of our own that are written in Python: a lab runs them in forks of its supervisor.

Nothing is executed: a plan names them as it names a program, and the child that would become the
program calls the function instead. So they need no path that exists in a namespace, start at once
and share the interpreter's memory (docs/decisions/0013-daemons-in-forks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import cast

DAEMONS: Mapping[str, Sequence[str]] = {
    "gobgp-routes": ("gobgp",),
    "strongswan": ("charon", "swanctl"),
    "weave-router": (),
}
"""Each by the name under which a plan runs it, with the programs of others that it wants."""

Daemon = Callable[[Sequence[str]], None]


def function(name: str) -> Daemon:
    """A function of the daemon's arguments that never returns. What it uses is loaded now: from
    within a namespace the files may be out of sight."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast(Daemon, module.run)
