"""What a guest of bench ``virtual`` is asked to do. Plain JSON comes in, and plain JSON goes out.

Everything that an experiment may need is loaded here, for that is done before the guest is frozen.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from emulator import cluster, supervisor  # noqa: F401 - loaded before the guest is frozen
from emulator.harness import cell as cells
from emulator.harness.bench import Bench
from emulator.harness.settings import Settings
from emulator.substrate.host import run_on_host
from emulator.verbs import fingerprint

_EXPERIMENTS = import_module("experiments")
for _name in _EXPERIMENTS.TABLE:
    _EXPERIMENTS.module(_name, "experiment")

_TESTS = ("tcrypt",)
"""Modules that work for minutes when they are loaded."""
_LOADING_S = 600.0


def prepare(argument: dict[str, Any]) -> dict[str, Any]:
    """An experiment's settings as this machine finds them (``settings``), what the machine is
    (``fingerprint``), and what it lacks for each condition (``lacking``)."""
    module = _EXPERIMENTS.module(argument["experiment"], "experiment")
    settings: Settings = module.settings(argument["quick"])
    experiment = module.experiment(settings)
    return {
        "settings": settings.as_json(),
        "fingerprint": fingerprint.take(module),
        "lacking": {one.name: experiment.lacking(one) for one in experiment.matrix.conditions},
    }


def cell(argument: dict[str, Any]) -> dict[str, Any]:
    """Measure one condition of an experiment under its settings."""
    module = _EXPERIMENTS.module(argument["experiment"], "experiment")
    experiment = module.experiment(Settings(**argument["settings"]))
    (condition,) = (
        one for one in experiment.matrix.conditions if one.name == argument["condition"]
    )
    return cells.measure(experiment, condition, argument["seed"], Bench.here()).as_json()


def symbols(_: dict[str, Any]) -> dict[str, str]:
    """Addresses of the kernel's code (``kallsyms``) with that of every module that this image has
    and that can be loaded, and where modules are (``modules``)."""
    names = sorted(
        path.stem.partition(".")[0]
        for path in Path("/lib/modules").rglob("*.ko")
        if path.stem not in _TESTS
    )
    run_on_host(["modprobe", "-a", "-q", *names], timeout_s=_LOADING_S)
    with Path("/proc/kallsyms").open() as every:
        code = "".join(line for line in every if line.split(maxsplit=2)[1] in "tTwW")
    return {"kallsyms": code, "modules": Path("/proc/modules").read_text()}
