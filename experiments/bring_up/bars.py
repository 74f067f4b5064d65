"""What is asked of bringing up, and what a run showed: pure, from its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from emulator.report.table import Table
from experiments.bring_up.sizes import parse

AT, LARGE = "50x10", "100x100"


class Bar(NamedTuple):
    """One demand. ``shown`` is None where the run did not hold what it needs.

    ``judged``: it was shown at the size that it is asked for.
    """

    what: str
    shown: float | None
    most: float | None = None
    least: float | None = None
    unit: str = ""
    judged: bool = True

    @property
    def asked(self) -> str:
        """In words."""
        if self.most is not None:
            return f"<= {self.most:g} {self.unit}".rstrip()
        return f">= {self.least:g} {self.unit}".rstrip() if self.least is not None else "reported"

    @property
    def met(self) -> bool | None:
        """None where nothing was shown, or nothing is asked."""
        if self.shown is None or not self.judged or self.asked == "reported":
            return None
        return (self.most is None or self.shown <= self.most) and (
            self.least is None or self.shown >= self.least
        )


def bars(summary: Mapping[str, Any]) -> list[Bar]:
    """Every demand. A run without the size that is asked for shows its largest, unjudged."""
    sizes = {
        row["factors"]["size"] for row in summary["cells"]
        if row["metric"] == "up_s" and row["arm"] == "podwire"
    } - {LARGE}  # fmt: skip
    if AT in sizes or not sizes:
        return _at(summary, AT)
    largest = max(sizes, key=lambda size: parse(size).pods)
    return [bar._replace(judged=not bar.what.endswith(largest)) for bar in _at(summary, largest)]


def _at(summary: Mapping[str, Any], at: str, large: str = LARGE) -> list[Bar]:

    def cell(metric: str, arm: str, size: str) -> float | None:
        for row in summary["cells"]:
            if (row["metric"], row["arm"], row["factors"].get("size")) == (metric, arm, size):
                median: float | None = row["median"]
                return median
        return None

    def ratio(treatment: str, baseline: str) -> float | None:
        for row in summary["comparisons"]:
            found = (row["metric"], row["treatment"], row["baseline"], row["factors"].get("size"))
            if found == ("up_s", treatment, baseline, at):
                value: float = row["ratio"]
                return value
        return None

    small, big = cell("up_s", "podwire", at), cell("up_s", "podwire", large)
    growth = None
    if small and big:
        growth = (big / parse(large).pods) / (small / parse(at).pods)
    check, plan = cell("check_s", "plan", large), cell("plan_s", "plan", large)
    both = None if check is None or plan is None else check + plan
    return [
        Bar(f"Podwire / C replay, {at}", ratio("podwire", "replay"), most=1.5),
        Bar(f"stock Mininet / Podwire, {at}", ratio("mininet", "podwire"), least=8),
        Bar(f"whole command / applying, {at}", ratio("command", "podwire"), most=1.8),
        Bar(f"time per pod, {large} / {at}", growth, most=2.5),
        Bar(f"down, {at}", cell("down_s", "podwire", at), most=0.2, unit="s"),
        Bar(f"down as a command, {at}", cell("down_s", "command", at), most=0.2, unit="s"),
        Bar(f"processes left after down, {at}", cell("left", "command", at), most=0),
        Bar(f"until the kernel is drained, {at}", cell("drain_s", "podwire", at), unit="s"),
        Bar(f"check + plan, {large}", both, most=2, unit="s"),
        Bar(f"processes of a lab, {at}", cell("processes", "command", at), most=4),
        Bar(
            f"user memory per pod, {at}",
            cell("user_kib_per_pod", "command", at),
            most=200,
            unit="KiB",
        ),
        Bar(f"kernel memory per pod, {at}", cell("kernel_kib_per_pod", "podwire", at), unit="KiB"),
    ]


def table(found: list[Bar]) -> Table:
    """For the terminal."""
    rows = []
    for bar in found:
        shown = "–" if bar.shown is None else f"{bar.shown:.3g} {bar.unit}".rstrip()
        verdict = {True: "ok", False: "NOT MET", None: ""}[bar.met]
        if bar.shown is None:
            verdict = "not measured"
        elif not bar.judged and bar.asked != "reported":
            verdict = f"asked at {AT}"
        rows.append((bar.what, bar.asked, shown, verdict))
    return Table(("what", "asked", "shown", ""), tuple(rows), frozenset({"shown"}))
