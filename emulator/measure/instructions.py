"""Instructions of the kernel for a round trip, a packet and a byte, by function and subsystem.

Nothing in a guest knows how many instructions it executes. So the instrument sends what is to be
counted, with marks around it (``marked``), and its samples are without values: they say by which
phases and over how many units. Whoever has counted puts the values in (``filled``); on a bench
where nobody does they stay unsupported.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from emulator.measure import marked, subsystems, tool, wait
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.marked import Load
from emulator.measure.sample import INSTRUCTIONS as METRICS
from emulator.measure.sample import Measured, Sample, all_failed, failed, good
from emulator.measure.subsystems import Function
from emulator.place import Place

NEEDED: Final = "instructions are counted on bench virtual alone: run with --on virtual"
MODULES: Final = "modules.txt"
"""Among the raw files: /proc/modules, which says where modules are."""
FUNCTIONS: Final = "functions.tsv"
"""Among them, once counted: instructions by phase and function."""
TOLD: Final = 30
"""Functions that a sample's detail names; the rest is in the raw file."""


class Window(NamedTuple):
    """What a value is: of the instructions in ``phase``, less those in ``less``, a share of one
    in ``units``. ``elapsed_ns``: what the guest's clock said of it, the same difference."""

    phase: int
    less: int
    units: int
    elapsed_ns: int


def counted(
    server: Place, client: Place, load: Load, *, port: int, cpus: CpuMap | None = None
) -> Measured:
    """The traffic of a load: samples that are yet to be filled, one for each of ``METRICS``."""
    raw: dict[str, bytes] = {}
    text = Path(marked.__file__).read_text()
    words = [server.ip, str(port), *map(str, load)]
    serving = server.start(
        tool.python(text, "server", *words), cpus=None if cpus is None else cpus.for_server(0)
    )
    try:
        wait.listening(server, "tcp", port, server=serving)
        ended = client.run(
            tool.python(text, "client", *words), timeout_s=marked.WITHIN_S,
            cpus=None if cpus is None else cpus.for_client(0),
        )  # fmt: skip
        tool.keep(raw, "marked", ended)
        if ended.returncode:
            raise MeasureFailed(f"counted traffic: {tool.said(ended)}")
        spent = json.loads(ended.stdout)
        raw[MODULES] = client.read_file("/proc/modules")
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), raw)
    finally:
        serving.kill()
    found = windows(load, [0, *(spent[name] for name in marked.PHASES[1:])])
    samples = [
        failed(metric, NEEDED, **window._asdict(), **load._asdict())._replace(supported=False)
        for metric, window in zip(METRICS, found, strict=True)
    ]
    return Measured(tuple(samples), raw)


def windows(load: Load, spent_ns: Sequence[int]) -> tuple[Window, Window, Window]:
    """One for each of ``METRICS``, from the nanoseconds of each phase."""
    packets = load.bursts * (load.burst_packets + 1)
    return (
        Window(1, 0, load.echoes, spent_ns[1]),
        Window(2, 0, packets, spent_ns[2]),
        Window(4, 3, load.long_b - load.short_b, spent_ns[4] - spent_ns[3]),
    )


Phases = Mapping[int, Counter[Function]]
"""What was counted, by phase."""


def filled(sample: Sample, phases: Phases) -> Sample:
    """The sample with its value, if it is one that was left without; others as they are.

    ``detail`` has then, for each unit, ``subsystems`` and the first ``functions`` as (function,
    module, subsystem, instructions), and in all ``kernel``, ``user`` and ``elapsed_ns``.
    """
    if sample.supported or sample.metric not in METRICS:
        return sample
    detail: Mapping[str, Any] = sample.detail
    window = Window(**{name: detail[name] for name in Window._fields})
    if window.phase not in phases:
        return failed(sample.metric, f"phase {window.phase} was not counted", **detail)
    spent = Counter(phases[window.phase])
    spent.subtract(phases.get(window.less, {}))
    user = spent.pop(subsystems.USER, 0)
    kernel = spent.total()
    parts: Counter[str] = Counter()
    for function, count in spent.items():
        parts[subsystems.of(function)] += count
    most = sorted(spent.items(), key=lambda one: (-one[1], one[0]))[:TOLD]
    return good(
        sample.metric,
        kernel / window.units,
        **detail,
        kernel=kernel,
        user=user,
        subsystems={name: parts[name] / window.units for name in subsystems.NAMES},
        functions=[
            (one.name, one.module, subsystems.of(one), count / window.units) for one, count in most
        ],
    )


def as_text(phases: Phases) -> str:
    """All that was counted, a line for each function and phase."""
    rows = [
        f"{marked.PHASES[phase]}\t{count}\t{subsystems.of(one)}\t{one.module}\t{one.name}\n"
        for phase, counts in sorted(phases.items())
        for one, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return "phase\tinstructions\tsubsystem\tmodule\tfunction\n" + "".join(rows)
