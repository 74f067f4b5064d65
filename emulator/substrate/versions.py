"""What the measuring programs on this machine say of themselves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable

from emulator.errors import Problem, Unsupported
from emulator.substrate.host import run_on_host
from emulator.substrate.process import PACKAGES

_ASK = {"ip": "-V", "ping": "-V", "tc": "-V", "bridge": "-V", "mnexec": "-v"}
_NUMBER = re.compile(r"(?<![A-Za-z0-9])v?(\d[\w.+~-]*)")  # not the 2 of iproute2


def tool_versions(programs: Iterable[str]) -> dict[str, str]:
    """Version by program. Unsupported that names all that are missing, with their packages."""
    wanted = list(programs)
    missing = [name for name in wanted if shutil.which(name) is None]
    if missing:
        raise Unsupported(
            *(Problem(name, "not installed", "a program that the experiment uses",
                      f"sudo apt-get install {PACKAGES.get(name, name)}") for name in missing)
        )  # fmt: skip
    return {name: _version(name) for name in wanted}


def _version(name: str) -> str:
    answer = run_on_host([name, _ASK.get(name, "--version")], timeout_s=10.0, env={"LC_ALL": "C"})
    lines = (answer.stdout or answer.stderr).decode(errors="replace").splitlines()
    line = next((one for one in lines if _NUMBER.search(one)), "")
    found = _NUMBER.search(line)
    return found[1] if found else "unknown"
