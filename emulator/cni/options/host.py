"""Plugin `host`."""

from __future__ import annotations

from typing import Literal

from emulator.cni.options.plugin import NetworkOptions, Plugin


class HostOptions(NetworkOptions):
    """No pod network at all: every pod lives in its node's network namespace."""

    plugin: Literal["host"]


PLUGIN = Plugin(HostOptions, pod_network=False, ipv6=("",))
