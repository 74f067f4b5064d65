"""The fingerprint that the results of an experiment get, on this machine and kernel."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import emulator
from emulator.harness import fingerprint as fingerprints
from emulator.substrate.versions import tool_versions

SOURCE = Path(emulator.__file__).parent


def take(experiment: ModuleType) -> dict[str, Any]:
    """The machine's, with the digest of the experiments' own modules beside the emulator's."""
    taken = fingerprints.take(tool_versions(experiment.TOOLS), source=SOURCE)
    experiments = Path(import_module("experiments").__file__ or "").parent
    return {**taken, "experiments_source": fingerprints.digest(experiments)}


def commit() -> str:
    """The commit of this checkout."""
    return fingerprints.git_commit(SOURCE)
