"""The grammar as a JSON schema, for editors."""

from __future__ import annotations

from typing import Any

from emulator.spec.model import ClusterDocument, PodDocument


def json_schema() -> dict[str, Any]:
    """See :func:`emulator.spec.schema`."""
    cluster = ClusterDocument.model_json_schema(ref_template="#/$defs/{model}")
    pod = PodDocument.model_json_schema(ref_template="#/$defs/{model}")
    definitions = {**cluster.pop("$defs"), **pod.pop("$defs")}
    definitions["ClusterSpec"]["required"].remove("nodes")  # underlay.topo can bring them
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Podwire cluster spec",
        "oneOf": [_without_null(cluster), _without_null(pod)],
        "$defs": {name: _without_null(value) for name, value in definitions.items()},
    }


def _without_null(schema: Any) -> Any:
    """A field that may be left out is None for Python; in a file, null is refused."""
    if isinstance(schema, list):
        return [_without_null(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: _without_null(value) for key, value in schema.items() if value is not None}
    options = [part for part in parts.get("anyOf", ()) if part != {"type": "null"}]
    if len(options) == 1:
        del parts["anyOf"]
        return {**options[0], **parts}
    return {**parts, "anyOf": options} if options else parts
