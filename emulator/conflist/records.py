"""What is kept of an attachment: enough to undo it, whoever asks and whatever came between.

The form is that of libcni's cache (``/var/lib/cni/results/<network>-<container>-<interface>``),
which other tools read. Unlike there a record is begun *before* the first binary runs, without a
result, so that DEL is owed from that moment on.
"""

from __future__ import annotations

import base64
import json
from typing import NamedTuple

from emulator.conflist.reading import Json, JsonObject
from emulator.conflist.requests import Target
from emulator.conflist.results import Garbage, Result, result

FOLDER = "/var/lib/cni/results"
KIND = "cniCacheV1"


class Record(NamedTuple):
    """An attachment that was begun. ``config`` is the conflist's text,
    ``pod`` who is attached, ``version`` what was spoken; ``added`` is None until ADD has
    succeeded, ``undoing`` true from the first DEL on; ``complaints`` are those that CHECK
    had right after ADD."""

    network: str
    config: str
    pod: str
    path: tuple[str, ...]
    timeout_s: float
    version: str
    target: Target
    added: Result | None
    undoing: bool = False
    complaints: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.network}-{self.target.container}-{self.target.interface}"

    def text(self) -> str:
        """As it is kept."""
        kept: JsonObject = {
            "kind": KIND,
            "containerId": self.target.container,
            "config": base64.b64encode(self.config.encode()).decode(),
            "ifName": self.target.interface,
            "networkName": self.network,
            "netns": self.target.netns,
            "cniArgs": [[key, value] for key, value in self.target.args],
            "capabilityArgs": dict(self.target.capabilities),
            "podwire": {
                "pod": self.pod,
                "path": list(self.path),
                "timeoutSeconds": self.timeout_s,
                "cniVersion": self.version,
                "undoing": self.undoing,
                "complaints": list(self.complaints),
            },
        }
        if self.added:
            kept["result"] = self.added.raw
        return json.dumps(kept, indent=1) + "\n"


def read(text: str) -> Record | None:
    """A record from its text; None for what is none of ours."""
    try:
        kept = json.loads(text)
        own = kept["podwire"]
        raw: Json = kept.get("result")
        version = own["cniVersion"]
        return Record(
            kept["networkName"],
            base64.b64decode(kept["config"]).decode(),
            own["pod"],
            tuple(own["path"]),
            own["timeoutSeconds"],
            version,
            Target(
                kept["containerId"],
                kept["netns"],
                kept["ifName"],
                tuple((key, value) for key, value in kept["cniArgs"]),
                kept["capabilityArgs"],
            ),
            result(json.dumps(raw).encode(), version) if raw else None,
            own["undoing"],
            tuple(own["complaints"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, Garbage):
        return None
