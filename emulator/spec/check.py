"""Documents against the grammar: a model of what is right, findings for what is wrong.

What is wrong is cut out (or replaced where the grammar wants something) until the rest
validates, so that checks across values still find what they can in the same run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from emulator.cni.options import PLUGINS
from emulator.cni.options.plugin import NetworkOptions
from emulator.spec.findings import Findings, nearest, one_of, show
from emulator.spec.grammar import LIST, MAPPING
from emulator.spec.reader import Trouble
from emulator.spec.resolved import Place
from emulator.spec.tree import Loc, Mark, Source, get, grown, located, plain, with_value, without

Model = TypeVar("Model", bound=BaseModel)

STAND_INS: Mapping[str, Mapping[Loc, object]] = {
    "Cluster": {
        ("apiVersion",): "podwire/v1",
        ("metadata",): {"name": "unnamed"},
        ("metadata", "name"): "unnamed",
        ("spec", "network"): {"plugin": "none"},
        ("spec", "nodes"): {"count": 1},
        ("spec", "nodes", "count"): 1,
    },
    "Pod": {("apiVersion",): "v1"},
}
"""What takes the place of a wrong required part, by kind; chosen to cause no findings."""

_TYPES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} item(s)",
}
_UNKNOWN = "extra_forbidden"


class Checked(NamedTuple):
    """``source`` holds what was right, ``dropped`` where values were cut out."""

    source: Source
    dropped: frozenset[Loc]

    def unsure(self, *loc: str | int) -> bool:
        """Whether something at or below ``loc`` was cut out."""
        return any(cut[: len(loc)] == loc or loc[: len(cut)] == cut for cut in self.dropped)


def validate(
    model: type[Model],
    source: Source,
    troubles: Iterable[Trouble],
    stand_ins: Mapping[Loc, object],
    findings: Findings,
) -> tuple[Model | None, Checked]:
    """The document as a model, None when nothing of it is right; findings are added to.

    ``troubles`` are known already: nothing is said twice about their places.
    """
    reported = [trouble.loc for trouble in troubles]
    tree, dropped = source.tree, set[Loc]()
    first = True
    while True:
        try:
            value = model.model_validate(plain(tree))
            return value, Checked(source._replace(tree=tree), frozenset(dropped))
        except ValidationError as failed:
            errors = failed.errors(include_url=False)
        cuts: set[Loc] = set()
        for error in errors:
            loc, _ = located(tree, error["loc"])
            if first and not any(loc[: len(known)] == known for known in reported):
                _report(model, source, error, findings)
            whole = (*loc, error["loc"][-1]) if error["type"] == "missing" else loc
            if error["type"] == "missing" and whole in stand_ins:
                tree = with_value(tree, whole, grown(stand_ins[whole], Mark(1, 1))) or tree
                dropped.add(whole)
                continue
            cuts.add(loc)
            if error["type"] != _UNKNOWN:
                dropped.add(loc)
        if () in cuts:
            return None, Checked(source, frozenset({()}))
        tree, first = without(tree, cuts), False


def _report(
    model: type[BaseModel], source: Source, error: Mapping[str, Any], findings: Findings
) -> None:
    kind, context = error["type"], error.get("ctx", {})
    loc, node = located(source.tree, error["loc"])
    last = error["loc"][-1] if error["loc"] else ""
    place, found, hint = source.place(*loc), show(node.value, node.text), ""
    if kind == "missing":
        place, found, expected = source.place(*loc, last), "nothing", f"the field {last}"
    elif kind == _UNKNOWN:
        fields = _fields(model, error["loc"][:-1])
        place, found = source.place(*loc, key=True), f'the unknown field "{last}"'
        expected = one_of(fields)
        hint = _elsewhere(model, source, error["loc"]) or nearest(str(last), fields)
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        return _tag(source, loc, error, findings)
    elif kind == "literal_error":
        known = _literals(context["expected"])
        expected = one_of(known)
        hint = nearest(str(node.value), known) if isinstance(node.value, str) else ""
    elif kind == "podwire":
        expected, hint = context["expected"], context["hint"]
        found = context["found"] or found
        if last == "[key]":
            place, found = source.place(*loc, key=True), f'"{loc[-1]}"'
    else:
        expected = _TYPES.get(kind, error["msg"]).format(**context)
        if str(last).startswith("<") and expected == "a mapping":
            expected = "a mapping or a list"
        hint = _quoting(kind, node.value, node.text)
    findings.add(place, found, expected, hint)


def _tag(source: Source, loc: Loc, error: Mapping[str, Any], findings: Findings) -> None:
    """The field that says which grammar holds: it is missing or has an unknown value."""
    tag = str(error["ctx"]["discriminator"]).strip("'")
    node = get(source.tree, *loc, tag)
    place = source.place(*loc, tag)
    if node is None:
        findings.add(place, "nothing", f"the field {tag}", f"its value is {one_of(PLUGINS)}")
    else:
        hint = nearest(node.value, PLUGINS) if isinstance(node.value, str) else ""
        findings.add(place, show(node.value, node.text), one_of(PLUGINS), hint)


def _quoting(kind: str, value: object, text: str) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f'write "{text}" for the text'
    if kind == "int_type" and isinstance(value, str) and value.isdecimal():
        return "write it without quotes"
    return ""


def _literals(expected: str) -> list[str]:
    """pydantic's ``'a', 'b' or 'c'`` as a list."""
    return expected.split("'")[1::2]


def _fields(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The fields of the model that stands at a location of a validation error."""
    models: list[type[BaseModel]] = [model]
    is_key = False
    for piece in loc:
        annotations = [
            m.model_fields[piece].annotation
            for m in models
            if isinstance(piece, str) and not is_key and piece in m.model_fields
        ]
        is_key = any(get_origin(annotation) is dict for annotation in annotations)
        if annotations:
            models = [found for annotation in annotations for found in _models(annotation)]
        elif piece == MAPPING:
            models = models[:1]
        elif piece == LIST:
            models = models[-1:]
        elif issubclass(models[0], NetworkOptions):
            models = [PLUGINS[str(piece)].options]
    # its own before those that it has from what it is a kind of
    own = [name for m in models for name in m.__annotations__ if name in m.model_fields]
    return list(dict.fromkeys((*own, *(name for m in models for name in m.model_fields))))


def _elsewhere(model: type[BaseModel], source: Source, loc: tuple[str | int, ...]) -> str:
    """The hint ``it belongs to spec`` where something around the field has one of that name."""
    here, _ = located(source.tree, loc[:-1])
    for at in range(len(loc) - 2, 0, -1):
        around, _ = located(source.tree, loc[:at])
        if around != here and loc[-1] in _fields(model, loc[:at]):
            return f"it belongs to {'.'.join(map(str, around))}"
    return ""


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def place_of(source: Source, trouble: Trouble) -> Place:
    """The place of what is wrong with the text."""
    path = source.place(*trouble.loc).path
    return Place(source.file, trouble.mark.line, trouble.mark.column, path)
