"""Each feature of a link: what is asked, and how what comes of it is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import Final, Literal, NamedTuple

from emulator.datapath.shaping import shape
from emulator.spec.link_values import time_text
from emulator.spec.medium import CERTAIN, Delay, Loss, Medium, Rate, Reorder
from emulator.spec.medium import Ends as Asked
from experiments.links import theory
from experiments.links.flow import Ends, Flow

MS = 1000
FRAME_B = 1042
PERCENT = CERTAIN // 100
SHAPERS: Final[tuple[Literal["tbf", "htb"], ...]] = ("tbf", "htb")


class Bars(NamedTuple):
    """How exact a link has to be, and how many datagrams tell.

    ``rate``: part of a rate; ``early_us``, ``late_us``: what a delay may differ by; ``frames``:
    what a full queue may hold more or less; ``many``: datagrams whose fates are counted, so many
    ``per_s``; ``delays``: of a distribution.
    """

    rate: float
    early_us: float
    late_us: float
    frames: int
    many: int
    per_s: float
    delays: int


HERE = Bars(0.01, 0, 1 * MS, 2, 2000, 1000.0, 600)
"""Late by what a machine takes to wake up for a timer."""
VIRTUAL = Bars(0.001, 10, 10, 0, 20_000, 5000.0, 6000)
"""Bench ``virtual``: its timers are late by the instructions of an interrupt."""


class Row(NamedTuple):
    """One line of the table. ``bar``: between what the measurement has to be."""

    quantity: str
    theory: str
    measured: str
    bar: str
    good: bool


Measure = Callable[[Ends, float], Iterator[Row]]


class Feature(NamedTuple):
    """A feature under a name; ``measure`` gets the two ends and the latency of a bare cable."""

    name: str
    asked: str
    ends: Asked
    measure: Measure


def _between(
    what: str, theory_: float, value: float, bar: tuple[float, float], unit: str = ""
) -> Row:
    low, high = bar
    good = low <= value <= high
    shown = f"{low:.6g} to {high:.6g}{unit}"
    return Row(what, f"{theory_:.6g}{unit}", f"{value:.6g}{unit}", shown, good)


def quick(took_us: Iterable[float]) -> float:
    """The lower decile: what else the machine does makes a packet late, and none early."""
    ordered = sorted(took_us)
    return ordered[len(ordered) // 10]


def _wire_rate(flow: Flow) -> float:
    """Bits per second on the wire, over the second half of what came."""
    times = [one.came_ns for one in flow.arrivals]
    later = times[len(times) // 2 :]
    return 8 * flow.size_b * (len(later) - 1) / ((later[-1] - later[0]) / 1e9)


def _saturated(bars: Bars, rate: Rate, delay_us: int = 0, seconds: float = 5) -> Measure:
    def measure(ends: Ends, base_us: float) -> Iterator[Row]:
        bits = rate.bits_per_second
        frame_us = FRAME_B * 8 / bits * 1e6
        offered = 2e6 / frame_us
        flow = ends.send(round(seconds * offered), offered, FRAME_B)
        bar = ((1 - bars.rate) * bits / 1e6, (1 + bars.rate) * bits / 1e6)
        yield _between("bytes on the wire", bits / 1e6, _wire_rate(flow) / 1e6, bar, " Mbit/s")
        queue = shape("", "", rate, 1500)
        full_us = delay_us + queue.limit_b // FRAME_B * frame_us
        took = median(one.took_us for one in flow.arrivals[len(flow.arrivals) // 2 :]) - base_us
        # the last place is taken by whatever comes next, half a frame later at most
        low_us = full_us - (bars.frames + 0.5) * frame_us - bars.early_us
        bar = (low_us / MS, (full_us + bars.frames * frame_us + bars.late_us) / MS)
        yield _between("latency of a full queue", full_us / MS, took / MS, bar, " ms")

    return measure


def _late(what: str, bars: Bars, flow: Flow, base_us: float, asked_us: int) -> Row:
    took = quick(one.took_us for one in flow.arrivals) - base_us
    bar = ((asked_us - bars.early_us) / MS, (asked_us + bars.late_us) / MS)
    return _between(what, asked_us / MS, took / MS, bar, " ms")


def _each_way(bars: Bars, there_us: int, back_us: int) -> Measure:
    def measure(ends: Ends, base_us: float) -> Iterator[Row]:
        yield _late("what is sent", bars, ends.send(40, 20.0), base_us, there_us)
        back = ends.reversed().send(40, 20.0)
        yield _late("what is received", bars, back, base_us, back_us)

    return measure


def _spread(bars: Bars, delay: Delay) -> Measure:
    def measure(ends: Ends, base_us: float) -> Iterator[Row]:
        # slowly, so that no packet waits for the machine to be done with others
        flow = ends.send(bars.delays, 100.0)
        took = [one.took_us - base_us for one in flow.arrivals]
        factor, count = theory.factor(delay), len(took)

        def row(
            what: str, found_us: float, from_us: int, told: float, within: tuple[float, float]
        ) -> Row:
            low, middle, high = (
                (from_us + delay.jitter_us * one) / MS for one in (within[0], told, within[1])
            )
            bar = (low - bars.early_us / MS, high + bars.late_us / MS)
            return _between(what, middle, found_us / MS, bar, " ms")

        told, within = theory.deviation(factor), theory.deviation_within(factor, count)
        yield row("standard deviation", pstdev(took), 0, told, within)
        told, within = theory.average(factor), theory.average_within(factor, count)
        yield row("mean", fmean(took), delay.us, told, within)
        ordered = sorted(took)
        for q in (0.1, 0.5, 0.9):
            value = ordered[round(q * (count - 1))]
            told, within = factor(q), theory.quantile_within(factor, q, count)
            yield row(f"{q:.0%} are faster than", value, delay.us, told, within)

    return measure


def _lost(bars: Bars, loss: Loss) -> Measure:
    chance, correlation = loss.ppb / CERTAIN, loss.correlation_ppb / CERTAIN

    def measure(ends: Ends, _base_us: float) -> Iterator[Row]:
        flow = ends.send(bars.many, bars.per_s)
        came = flow.came
        fates = [number not in came for number in range(flow.sent)]
        bar: tuple[float, float] = theory.within(flow.sent, chance)
        if correlation:
            deviation = theory.burst_deviation(flow.sent, chance, correlation)
            bar = theory.around(flow.sent * chance, deviation)
        yield _between(f"lost of {flow.sent}", flow.sent * chance, sum(fates), bar)
        if correlation:
            after = [second for first, second in pairwise(fates) if first]
            again = chance + correlation * (1 - chance)
            bar = theory.within(len(after), again)
            words = f"lost after a loss, of {len(after)}"
            yield _between(words, len(after) * again, sum(after), bar)

    return measure


def _doubled(bars: Bars, chance: float) -> Measure:
    def measure(ends: Ends, _base_us: float) -> Iterator[Row]:
        flow = ends.send(bars.many, bars.per_s)
        twice = sum(n == 2 for n in Counter(one.number for one in flow.arrivals).values())
        yield _between(
            f"twice of {flow.sent}", flow.sent * chance, twice, theory.within(flow.sent, chance)
        )

    return measure


def _damaged(bars: Bars, chance: float) -> Measure:
    def measure(ends: Ends, _base_us: float) -> Iterator[Row]:
        frame_b = 542
        flow = ends.send(bars.many, bars.per_s, frame_b)
        # nobody notices a bit turned over in the sender's MAC address
        seen = chance * (1 - 6 / frame_b)
        hurt = flow.sent - len(flow.came)
        bar = theory.within(flow.sent, seen)
        yield _between(f"damaged or lost for it of {flow.sent}", flow.sent * seen, hurt, bar)

    return measure


def _overtaking(bars: Bars, delay_us: int, reorder: Reorder) -> Measure:
    def measure(ends: Ends, _base_us: float) -> Iterator[Row]:
        flow = ends.send(bars.many, bars.per_s)
        chance = reorder.ppb / CERTAIN
        early = sum(one.took_us < delay_us / 2 for one in flow.arrivals)
        part = theory.ahead(chance, reorder.gap)
        bar = theory.ahead_within(flow.sent, chance, reorder.gap)
        yield _between(f"ahead of {flow.sent}", flow.sent * part, early, bar)

    return measure


def _all_together(bars: Bars, medium: Medium, seconds: float, calm: tuple[int, float]) -> Measure:
    rate, delay, loss = medium.rate, medium.delay, medium.loss
    assert rate and delay and loss

    def measure(ends: Ends, base_us: float) -> Iterator[Row]:
        yield from _saturated(bars, rate, delay.us, seconds)(ends, base_us)
        flow = ends.send(*calm)  # far below the rate
        yield _late("latency far below the rate", bars, flow, base_us, delay.us)
        chance, lost = loss.ppb / CERTAIN, flow.sent - len(flow.came)
        bar = theory.within(flow.sent, chance)
        words = f"lost of {flow.sent} far below the rate"
        yield _between(words, flow.sent * chance, lost, bar)

    return measure


def _jittery(bars: Bars, delay: Delay) -> Feature:
    asked = f"{time_text(delay.us)}, jitter {time_text(delay.jitter_us)}, {delay.distribution}"
    return Feature("jitter", asked, Asked(egress=Medium(delay=delay)), _spread(bars, delay))


def features(bars: Bars) -> Iterator[Feature]:
    """All of them. What is slow is small, so that any machine can send twice of it."""
    for by in SHAPERS:
        rate = Rate(1_000_000, by)
        measure = _saturated(bars, rate)
        yield Feature("rate", f"1mbit by {by}", Asked(egress=Medium(rate)), measure)
    even = Asked(Medium(delay=Delay(10 * MS)))
    yield Feature("delay", "10ms", even, _each_way(bars, 10 * MS, 10 * MS))
    uneven = Asked(egress=Medium(delay=Delay(30 * MS)), ingress=Medium(delay=Delay(5 * MS)))
    yield Feature("delay", "30ms out, 5ms in", uneven, _each_way(bars, 30 * MS, 5 * MS))
    # long, so that what the machine adds is little against it
    yield _jittery(bars, Delay(1000 * MS, 250 * MS, "uniform"))
    yield _jittery(bars, Delay(2000 * MS, 1500 * MS, "uniform"))  # far from uniform: see the theory
    yield _jittery(bars, Delay(1000 * MS, 250 * MS, "normal"))
    yield _jittery(bars, Delay(1000 * MS, 250 * MS, "pareto"))
    for words, loss in (
        ("5%", Loss(5 * PERCENT)),
        ("5%, correlation 50%", Loss(5 * PERCENT, 50 * PERCENT)),
    ):
        yield Feature("loss", words, Asked(egress=Medium(loss=loss)), _lost(bars, loss))
    double, damage = Medium(duplicate_ppb=5 * PERCENT), Medium(corrupt_ppb=5 * PERCENT)
    yield Feature("duplicate", "5%", Asked(egress=double), _doubled(bars, 0.05))
    yield Feature("corrupt", "5%", Asked(egress=damage), _damaged(bars, 0.05))
    for words, reorder in (
        ("25%", Reorder(25 * PERCENT)),
        ("50%, gap 5", Reorder(50 * PERCENT, 5)),
    ):
        medium = Medium(delay=Delay(30 * MS), reorder=reorder)
        measure = _overtaking(bars, 30 * MS, reorder)
        yield Feature("reorder", f"{words} with delay 30ms", Asked(egress=medium), measure)
    for by in SHAPERS:
        medium = Medium(Rate(1_000_000, by), Delay(20 * MS), Loss(5 * PERCENT))
        measure = _all_together(bars, medium, 5, (1000, 150.0))
        yield Feature("together", f"1mbit by {by}, 20ms, loss 5%", Asked(egress=medium), measure)


def fast_features(bars: Bars) -> Iterator[Feature]:
    """A link as networks have them, which takes a machine of which nobody else wants anything."""
    for by in SHAPERS:
        medium = Medium(Rate(100_000_000, by), Delay(10 * MS), Loss(PERCENT // 10))
        measure = _all_together(bars, medium, 2, (100_000, 10_000.0))
        asked = f"100mbit by {by}, 10ms, loss 0.1%"
        yield Feature("together", asked, Asked(egress=medium), measure)


def bare_us(ends: Ends) -> float:
    """One way over a cable without features."""
    return quick(one.took_us for one in ends.send(40, 20.0).arrivals)


def correlation(values: list[float]) -> float:
    """Of each with the next."""
    mean = fmean(values)
    return sum((a - mean) * (b - mean) for a, b in pairwise(values)) / sum(
        (v - mean) ** 2 for v in values
    )
