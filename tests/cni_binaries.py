"""Binaries of CNI: the real ones that this machine has, and shell scripts that misbehave."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
RELEASES = {
    path.name: str(path)
    for path in (Path("/usr/lib/cni"), *sorted(_CACHE.glob("podwire/cni-plugins-*")))
}
"""Folders of the reference plugins: the distribution's, and what `make cni-plugins` has built."""

VERSIONS = '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}'
PASS_ON = """python3 -c 'import json, sys
conf = json.load(sys.stdin)
print(json.dumps(conf.get("prevResult") or {"cniVersion": conf["cniVersion"]}))'"""
"""What a chained plugin does that changes nothing."""


def binary(folder: Path, name: str, commands: Mapping[str, str]) -> None:
    """A binary that does what is given for a command of CNI, and nothing for the others."""
    cases = {"VERSION": f"echo '{VERSIONS}'", "ADD": PASS_ON, **commands}
    branches = "".join(f"{command})\n{words}\n;;\n" for command, words in cases.items())
    path = folder / name
    path.write_text(f'#!/bin/sh\ncase "$CNI_COMMAND" in\n{branches}esac\n')
    path.chmod(0o755)


def conflist(*types: str, version: str = "1.0.0", **more: object) -> str:
    """A conflist of plugins without any configuration."""
    plugins = [{"type": name} for name in types]
    return json.dumps({"cniVersion": version, "name": "net", "plugins": plugins, **more})
