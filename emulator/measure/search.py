"""The highest UDP rate that a path carries with little loss, by bisection.

A UDP "throughput" under full blast says how fast the sender can throw packets away. So
the rate is searched at which the loss stays under a limit (RFC 2544's method with a partial
drop rate), after a first trial at a low rate has shown that loss means load here at all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from emulator.measure import iperf
from emulator.measure.cpus import CpuMap
from emulator.measure.failure import MeasureFailed
from emulator.measure.sample import Measured, all_failed, good
from emulator.place import Place

METRICS = ("udp_throughput_bit_s", "packet_rate_pps", "loss_ratio", "low_load_loss_ratio")
SENDER_KEEPS_UP = 0.97


class Trial(NamedTuple):
    """What one rate gave, in bit/s of payload: asked for, really sent, received."""

    rate_bit_s: int
    sent_bit_s: float
    received_bit_s: float
    packet_rate_pps: float
    loss_ratio: float


class Found(NamedTuple):
    """``best`` passed; ``ended`` says why the search stopped there."""

    low: Trial
    best: Trial
    trials: tuple[Trial, ...]
    ended: str
    fine: bool = True
    """False when trials or time ran out before the precision was reached."""


def bisect(
    attempt: Callable[[int], Trial],
    *,
    low_bit_s: int,
    high_bit_s: int,
    loss_limit: float,
    precision: float,
    max_trials: int,
    deadline_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Halve the interval of rates (on a log scale) until it is as narrow as ``precision``.

    A trial passes when its loss is at most ``loss_limit``. MeasureFailed when the low rate does
    not pass: then loss says nothing about load. No trial is begun after ``deadline_s``.
    """
    begin = clock()
    low = attempt(low_bit_s)
    if low.loss_ratio > loss_limit:
        raise MeasureFailed(
            f"{low.loss_ratio:.2%} of the packets were lost at the low rate of {low_bit_s} bit/s: "
            f"a search for a loss of {loss_limit:.2%} means nothing here"
        )
    trials = [low]
    best, failing_bit_s, rate_bit_s = low, 0, high_bit_s
    while len(trials) < max_trials:
        if clock() - begin >= deadline_s:
            return Found(low, best, tuple(trials), f"the deadline of {deadline_s:g} s", False)
        trial = attempt(rate_bit_s)
        trials.append(trial)
        if trial.loss_ratio > loss_limit:
            failing_bit_s = rate_bit_s
        else:
            best = trial
            if trial.sent_bit_s < SENDER_KEEPS_UP * rate_bit_s:
                return Found(low, best, tuple(trials), "the sender cannot send faster")
            if not failing_bit_s:
                return Found(low, best, tuple(trials), "the highest rate passed")
        if failing_bit_s <= best.rate_bit_s * (1 + precision):
            return Found(low, best, tuple(trials), f"the precision of {precision:.1%}")
        rate_bit_s = round(math.sqrt(best.rate_bit_s * failing_bit_s))
    return Found(low, best, tuple(trials), f"{max_trials} trials", False)


def udp_search(
    server: Place,
    client: Place,
    *,
    payload_b: int,
    low_bit_s: int,
    high_bit_s: int,
    loss_limit: float = 0.005,
    precision: float = 0.03,
    trial_s: float = 1.0,
    omit_s: float = 0.0,
    max_trials: int = 12,
    deadline_s: float = 60.0,
    pacing_us: int = 100,
    cpus: CpuMap | None = None,
    first_port: int = iperf.FIRST_PORT,
    target_ip: str | None = None,
) -> Measured:
    """The highest rate with a loss of at most ``loss_limit``: what was received then
    (``udp_throughput_bit_s``, ``packet_rate_pps``), its ``loss_ratio``, and
    ``low_load_loss_ratio``. The detail lists all trials and why the search ended. A search that
    ends before ``precision`` is reached is a failure.

    Two processes of iperf3 per trial; raw names begin with the number of the trial.
    """
    raw: dict[str, bytes] = {}
    asked: dict[str, object] = {
        "payload_b": payload_b, "low_bit_s": low_bit_s, "high_bit_s": high_bit_s,
        "loss_limit": loss_limit, "trial_s": trial_s, "omit_s": omit_s, "pacing_us": pacing_us,
        "cpus": None if cpus is None else cpus.as_detail(),
    }  # fmt: skip
    rates: list[int] = []

    def attempt(rate_bit_s: int) -> Trial:
        measured = iperf.udp(
            server, client, seconds=trial_s, omit_s=omit_s, payload_b=payload_b,
            rate_bit_s=rate_bit_s, pacing_us=pacing_us, cpus=cpus, first_port=first_port,
            target_ip=target_ip,
        )  # fmt: skip
        raw.update({f"trial{len(rates):02}-{name}": text for name, text in measured.raw.items()})
        rates.append(rate_bit_s)
        return _trial(rate_bit_s, measured)

    try:
        found = bisect(
            attempt, low_bit_s=low_bit_s, high_bit_s=high_bit_s, loss_limit=loss_limit,
            precision=precision, max_trials=max_trials, deadline_s=deadline_s,
        )  # fmt: skip
        if not found.fine:
            raise MeasureFailed(
                f"the search ended after {found.ended}, coarser than {precision:.1%}: networks "
                "that differ by less would look the same"
            )
    except MeasureFailed as error:
        return all_failed(METRICS, str(error), raw, trials=rates, **asked)
    detail = {**asked, "ended": found.ended, "trials": [trial._asdict() for trial in found.trials]}
    samples = (
        good("udp_throughput_bit_s", found.best.received_bit_s, **detail),
        good("packet_rate_pps", found.best.packet_rate_pps, **asked),
        good("loss_ratio", found.best.loss_ratio, **asked),
        good("low_load_loss_ratio", found.low.loss_ratio, **asked),
    )
    return Measured(samples, raw)


def _trial(rate_bit_s: int, measured: Measured) -> Trial:
    values = {}
    for sample in measured.samples:
        if sample.value is None:
            raise MeasureFailed(f"the trial at {rate_bit_s} bit/s failed: {sample.failure}")
        values[sample.metric] = sample.value
    sent = measured.samples[0].detail["sent_bit_s"]
    assert isinstance(sent, float)
    return Trial(
        rate_bit_s, sent, values["udp_throughput_bit_s"], values["packet_rate_pps"],
        values["loss_ratio"],
    )  # fmt: skip
