"""Desired kernel state: resources, plan, canonical text, diff and invariants (pure)."""

from emulator.plan.diff import Finding, Op, State, deviations, diff
from emulator.plan.plan import Entry, Plan, natural

__all__ = ["Entry", "Finding", "Op", "Plan", "State", "deviations", "diff", "natural"]
