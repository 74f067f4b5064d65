"""Each feature of a link: what is asked, and how what comes of it is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import NamedTuple

from emulator.datapath.shaping import shape
from emulator.spec.link_values import time_text
from emulator.spec.medium import CERTAIN, Delay, Loss, Medium, Rate, Reorder
from emulator.spec.medium import Ends as Asked
from experiments.links import theory
from experiments.links.flow import Ends, Flow

MS = 1000
LATE_US = 1 * MS
"""A delay may be that much longer: what the machine takes to wake up for a timer."""
RATE_BIT = 1_000_000
FRAME_B = 1042
MANY = 2000
PER_S = 1000.0
PERCENT = CERTAIN // 100


class Row(NamedTuple):
    """One line of the table. ``bar``: between what the measurement has to be."""

    quantity: str
    theory: str
    measured: str
    bar: str
    good: bool


class Feature(NamedTuple):
    """A feature under a name; ``measure`` gets the two ends and the latency of a bare cable."""

    name: str
    asked: str
    ends: Asked
    measure: Callable[[Ends, float], Iterator[Row]]


def _between(
    what: str, theory_: float, value: float, bar: tuple[float, float], unit: str = ""
) -> Row:
    low, high = bar
    good = low <= value <= high
    shown = f"{low:.5g} to {high:.5g}{unit}"
    return Row(what, f"{theory_:.5g}{unit}", f"{value:.5g}{unit}", shown, good)


def quick(took_us: Iterable[float]) -> float:
    """The lower decile: what else the machine does makes a packet late, and none early."""
    ordered = sorted(took_us)
    return ordered[len(ordered) // 10]


def _wire_rate(flow: Flow) -> float:
    """Bits per second on the wire, over the second half of what came."""
    times = [one.came_ns for one in flow.arrivals]
    later = times[len(times) // 2 :]
    return 8 * flow.size_b * (len(later) - 1) / ((later[-1] - later[0]) / 1e9)


def _saturated(rate: Rate, delay_us: int = 0) -> Callable[[Ends, float], Iterator[Row]]:
    def measure(ends: Ends, base_us: float) -> Iterator[Row]:
        bits = rate.bits_per_second
        offered = 2 * bits / 8 / FRAME_B
        flow = ends.send(round(5 * offered), offered, FRAME_B)
        bar = (0.99 * bits / 1e6, 1.01 * bits / 1e6)
        yield _between("bytes on the wire", bits / 1e6, _wire_rate(flow) / 1e6, bar, " Mbit/s")
        queue = shape("", "", rate, 1500)
        full_us = delay_us + queue.limit_b // FRAME_B * FRAME_B * 8 / bits * 1e6
        took = median(one.took_us for one in flow.arrivals[len(flow.arrivals) // 2 :]) - base_us
        frame_us = FRAME_B * 8 / bits * 1e6
        bar = ((full_us - 2 * frame_us) / MS, (full_us + 2 * frame_us + LATE_US) / MS)
        yield _between("latency of a full queue", full_us / MS, took / MS, bar, " ms")

    return measure


def _each_way(there_us: int, back_us: int) -> Callable[[Ends, float], Iterator[Row]]:
    def measure(ends: Ends, base_us: float) -> Iterator[Row]:
        for what, way, asked_us in (
            ("what is sent", ends, there_us),
            ("what is received", ends.reversed(), back_us),
        ):
            took = quick(one.took_us for one in way.send(40, 20.0).arrivals) - base_us
            bar = (asked_us / MS, (asked_us + LATE_US) / MS)
            yield _between(what, asked_us / MS, took / MS, bar, " ms")

    return measure


def _spread(delay: Delay) -> Callable[[Ends, float], Iterator[Row]]:
    def measure(ends: Ends, base_us: float) -> Iterator[Row]:
        # slowly, so that no packet waits for the machine to be done with others
        flow = ends.send(600, 100.0)
        took = [one.took_us - base_us for one in flow.arrivals]
        factor, count = theory.factor(delay), len(took)

        def row(
            what: str, found_us: float, from_us: int, told: float, within: tuple[float, float]
        ) -> Row:
            low, middle, high = (
                (from_us + delay.jitter_us * one) / MS for one in (within[0], told, within[1])
            )
            return _between(what, middle, found_us / MS, (low, high + LATE_US / MS), " ms")

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


def _lost(loss: Loss) -> Callable[[Ends, float], Iterator[Row]]:
    chance, correlation = loss.ppb / CERTAIN, loss.correlation_ppb / CERTAIN

    def measure(ends: Ends, _base_us: float) -> Iterator[Row]:
        flow = ends.send(MANY, PER_S)
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


def _doubled(chance: float) -> Callable[[Ends, float], Iterator[Row]]:
    def measure(ends: Ends, _base_us: float) -> Iterator[Row]:
        flow = ends.send(MANY, PER_S)
        twice = sum(n == 2 for n in Counter(one.number for one in flow.arrivals).values())
        yield _between(
            f"twice of {flow.sent}", flow.sent * chance, twice, theory.within(flow.sent, chance)
        )

    return measure


def _damaged(chance: float) -> Callable[[Ends, float], Iterator[Row]]:
    def measure(ends: Ends, _base_us: float) -> Iterator[Row]:
        frame_b = 542
        flow = ends.send(MANY, PER_S, frame_b)
        # nobody notices a bit turned over in the sender's MAC address
        seen = chance * (1 - 6 / frame_b)
        hurt = flow.sent - len(flow.came)
        bar = theory.within(flow.sent, seen)
        yield _between(f"damaged or lost for it of {flow.sent}", flow.sent * seen, hurt, bar)

    return measure


def _overtaking(delay_us: int, reorder: Reorder) -> Callable[[Ends, float], Iterator[Row]]:
    def measure(ends: Ends, _base_us: float) -> Iterator[Row]:
        flow = ends.send(MANY, PER_S)
        chance = reorder.ppb / CERTAIN
        early = sum(one.took_us < delay_us / 2 for one in flow.arrivals)
        part = theory.ahead(chance, reorder.gap)
        bar = theory.ahead_within(flow.sent, chance, reorder.gap)
        yield _between(f"ahead of {flow.sent}", flow.sent * part, early, bar)

    return measure


def _all_together(rate: Rate, delay: Delay, loss: Loss) -> Callable[[Ends, float], Iterator[Row]]:
    def measure(ends: Ends, base_us: float) -> Iterator[Row]:
        yield from _saturated(rate, delay.us)(ends, base_us)
        chance = loss.ppb / CERTAIN
        calm = ends.send(1000, 150.0)
        lost = calm.sent - len(calm.came)
        bar = theory.within(calm.sent, chance)
        yield _between(f"lost of {calm.sent} far below the rate", calm.sent * chance, lost, bar)

    return measure


def _jittery(delay: Delay) -> Feature:
    asked = f"{time_text(delay.us)}, jitter {time_text(delay.jitter_us)}, {delay.distribution}"
    return Feature("jitter", asked, Asked(egress=Medium(delay=delay)), _spread(delay))


def _shaped(by: str) -> Feature:
    rate = Rate(RATE_BIT, "tbf" if by == "tbf" else "htb")
    return Feature("rate", f"1mbit by {by}", Asked(egress=Medium(rate)), _saturated(rate))


def _features() -> Iterator[Feature]:
    yield _shaped("tbf")
    yield _shaped("htb")
    yield Feature("delay", "10ms", Asked(Medium(delay=Delay(10 * MS))), _each_way(10 * MS, 10 * MS))
    uneven = Asked(egress=Medium(delay=Delay(30 * MS)), ingress=Medium(delay=Delay(5 * MS)))
    yield Feature("delay", "30ms out, 5ms in", uneven, _each_way(30 * MS, 5 * MS))
    # long, so that what the machine adds is little against it
    yield _jittery(Delay(1000 * MS, 250 * MS, "uniform"))
    yield _jittery(Delay(2000 * MS, 1500 * MS, "uniform"))  # far from uniform: see the theory
    yield _jittery(Delay(1000 * MS, 250 * MS, "normal"))
    yield _jittery(Delay(1000 * MS, 250 * MS, "pareto"))
    for words, loss in (
        ("5%", Loss(5 * PERCENT)),
        ("5%, correlation 50%", Loss(5 * PERCENT, 50 * PERCENT)),
    ):
        yield Feature("loss", words, Asked(egress=Medium(loss=loss)), _lost(loss))
    yield Feature(
        "duplicate", "5%", Asked(egress=Medium(duplicate_ppb=5 * PERCENT)), _doubled(0.05)
    )
    yield Feature("corrupt", "5%", Asked(egress=Medium(corrupt_ppb=5 * PERCENT)), _damaged(0.05))
    for words, reorder in (
        ("25%", Reorder(25 * PERCENT)),
        ("50%, gap 5", Reorder(50 * PERCENT, 5)),
    ):
        medium = Medium(delay=Delay(30 * MS), reorder=reorder)
        name = f"{words} with delay 30ms"
        yield Feature("reorder", name, Asked(egress=medium), _overtaking(30 * MS, reorder))
    for by in ("tbf", "htb"):
        rate = Rate(RATE_BIT, "tbf" if by == "tbf" else "htb")
        delay, loss = Delay(20 * MS), Loss(5 * PERCENT)
        medium = Medium(rate, delay, loss)
        yield Feature(
            "together",
            f"1mbit by {by}, 20ms, loss 5%",
            Asked(egress=medium),
            _all_together(rate, delay, loss),
        )


FEATURES = tuple(_features())


def bare_us(ends: Ends) -> float:
    """One way over a cable without features."""
    return quick(one.took_us for one in ends.send(40, 20.0).arrivals)


def correlation(values: list[float]) -> float:
    """Of each with the next."""
    mean = fmean(values)
    return sum((a - mean) * (b - mean) for a, b in pairwise(values)) / sum(
        (v - mean) ** 2 for v in values
    )
