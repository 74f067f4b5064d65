"""The bench, ready for use: whatever a guest is to do is asked for here."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from emulator.bench.virtual import counting, guests, image, lock, machine, pool, renew
from emulator.bench.virtual.guests import Say
from emulator.bench.virtual.image import Image
from emulator.patience import VARIABLE


class Ready(NamedTuple):
    """Its image, and the guest that was frozen when it had loaded everything."""

    image: Image
    moment: Path

    @classmethod
    def ready(cls, say: Say) -> Self:
        """Fetched, made and frozen, unless it was before. Unsupported where that cannot be."""
        made = image.made(*renew.to_be_had(lock.read(), say), say)
        return cls(made, guests.frozen(made, say))

    def carried_out(
        self, call: str, arguments: Sequence[Mapping[str, Any]], seeds: Sequence[str],
        counts: Sequence[Path] = (),
    ) -> Generator[Any, None, None]:  # fmt: skip
        """What a function (``call``: ``module:function``) returns for each of its arguments, in
        their order; all are plain JSON. Each is computed by a guest of its own, whose chance
        comes from its seed, as many at a time as there are CPUs here. Raises what the function
        raised where that is an error of ours; PodwireError for a guest that fails.

        ``counts``: files for what :mod:`~emulator.bench.virtual.counting` counts meanwhile.
        """
        words = [counting.words(file) for file in counts]
        return pool.answers(self.image, self.moment, self.orders(call, arguments, seeds), words)

    def orders(
        self, call: str, arguments: Sequence[Mapping[str, Any]], seeds: Sequence[str]
    ) -> list[dict[str, Any]]:
        """What guests are told; see :func:`emulator.bench.virtual.guests.thawed`."""
        facts = {VARIABLE: json.dumps(machine.facts(self.image))}
        return [
            {"call": call, "argument": one, "seed": seed, "env": facts}
            for one, seed in zip(arguments, seeds, strict=True)
        ]
