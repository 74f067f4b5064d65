"""Questions put to the emulator, one folder each.

A folder ``experiments/<package>/`` holds

- ``README.md``: question, method, how to read the result;
- ``experiment.py``: ``QUESTION``; ``TOOLS``, the programs that it needs;
  ``settings(quick) -> Settings`` (blocks, and options of its own; it is called under the lock that
  keeps others from measuring and may measure a pilot); ``experiment(settings) -> Experiment``;
  ``COUNTS``, the metrics of right and count, if it has any (see ``harness.bench``); ``CPUS``, how
  many it needs, if more than one; ``COUNTED``, where it counts instructions, which is done on
  bench ``virtual`` alone;
- ``plots.py``: ``draw(run, summary, folder, pgf=False) -> list[Path]``, which draws from a stored
  run and imports neither ``experiment.py`` nor anything of a live lab; and, where a run says more
  than ratios, ``analyse(run) -> summary`` and ``report(summary) -> str``; ``TOLERANCES``, by which
  medians of a reference may move (see ``report.reproduction``).

The command line knows this table and loads a folder's modules when it needs them.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

from emulator.errors import Problem, SpecError

TABLE = {
    "overlay-vs-routed": "experiments.overlay_vs_routed",
    "bring-up": "experiments.bring_up",
    "fidelity": "experiments.fidelity",
    "plugins": "experiments.plugins",
    "convergence": "experiments.convergence",
    "cni-verbs": "experiments.cni_verbs",
    "encapsulation": "experiments.encapsulation",
    "path-mtu": "experiments.path_mtu",
    "wan": "experiments.wan",
    "instructions": "experiments.instructions",
}
"""Name on the command line to package."""
REFERENCES = {
    "overlay-vs-routed": (False, 3),
    "instructions": (True, 5),
}
"""What ``podwire reproduce`` makes again on bench virtual: the small version or not, and blocks."""


def module(name: str, part: str) -> ModuleType:
    """``experiment`` or ``plots`` of an experiment. SpecError for a name that is none."""
    if name not in TABLE:
        near = get_close_matches(name, TABLE, 1)
        raise SpecError(
            Problem("experiment", repr(name), f"one of {', '.join(TABLE)}",
                    f"did you mean {near[0]}?" if near else "podwire run lists them")
        )  # fmt: skip
    return import_module(f"{TABLE[name]}.{part}")
