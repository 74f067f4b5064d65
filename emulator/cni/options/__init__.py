"""The network plugins that a spec can name, with their backends and typed options.

One file per plugin: a model whose fields are what may stand under ``network:``, and its row. A
new plugin is such a file, a line in ``PLUGINS``, and rooms of its name in ``emulator.cni`` and
``emulator.oracle``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, Union

from pydantic import Field

from emulator.cni.options import (
    calico,
    canal,
    cni,
    flannel,
    host,
    kube_router,
    kubenet,
    none,
    overlay,
    romana,
    weave,
)
from emulator.cni.options.plugin import NetworkOptions, Plugin

PLUGINS: Final[Mapping[str, Plugin]] = {
    "none": none.PLUGIN,
    "host": host.PLUGIN,
    "overlay": overlay.PLUGIN,
    "cni": cni.PLUGIN,
    "flannel": flannel.PLUGIN,
    "kube-router": kube_router.PLUGIN,
    "canal": canal.PLUGIN,
    "kubenet": kubenet.PLUGIN,
    "weave": weave.PLUGIN,
    "calico": calico.PLUGIN,
    "romana": romana.PLUGIN,
}
"""All plugins of this version by name."""

if TYPE_CHECKING:
    AnyNetwork = NetworkOptions
else:
    AnyNetwork = Annotated[
        Union[tuple(row.options for row in PLUGINS.values())],  # noqa: UP007
        Field(discriminator="plugin"),
    ]
