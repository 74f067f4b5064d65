"""The bench that an experiment runs on, and what it may say of speed.

Who starts a guest tells it in the environment: ``PODWIRE_BENCH`` is a JSON object such as
``{"bench": "vm", "accelerator": "tcg", "qemu": "7.2.22", "machine": "pc", "cpu": "max"}``; without
it the bench is the machine's own kernel.  An emulated CPU (accelerator ``tcg``) has no speed of
its own: whatever time says there, it says of the emulator.  Bytes, packets, rules and verdicts are
those of the kernel, whoever computes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from emulator.errors import Problem, SpecError, Unsupported
from emulator.harness.experiment import Step
from emulator.measure.sample import Measured, Sample, all_unsupported, is_speed
from emulator.patience import EMULATED, VARIABLE

NATIVE = "native"
NO_SPEED = "needs KVM or --on virtual"
VIRTUAL = "virtual"
LIMITS = (
    "Every instruction costs the same, in one CPU without caches: ratios and instruction counts "
    "hold, absolute times do not. Intervals are the spread over seeds, not a machine's uncertainty."
)
"""What is to be said of numbers of bench virtual, wherever they are shown."""
_TEXTS = ("accelerator", "qemu", "machine", "cpu", "image")


class Bench(NamedTuple):
    """``bench`` is native, vm or virtual; the rest is empty where there is no QEMU.

    ``image``: a digest of all that runs there; only ``virtual`` has one.
    """

    bench: str = NATIVE
    accelerator: str = ""
    qemu: str = ""
    machine: str = ""
    cpu: str = ""
    image: str = ""

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> Bench:
        """What the environment says. SpecError for what is no such object."""
        text = environ.get(VARIABLE, "")
        return cls.of(_parsed(text)) if text else cls()

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Bench:
        """From the object in the environment or in a fingerprint; fields of others are left out."""
        return cls(**{name: str(fields[name]) for name in cls._fields if name in fields})

    @classmethod
    def of_fingerprint(cls, fingerprint: Mapping[str, Any]) -> Bench:
        """Where a run was made: natively, if its fingerprint is older than benches."""
        return cls.of(fingerprint.get("bench", {}))

    @property
    def has_speed(self) -> bool:
        """Whether time means anything here."""
        return self.accelerator != EMULATED

    @property
    def own_clock(self) -> bool:
        """Whether its seconds are not those of whoever waits for it."""
        return self.bench == VIRTUAL

    def as_json(self) -> dict[str, str]:
        """For the fingerprint: what is empty is left out."""
        return {name: value for name, value in self._asdict().items() if value}

    def words(self) -> str:
        """For captions and tables: ``vm (tcg, QEMU 7.2.22, pc, max)``; empty when native."""
        if self.bench == NATIVE:
            return ""
        known = (self.accelerator, f"QEMU {self.qemu}" if self.qemu else "", self.machine, self.cpu)
        return f"{self.bench} ({', '.join(filter(None, known))})"

    def taken(self, one: Measured | Step) -> Measured:
        """Do a step, unless it measures a speed where there is none.

        What such a step counts besides is not counted either: its traffic is what is not sent.
        """
        if isinstance(one, Step):
            if not self.has_speed and any(map(is_speed, one.metrics)):
                return all_unsupported(one.metrics, NO_SPEED)
            one = one.run()
        return one if self.has_speed else one._replace(samples=tuple(map(_counted, one.samples)))

    def require(self, experiment: str, counts: object) -> None:
        """Unsupported for an experiment that measures speed alone, on a bench without one."""
        if not self.has_speed and not counts:
            raise Unsupported(
                Problem(f"experiment {experiment}", f"bench {self.words()}: speed alone is measured"
                        ", and an emulated CPU has none", "a CPU of its own", NO_SPEED)
            )  # fmt: skip


def _counted(sample: Sample) -> Sample:
    if not is_speed(sample.metric):
        return sample
    return Sample(sample.metric, None, sample.unit, {}, NO_SPEED, supported=False)


def _parsed(text: str) -> dict[str, str]:
    try:
        fields = json.loads(text)
        name = fields["bench"]
        good = all(isinstance(fields.get(one, ""), str) for one in _TEXTS)
    except (ValueError, TypeError, KeyError, AttributeError):
        name, good = "", False
    if not (good and isinstance(name, str) and name):
        raise SpecError(
            Problem(f"environment: {VARIABLE}", repr(text[:80]),
                    'a JSON object of texts such as {"bench": "vm", "accelerator": "kvm"}',
                    "it is set by the bench itself: unset it for a run on this kernel")
        )  # fmt: skip
    return dict(fields)
