"""Podwire: a declarative emulation testbed for Kubernetes pod networking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.cluster import Cluster, Place

__all__ = ["Cluster", "Place"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """``from emulator import Cluster`` without loading everything for ``import emulator``."""
    if name in __all__:
        from emulator import cluster

        return getattr(cluster, name)
    raise AttributeError(name)
