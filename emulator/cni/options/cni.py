"""Plugin `cni`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from emulator.cni.options.plugin import NetworkOptions, Plugin


class CniOptions(NetworkOptions):
    """Any conflist, run with the real binaries as the CNI specification says."""

    plugin: Literal["cni"]
    conflist: str = Field(
        description="file of a network configuration list, relative to this one; or the list "
        "itself, as JSON"
    )
    binDir: list[str] = Field(
        default=["/usr/lib/cni", "/opt/cni/bin"],
        min_length=1,
        description="folders of the binaries, the first that has one wins",
    )
    args: dict[str, str] = Field(default={}, description="CNI_ARGS of every pod")
    capabilities: dict[str, Any] = Field(
        default={},
        description="what the runtime offers to plugins that declare the capability; ipRanges is "
        "the node's pod subnet unless given",
    )
    podCapabilities: dict[str, dict[str, Any]] = Field(
        default={}, description="capabilities of single pods, by pod"
    )
    timeoutSeconds: int = Field(
        default=30, ge=1, le=3600, description="how long one binary may take"
    )


PLUGIN = Plugin(CniOptions, joins_nodes=False)
