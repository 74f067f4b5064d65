"""YAML text to a typed, checked spec with nothing left to guess.

The grammar is a ``Cluster`` document and any number of ``v1/Pod`` manifests. The parts of
this room: ``reader`` (text to trees with places), ``model`` and ``check`` (trees to typed
documents), ``resolve`` and ``topology`` (documents to a ResolvedSpec), ``dumping`` (back).

The parser and pydantic are imported by the first call and not with this package: most
rooms only want the types of :mod:`emulator.spec.resolved`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.spec.resolved import ResolvedSpec

if TYPE_CHECKING:
    from emulator.spec.loading import Loaded
    from emulator.spec.shorthand import TopoReader

__all__ = [
    "dump",
    "load",
    "load_text",
    "load_text_with_warnings",
    "load_with_warnings",
    "parse_sets",
    "schema",
]


def load(
    path: str | Path,
    overrides: Mapping[str, object] | None = None,
    topo: TopoReader | None = None,
) -> ResolvedSpec:
    """The spec in a file.

    ``overrides`` are dotted paths of the Cluster document with the value to put there before
    anything is checked: ``{"spec.network.backend": "host-gw"}``. SpecError lists every
    problem of the file and of the overrides. ``topo`` reads classes of Mininet's, which is
    done outside of this room (:func:`emulator.topo.read`); without it they are refused.
    """
    return load_with_warnings(path, overrides, topo).spec


def load_text(
    text: str | bytes, file: str = "<text>", overrides: Mapping[str, object] | None = None
) -> ResolvedSpec:
    """The spec in a text; ``file`` is what messages call it. Else as :func:`load`."""
    return load_text_with_warnings(text, file, overrides).spec


def load_with_warnings(
    path: str | Path,
    overrides: Mapping[str, object] | None = None,
    topo: TopoReader | None = None,
) -> Loaded:
    """As :func:`load`, with what is accepted and not used: ``(spec, warnings)``."""
    from emulator.spec.loading import load_documents, read_bytes

    return load_documents(read_bytes(path), str(path), overrides or {}, topo)


def load_text_with_warnings(
    text: str | bytes, file: str = "<text>", overrides: Mapping[str, object] | None = None
) -> Loaded:
    """As :func:`load_text`, with what is accepted and not used: ``(spec, warnings)``."""
    from emulator.spec.loading import load_documents

    return load_documents(text, file, overrides or {})


def parse_sets(texts: Iterable[str]) -> dict[str, object]:
    """``["spec.underlay.links.mtu=9000"]`` of a command line as overrides for :func:`load`.

    A value is a scalar, or a mapping, list or quoted text of YAML. SpecError on others.
    """
    from emulator.spec.overrides import parse_sets

    return parse_sets(texts)


def schema() -> dict[str, Any]:
    """The JSON schema of one document of a spec, for editors.

    An editor with yaml-language-server takes it from a first line in the spec:
    ``# yaml-language-server: $schema=podwire.schema.json`` (the file that this was written
    to). It knows structure and single values; ``podwire check`` knows all.
    """
    from emulator.spec.editor import json_schema

    return json_schema()


def dump(spec: ResolvedSpec) -> str:
    """The spec as YAML with every default written out.

    Law: ``load_text(dump(spec))`` equals ``spec`` but for the places.
    """
    from emulator.spec.dumping import dump_documents

    return dump_documents(spec)
