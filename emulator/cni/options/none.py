"""Plugin `none`."""

from __future__ import annotations

from typing import Literal

from emulator.cni.options.plugin import NetworkOptions, Plugin


class NoneOptions(NetworkOptions):
    """Each node has a bridge of its own with the same addresses; nothing joins the nodes."""

    plugin: Literal["none"]


PLUGIN = Plugin(NoneOptions, joins_nodes=False, ipv6=("",))
