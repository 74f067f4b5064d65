"""Latency of connect, request and response: a new TCP connection for every transaction.

No tool of the distribution gives single times for it (netperf, which has the test, is not in
Debian), so both ends are the small program ``crr.py``, run with this interpreter.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

from emulator.measure import crr, distribution, tool, wait
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, Sample, all_failed, good
from emulator.place import Place

METRICS = (
    "connect_rate_per_s",
    *distribution.names("connect"),
    *distribution.names("crr"),
)
FIRST_PORT = 12865
MARGIN_S = 5.0
PROGRAM = tool.python(Path(crr.__file__).read_text())


class Transactions(NamedTuple):
    """Microseconds from the call of connect to the end of the handshake and of the response."""

    connect_us: tuple[float, ...]
    total_us: tuple[float, ...]
    elapsed_s: float
    errors: tuple[str, ...]


def parse(stdout: bytes) -> Transactions:
    """Read what the client prints; MeasureFailed when it is anything else."""
    try:
        answer = json.loads(stdout)
        if answer["format"] != 1:
            raise ValueError(f"format {answer['format']!r}")
        connect_us, total_us = _times(answer["connect_us"]), _times(answer["total_us"])
        elapsed_s = float(answer["elapsed_s"])
        if len(connect_us) != len(total_us) or not math.isfinite(elapsed_s) or elapsed_s < 0:
            raise ValueError("the parts do not fit together")
        errors = tuple(str(error) for error in answer["errors"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise MeasureFailed(
            f"crr wrote no complete report ({type(error).__name__}: {error}); it begins with "
            f"{stdout[:80]!r}"
        ) from error
    return Transactions(connect_us, total_us, elapsed_s, errors)


def latency(
    server: Place,
    client: Place,
    *,
    seconds: float,
    count: int = 100_000,
    request_b: int = 1,
    response_b: int = 32,
    cpus: CpuMap | None = None,
    port: int = FIRST_PORT,
    target_ip: str | None = None,
) -> Measured:
    """``connect_p50_us`` …, ``crr_p50_us`` … and ``connect_rate_per_s``, closed loop.

    Ends after ``seconds`` or ``count`` transactions. Connections are closed by a reset (linger 0),
    which the detail says. Failed transactions are listed in the detail and count as longer
    than any other; five end the run, and then all samples are failures.
    """
    asked: dict[str, object] = {
        "seconds": seconds, "count": count, "request_b": request_b, "response_b": response_b,
        "close": "linger 0", "cpus": None if cpus is None else cpus.as_detail(),
    }  # fmt: skip
    sizes = ["--port", str(port), "--request-b", str(request_b), "--response-b", str(response_b)]
    limit_s = seconds + 2 * MARGIN_S
    raw: dict[str, bytes] = {}
    answering = server.start(
        [*PROGRAM, "server", "--bind", server.ip, "--limit-s", str(limit_s), *sizes],
        cpus=None if cpus is None else cpus.for_server(0),
        env=tool.SURROUNDINGS,
    )
    try:
        wait.listening(server, "tcp", port, server=answering)
        running = client.start(
            [*PROGRAM, "client", "--to", target_ip or server.ip, "--seconds", str(seconds),
             "--count", str(count), *sizes],
            cpus=None if cpus is None else cpus.for_client(0),
            env=tool.SURROUNDINGS,
        )  # fmt: skip
        try:
            completed = tool.finish(running, "crr client", client, seconds + MARGIN_S)
        finally:
            running.kill()
        tool.keep(raw, "crr", completed, "json")
        if completed.returncode != 0:
            raise MeasureFailed(f"crr client: {tool.said(completed)}")
        return Measured(samples(parse(completed.stdout), asked), raw)
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), raw, **asked)
    finally:
        answering.kill()


def samples(transactions: Transactions, asked: dict[str, object]) -> tuple[Sample, ...]:
    """The samples of ``latency``; MeasureFailed when too many transactions failed."""
    if len(transactions.errors) >= crr.MOST_ERRORS or not transactions.total_us:
        shown = ", ".join(sorted(set(transactions.errors))) or "no transaction in time"
        raise MeasureFailed(f"{len(transactions.errors)} transactions failed: {shown}")
    lost = len(transactions.errors)
    detail = {**asked, "errors": list(transactions.errors)}
    rate = len(transactions.total_us) / max(transactions.elapsed_s, 1e-9)
    return (
        good("connect_rate_per_s", rate, **detail),
        *distribution.percentiles("connect", transactions.connect_us, lost, **detail),
        *distribution.percentiles("crr", transactions.total_us, lost, **detail),
    )


def _times(values: object) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise TypeError("the times are no list")
    times = tuple(float(value) for value in values)
    if not all(math.isfinite(time) and time >= 0 for time in times):
        raise ValueError("a time is negative or not finite")
    return times
