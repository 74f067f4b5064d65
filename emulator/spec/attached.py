"""What a spec names by a path: the conflist of plugin ``cni``, read, checked and taken in.

Afterwards the spec is whole: it can be compiled and written out anywhere.
"""

from __future__ import annotations

import json
from pathlib import Path

from emulator.conflist.model import BYTES, parse
from emulator.errors import Problem, SpecError
from emulator.spec.findings import Findings, nearest
from emulator.spec.resolved import Network, ResolvedSpec
from emulator.spec.tree import Source


def attached_files(network: Network, source: Source, findings: Findings) -> Network:
    """The network with the conflist's text in place of its path, and folders that are absolute."""
    if network.plugin != "cni":
        return network
    options = dict(network.options)
    beside = Path(source.file).parent
    options["conflist"] = _conflist(str(options["conflist"]), beside, source, findings)
    folders = [str((beside / folder).absolute()) for folder in json.loads(str(options["binDir"]))]
    options["binDir"] = json.dumps(folders)
    return network._replace(options=tuple(sorted(options.items())))


def check_attached(spec: ResolvedSpec, source: Source, findings: Findings) -> None:
    """Capabilities of pods that there are not."""
    if spec.network.plugin != "cni":
        return
    pods = [pod.id for pod in spec.pods]
    for name in json.loads(str(spec.network.option("podCapabilities"))):
        if name not in pods:
            place = source.place("spec", "network", "podCapabilities", name, key=True)
            findings.add(place, f'"{name}"', "the name of a pod", nearest(name, pods))


def _conflist(named: str, beside: Path, source: Source, findings: Findings) -> str:
    """The text, or nothing where it cannot be had."""
    place = source.place("spec", "network", "conflist")
    inline = named.lstrip().startswith("{")
    text, wrong = (named, "") if inline else _read(beside / named)
    if wrong:
        findings.add(place, f"{beside / named}, {wrong}", "a file that holds a conflist in JSON")
        return ""
    try:
        parse(text, str(place) if inline else str(beside / named))
    except SpecError as error:
        for problem in error.problems:
            if isinstance(problem, Problem):
                findings.include(place, problem)
        return ""
    return text


def _read(path: Path) -> tuple[str, str]:
    """The text of a file, or what is wrong with it."""
    try:
        with path.open("rb") as file:
            return file.read(BYTES + 1).decode("utf-8-sig"), ""
    except FileNotFoundError:
        return "", "which is not there"
    except UnicodeDecodeError:
        return "", "which is no text in UTF-8"
    except (OSError, ValueError) as error:
        return "", f"which cannot be read: {getattr(error, 'strerror', None) or error}"
