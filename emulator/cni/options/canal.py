"""Plugin Canal."""

from __future__ import annotations

from typing import Literal

from emulator.cni.options import flannel


class CanalOptions(flannel.FlannelBackends):
    """Canal: Calico's pods without a bridge, and flannel between the nodes."""

    plugin: Literal["canal"]


PLUGIN = flannel.row(CanalOptions)
