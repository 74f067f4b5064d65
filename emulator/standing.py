"""A lab that stands: what is known of it, what can be asked of it, and how it is changed.

It holds the one truth about the lab: the resolved spec, the faults laid over it, the plan that
follows from both, and what CNI binaries and daemons have made beside.
(Over 300 lines: what is asked and what is changed belong to one state.)
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from emulator import ipam
from emulator.attachments import Attachments
from emulator.compile import compile_spec, faulted
from emulator.degrade import mended
from emulator.errors import PodwireError, Problem, SpecError, Unsupported
from emulator.faults import Fault
from emulator.oracle import breakable
from emulator.plan import Op, Plan, State, diff
from emulator.plan.converge import converge
from emulator.plan.resources import Attachment, File, Process, Resource
from emulator.plan.text import line
from emulator.settle import await_daemons
from emulator.spec.resolved import ResolvedSpec
from emulator.stations import cables, stations
from emulator.substrate import keeper
from emulator.substrate.kernel import Kernel
from emulator.substrate.mininet import Cable, view
from emulator.substrate.sandbox import NAMES
from emulator.verify import Report, verify

_SHOWN = 4


class Facts(NamedTuple):
    """What a lab says of itself."""

    spec: ResolvedSpec
    faults: tuple[Fault, ...]
    processes: tuple[keeper.State, ...]
    plan_digest: str
    timings: dict[str, float]
    began: float
    addressing: ipam.Addressing


class Standing:
    """One lab, as its supervisor holds it."""

    def __init__(
        self,
        spec: ResolvedSpec,
        addressing: ipam.Addressing,
        plan: Plan,
        kernel: Kernel,
        kept: keeper.Keeper,
    ) -> None:
        self.spec = spec
        self.addressing = addressing
        self.plan = plan
        self.faults: tuple[Fault, ...] = ()
        self.timings: dict[str, float] = {}
        self.began = time.time()
        self.kernel = kernel
        self.keeper = kept
        self.attachments = Attachments(kernel)

    def build(
        self,
        entered: float,
        progress: Callable[[int, int], None],
        states: Callable[[], Sequence[keeper.State]],
    ) -> None:
        """Make all of it; how long each part took is in ``timings``. PodwireError.

        ``entered``: when that began, by ``perf_counter``. ``states``: of processes, as they are
        at that moment.
        """
        self.kernel.apply(diff(self.plan, {}), progress)
        applied = time.perf_counter()
        self.attachments.attach([r for e in self.plan if type(r := e.resource) is Attachment])
        self.addressing = self.attachments.addresses(self.addressing)
        attached = time.perf_counter()
        self.mininet = view(stations(self.spec), self.cables())
        viewed = time.perf_counter()
        for entry in self.plan:
            if type(entry.resource) is Process:
                self.keeper.start(entry.resource)
        started = time.perf_counter()
        await_daemons(self.kernel, self.plan, states)
        self.timings = {
            "apply_s": applied - entered,
            "attach_s": attached - applied,
            "mininet_s": viewed - attached,
            "processes_s": started - viewed,
            "daemons_s": time.perf_counter() - started,
        }

    # --- what can be asked ----------------------------------------------------------

    def cables(self) -> Sequence[Cable]:
        """Every veth pair between two places."""
        return cables(self.spec, self._whole(self.plan))

    def text(self) -> str:
        """The plan as it stands, faults and what binaries have left included."""
        return self._current().text()

    def facts(self) -> Facts:
        """The lab as it is now."""
        return Facts(
            self.spec,
            self.faults,
            tuple(self.keeper.states()),
            self.plan.digest(),
            self.timings,
            self.began,
            self.addressing,
        )

    def verify(
        self, probes: bool, wait_s: float, progress: Callable[[str, int, int], None]
    ) -> Report:
        """Kernel against plan, probes against oracle, processes against what should run."""
        turn = os.open(NAMES, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)  # the probes of two at once want the same port
            return verify(
                self.kernel,
                self.spec,
                self.addressing,
                self._current(),
                self.faults,
                tuple(self.keeper.states()),
                probes,
                wait_s,
                progress,
                self.attachments,
            )
        finally:
            os.close(turn)

    def observed(self) -> str:
        """The state of the kernel as text, in the form of a plan."""
        found = Plan()
        known = [e.resource for e in self._current()]
        found.add(self.kernel.observe(known).values(), "observed")
        found.add(self.attachments.observe().values(), "observed")
        return found.text()

    def preview(self, spec: ResolvedSpec) -> list[str]:
        """The operations that ``apply`` would begin with."""
        faults = [f for f in self.faults if _exists(spec, f)]
        addressing = ipam.allocate(spec, self.addressing.ledger)
        plan = self._whole(compile_spec(spec, addressing))
        plan = faulted(plan, spec, addressing, faults)
        machine = self._machine(plan)
        known = [entry.resource for entry in (*self._current(), *plan)]
        ops = diff(plan, machine.observe(known), self._current())
        return [*(f"- {line(a)}" for a in self.attachments.unwanted(plan)), *map(str, ops)]

    def apply(self, spec: ResolvedSpec) -> list[str]:
        """Change the lab into another cluster; returns the operations as text.

        Faults stand as long as there is something of their name. PodwireError when the
        kernel refuses; the lab is then brought back to what it was.
        """
        addressing = ipam.allocate(spec, self.addressing.ledger)
        plan = compile_spec(spec, addressing)
        faults = tuple(fault for fault in self.faults if _exists(spec, fault))

        def desired() -> Plan:
            return faulted(self._whole(plan), spec, addressing, faults)

        ops = self._change(desired, lambda: mended(self._current(), desired()))
        self.attachments.forget(plan)
        ops += [f"- fault: {fault}: gone" for fault in self.faults if fault not in faults]
        self.spec, self.plan, self.faults = spec, plan, faults
        self.addressing = self.attachments.addresses(addressing)
        if faults:  # of what was attached just now they have to take hold, too
            ops += self._converge(self._current, self._current())
        self.mininet.stop()
        self.mininet = view(stations(spec), self.cables())
        return ops

    def fail(self, kind: str, target: str) -> list[str]:
        """Lay one more fault over the cluster. SpecError when nothing has that name."""
        new = breakable.fault(self.spec, kind, target)
        return self._set_faults((*(f for f in self.faults if f != new), new))

    def heal(self, kind: str | None, target: str | None) -> list[str]:
        """Take one fault away, or all. SpecError when there is no such fault."""
        if kind is None:
            return self._set_faults(())
        old = breakable.fault(self.spec, kind, target or "")
        if old not in self.faults:
            standing = ", ".join(map(str, self.faults)) or "none stands"
            raise SpecError(Problem(f"heal {old}", "no such fault", f"one of: {standing}"))
        return self._set_faults(tuple(f for f in self.faults if f != old))

    def cni(self, verb: str, place: str) -> list[str]:
        """A verb of CNI for the attachments of a pod, of a node, or all (an empty name).

        What ``add`` and ``del`` change is not in the plan: verify misses what was detached.
        ``forget`` gives up the DEL that an attachment owes; what it consists of stays.
        SpecError where nothing is attached by that name; PodwireError by the binaries.
        """
        there = self.attachments.observe()
        every = [r for e in self.plan if type(r := e.resource) is Attachment]
        if verb == "forget":  # a plan that was given up may have begun it
            every = list({**{a.key: a for a in every}, **there}.values())
        wanted = [a for a in every if place in ("", a.ns, a.pod)]
        if not wanted:
            names = ", ".join(dict.fromkeys(name for a in every for name in (a.ns, a.pod)))
            if every:
                raise SpecError(Problem(f"cni {verb}", repr(place), f"one of {names}"))
            found = f"plugin {self.spec.network.plugin}, no attachments"
            raise SpecError(Problem(f"cni {verb}", found, "a network of plugin cni"))
        if verb not in ("add", "del", "forget"):
            return self.attachments.ask(verb, wanted)
        if verb == "forget":
            owed = [a for a in wanted if a.key in there and not there[a.key].whole]
            if not owed:
                words = "no DEL that failed", "an attachment that owes one"
                raise SpecError(Problem(f"cni forget {place}", *words, f"podwire cni del {place}"))
            self.attachments.attacher.forget(owed)
            return [f"forgotten: {a.pod} {a.interface} on {a.ns}" for a in owed]
        wrong = [a for a in wanted if (a.key in there) == (verb == "add")]
        if wrong and verb == "add":  # a runtime calls ADD once; DEL as often as it likes
            words = "attached already", "one that is not"
            raise SpecError(Problem(f"cni add {wrong[0].pod}", *words, f"podwire cni del {place}"))
        if verb == "add":
            self.attachments.attach(wanted)
        else:
            self.attachments.detach([there.get(a.key, a) for a in wanted])
        self.addressing = self.attachments.addresses(self.addressing)
        return [f"{verb.upper()}: {a.pod} {a.interface} on {a.ns}" for a in wanted]

    def _set_faults(self, faults: tuple[Fault, ...]) -> list[str]:
        before = self._current()
        desired = faulted(self._whole(self.plan), self.spec, self.addressing, faults)
        if len(faults) > len(self.faults) and desired.entries == before.entries:
            words = "nothing that it would change", "something that hangs by a cable of its own"
            raise SpecError(Problem(f"fail {faults[-1]}", *words))
        ops = self._change(lambda: mended(desired, before), lambda: mended(before, desired))
        self.faults = faults
        return ops

    def _whole(self, plan: Plan) -> Plan:
        """A plan with what CNI binaries have left."""
        return self.attachments.over(plan)

    def _current(self) -> Plan:
        return faulted(self._whole(self.plan), self.spec, self.addressing, self.faults)

    def _machine(self, plan: Plan) -> _Machine:
        return _Machine(self.kernel, self.keeper, self.attachments, plan)

    def _change(self, desired: Callable[[], Plan], back: Callable[[], Plan]) -> list[str]:
        """Converge, or go back to what was. PodwireError says which of both it came to.

        Both plans are asked for anew when pods were detached, since that changes what is there.
        """
        before = self._current()
        try:
            return self._converge(desired, before)
        except (PodwireError, OSError) as error:
            try:
                self._converge(back, desired(), whatever_fails=True)
                self.addressing = self.attachments.addresses(self.addressing)
            except (PodwireError, OSError) as again:
                owed = "podwire cni forget gives up a DEL that never succeeds; "
                raise PodwireError(
                    *dict.fromkeys((*_problems(error), *_problems(again))),
                    Problem(
                        "going back to what was",
                        "not all of it could be undone",
                        "the lab as before",
                        "podwire verify says how it stands; podwire apply tries again; "
                        f"{owed if self.attachments.observe() else ''}"
                        "podwire down and up make it new",
                    ),
                ) from error
            strays = self.attachments.strays(self._current())
            kind = Unsupported if isinstance(error, Unsupported) else PodwireError
            raise kind(*_problems(error), *_as_before(strays)) from error

    def _converge(
        self, desired: Callable[[], Plan], owned: Plan, *, whatever_fails: bool = False
    ) -> list[str]:
        """First DEL, while everything stands that the binaries may want to undo; then the rest.

        ``whatever_fails``: a DEL that fails is told in the end and keeps nothing else from being
        done; but its pod is not attached anew before it has succeeded.
        """
        plan = desired()
        gone = self.attachments.unwanted(plan)
        trouble: PodwireError | None = None
        if gone:
            self.keeper.stop([p for p in self.keeper.wanted() if plan.get(p.key) != p])
            try:
                self.attachments.detach(gone)
            except PodwireError as error:
                if not whatever_fails:
                    raise
                trouble = error
            plan = desired()
        ops = converge(self._machine(plan), plan, owned, processes=True)
        if trouble:
            raise trouble
        return [*(f"- {line(a)}" for a in gone), *map(str, ops)]


class _Machine:
    """Kernel, attachments and processes together, on the way to a plan."""

    def __init__(
        self, kernel: Kernel, kept: keeper.Keeper, attached: Attachments, plan: Plan
    ) -> None:
        self._kernel = kernel
        self._keeper = kept
        self._attached = attached
        self._plan = plan

    def observe(self, known: Iterable[Resource]) -> State:
        """What the kernel holds, attachments that are wanted and begun, processes that are kept.

        What binaries have left since the plan was made is not shown: it is not to be changed.
        """
        plan = self._plan
        found = {
            key: r
            for key, r in self._kernel.observe(known).items()
            if plan.get(key) is not None or not self._attached.has_left(key)
        }
        begun = self._attached.observe()
        found.update({k: wanted for k in begun if (wanted := plan.get(k)) is not None})
        found.update({wanted.key: wanted for wanted in self._keeper.wanted()})
        return found

    def apply(self, ops: Sequence[Op]) -> None:
        """Processes end before their namespaces do, and start when all is there."""
        ending = [r for op in ops if type(r := op.resource) is Process and op.action == "delete"]
        self._keeper.stop(ending)
        if any(r.role == "daemon" for r in ending):
            ops = self._still_there(ops)
        self._kernel.apply(ops)
        self._attached.attach(
            [r for op in ops if type(r := op.resource) is Attachment and op.action == "create"]
        )
        self._keeper.tell(
            (r.ns, r.path) for op in ops if type(r := op.resource) is File and op.action == "change"
        )
        for op in ops:
            if type(op.resource) is Process and op.action == "create":
                self._keeper.start(op.resource)

    def _still_there(self, ops: Sequence[Op]) -> list[Op]:
        """Without the removal of what daemons took away themselves, when their neighbours went."""
        found = self._kernel.observe([op.resource for op in ops])
        return [
            op
            for op in ops
            if op.action != "delete" or op.resource.kind != "route" or op.resource.key in found
        ]


def _problems(error: PodwireError | OSError) -> Sequence[Problem | str]:
    return error.problems if isinstance(error, PodwireError) else (str(error),)


def _as_before(strays: Sequence[str]) -> Iterator[Problem | str]:
    """``strays``: what nobody undoes, since nobody knows who made it."""
    yield "the lab is as it was before"
    if strays:
        shown, more = "; ".join(strays[:_SHOWN]), len(strays) - _SHOWN
        yield Problem(
            "left by binaries that failed",
            f"{shown}; and {more} more" if more > 0 else shown,
            "nothing",
            "remove it by hand (podwire exec NODE -- ip link del NAME), or podwire down and up",
        )


def _exists(spec: ResolvedSpec, fault: Fault) -> bool:
    try:
        return breakable.fault(spec, fault.kind, fault.target) == fault
    except SpecError:
        return False
