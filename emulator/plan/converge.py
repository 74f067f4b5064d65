"""From whatever is there to the desired state: observe, compare, apply, until nothing is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from emulator.errors import PodwireError, Problem
from emulator.plan.check import told
from emulator.plan.diff import Op, State, diff
from emulator.plan.plan import Plan
from emulator.plan.resources import Resource
from emulator.plan.text import line


class Machine(Protocol):
    """What holds the state: a kernel, real or not."""

    def observe(self, known: Iterable[Resource]) -> State:
        """All state; ``known`` says which sysctls and files to read."""
        ...

    def apply(self, ops: Sequence[Op]) -> None:
        """Carry out operations. KernelRefused."""
        ...


def converge(
    machine: Machine,
    desired: Plan,
    owned: Plan,
    rounds: int = 3,
    *,
    processes: bool = False,
) -> list[Op]:
    """Bring ``machine`` to ``desired``; returns every operation that was carried out.

    ``owned`` is the plan that made what is there: its objects are removed where they are
    no longer desired, anything else stays. More than one round is normal where the kernel
    moves one value with another. ``processes``: whether the machine keeps processes too;
    a bare kernel does not, and their operations are left out.

    PodwireError, naming what is left to do, when ``rounds`` were not enough.
    """
    wanted = _resources(desired)
    known = {**_resources(owned), **wanted}
    done: list[Op] = []
    for _ in range(rounds):
        ops = _steps(machine, desired, owned, known.values(), processes)
        if not ops:
            return done
        machine.apply(ops)
        done += ops
        # a sysctl that was given back may have the same value as before: it is not looked at again
        known = {k: r for k, r in known.items() if k in wanted or r.kind != "sysctl"}
    left = _steps(machine, desired, owned, known.values(), processes)
    if not left:
        return done
    raise PodwireError(*told([_left(op, rounds) for op in left]))


def _resources(plan: Plan) -> dict[object, Resource]:
    return {key: entry.resource for key, entry in plan.entries.items()}


def _steps(
    machine: Machine, desired: Plan, owned: Plan, known: Iterable[Resource], processes: bool
) -> list[Op]:
    ops = diff(desired, machine.observe(known), owned)
    return ops if processes else [op for op in ops if op.resource.kind != "process"]


def _left(op: Op, rounds: int) -> Problem:
    place = line(op.resource).partition("\n")[0]
    hint = "something else keeps changing it, or the kernel takes it differently than asked"
    if op.action == "delete":
        return Problem(place, f"still there after {rounds} rounds", "that it is gone", hint)
    if op.before is None:
        return Problem(place, f"missing after {rounds} rounds", "that it is there", hint)
    found = line(op.before).partition("\n")[0]
    return Problem(place, f"'{found}' after {rounds} rounds", "what the plan says", hint)
