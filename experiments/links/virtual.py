"""The table measured on bench ``virtual``: a guest of its own for each feature, so that each
begins where all begin."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from emulator.bench.virtual.ready import Ready
from experiments.links import table
from experiments.links.features import VIRTUAL, Feature, fast_features, features
from experiments.links.rejected import rejected

FEATURES = (*features(VIRTUAL), *fast_features(VIRTUAL))
_NAME = "links"


def rows(wanted: Sequence[Feature] = FEATURES) -> Iterator[Sequence[str]]:
    """The rows of these of ``FEATURES``, in their order. Unsupported where the bench cannot be
    had."""
    seeds = [f"{_NAME} {one.name} {one.asked}" for one in wanted]
    arguments = [{"feature": FEATURES.index(one)} for one in wanted]
    for found in Ready.ready(_say).carried_out(f"{__name__}:measured", arguments, seeds):
        yield from found


def rejections() -> Iterator[Sequence[str]]:
    """The rows of what is not offered."""
    (found,) = Ready.ready(_say).carried_out(f"{__name__}:not_offered", [{}], [_NAME])
    yield from found


def measured(argument: dict[str, Any]) -> list[tuple[str, ...]]:
    """In a guest: the rows of one of ``FEATURES``."""
    with table.bench(_NAME) as bench:
        return list(bench.rows(FEATURES[argument["feature"]]))


def not_offered(_: dict[str, Any]) -> list[tuple[str, ...]]:
    """In a guest: see :mod:`experiments.links.rejected`."""
    with table.bench(_NAME) as bench:
        return list(rejected(bench.cluster, bench.ends, bench.base_us))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
