"""Daemons of our own that are written in Python: a lab runs them in forks of its supervisor.

Nothing is executed: a plan names them as it names a program, and the child that would become the
program calls the function instead. So they need no path that exists in a namespace, start at once
and share the interpreter's memory (docs/decisions/0013-daemons-in-forks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from emulator.substrate.daemons import gobgp_routes

DAEMONS: Mapping[str, Callable[[Sequence[str]], None]] = {"gobgp-routes": gobgp_routes.run}
"""Each by the name under which a plan runs it; a function of its arguments that never returns."""
