"""What CNI binaries have made in a lab: run, read right afterwards, and remembered.

No plan can say what an arbitrary binary does. So whatever is there after a binary has run and
was not there before is taken for its own: *expected* from then on, verified and never written.
What the result of ADD promises is verified by itself, and CHECK asks the binaries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from emulator.conflist.results import Result
from emulator.errors import PodwireError
from emulator.ipam import Addressing
from emulator.plan import Plan, State
from emulator.plan.plan import Entry
from emulator.plan.resources import (
    Addr,
    Attachment,
    Bridge,
    Interface,
    Key,
    Resource,
    Route,
    Veth,
)
from emulator.plan.text import line
from emulator.substrate.attaching import Attacher
from emulator.substrate.kernel import Kernel

_NOT_THEIRS = frozenset(("netns", "sysctl", "file", "process", "attachment"))


class Attachments:
    """The attachments of one lab, and what they consist of."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.attacher = Attacher(kernel.spaces)
        self._left: dict[Key, Resource] = {}
        self._failed: tuple[State, Collection[str]] = {}, ()

    def observe(self) -> Mapping[Key, Attachment]:
        """Every attachment that was begun and not undone."""
        return self.attacher.observe()

    def unwanted(self, plan: Plan) -> list[Attachment]:
        """Those that a plan does not have as they are; DEL is owed for them."""
        return [a for key, a in self.observe().items() if plan.get(key) != a]

    def detach(self, gone: Sequence[Attachment]) -> None:
        """DEL. PodwireError."""
        if gone:
            before = self._look(gone)
            try:
                self.attacher.detach(gone)
            finally:
                pods = {a.pod for a in gone}
                self._left = left(self._left, before, self._look(gone), pods)

    def attach(self, new: Sequence[Attachment]) -> None:
        """ADD. PodwireError: what failed ones have left behind is nobody's, and verify says so."""
        if new:
            before = self._look(new)
            try:
                self.attacher.attach(new)
            except PodwireError:
                self._failed = before, {a.ns for a in new}
                raise
            self._left = left(self._left, before, self._look(new))

    def strays(self, plan: Plan) -> list[str]:
        """What the last binaries that failed have left on nodes, once ``plan`` stands again."""
        (before, places), self._failed = self._failed, ({}, ())
        now = self._kernel.observe((), places) if places else {}
        found = left({}, before, now).values()
        return sorted({_called(r) for r in found if r.key not in plan.entries})

    def _look(self, at: Sequence[Attachment]) -> State:
        return self._kernel.observe((), {ns for a in at for ns in (a.ns, a.pod)})

    def over(self, plan: Plan) -> Plan:
        """A plan, and what binaries have left besides."""
        if not self._left:
            return plan
        whole = Plan()
        for entry in plan:
            whole.keep(entry)
        for resource in self._left.values():
            if not whole.claims(resource) and (resource.ns, "netns", "") in plan.entries:
                whole.keep(Entry(resource, "expected", "left by CNI binaries"))
        return whole

    def has_left(self, key: Key) -> bool:
        """Whether something of this identity is what binaries have left."""
        return key in self._left

    def forget(self, plan: Plan) -> None:
        """What a plan that was applied writes itself is no longer what binaries have left, nor is
        what hung on a cable to a pod that has gone."""
        pods = {r.peer_ns for r in self._left.values() if type(r) is Veth} | {
            r.ns for r in self._left.values()
        }
        gone = {pod for pod in pods if (pod, "netns", "") not in plan.entries}
        cut = _cables(self._left, gone)
        self._left = {
            k: r
            for k, r in self._left.items()
            if not plan.claims(r) and r.ns not in gone and (r.ns, _device(r)) not in cut
        }

    def addresses(self, planned: Addressing) -> Addressing:
        """The addresses that pods have got."""
        found: dict[str, str] = {}
        for a, result in self.attacher.results():
            for address, device in _own(a, result):
                if device and ":" not in address:
                    found.setdefault(a.pod, address.partition("/")[0])
        return planned._replace(pod={**planned.pod, **found}) if found else planned

    def ask(self, verb: str, of: Sequence[Attachment]) -> list[str]:
        """CHECK of each, or VERSION, STATUS, GC once for each node. What was answered, in lines.
        PodwireError with what the binaries complain of."""
        if verb == "check":
            asked, said = self.attacher.check({a.pod for a in of})
            if said:
                raise PodwireError(*said)
            return [f"CHECK: {asked} of {len(of)} attachments asked, nothing wrong"]
        lines: list[str] = []
        for a in {a.ns: a for a in of}.values():
            if verb == "version":
                found, spoken = self.attacher.versions(a)
                lines += [f"{a.ns}: {name} supports {', '.join(v)}" for name, v in found.items()]
                lines.append(f"{a.ns}: network {a.network} speaks {spoken}")
            else:
                done = self.attacher.status(a) if verb == "status" else self.attacher.collect(a)
                words = {"status": "ready for ADD", "gc": "stale things are gone"}[verb]
                absent = f"no {verb.upper()} before version 1.1.0, or the conflist forbids it"
                lines.append(f"{a.ns}: network {a.network}: {words if done else absent}")
        return lines

    def broken(self, observed: State) -> list[str]:
        """What results promise and the kernel does not hold, and what CHECK complains of now and
        did not right after ADD."""
        said = [words for a, r in self.attacher.results() for words in broken(a, r, observed)]
        if not said:
            _, said = self.attacher.check()
            ever = self.attacher.complaints()
            said = [words for words in said if words not in ever]
        return said


def left(
    known: Mapping[Key, Resource], before: State, after: State, freed: Collection[str] = ()
) -> dict[Key, Resource]:
    """What binaries have left, once they have turned ``before`` into ``after``.

    What was gone before they ran stays expected, since somebody else has removed it; but not
    what belonged to pods that are ``freed`` now.
    """
    cables = _cables(known, freed)
    found = {
        k: r
        for k, r in known.items()
        if k in after
        or (k not in before and r.ns not in freed and (r.ns, _device(r)) not in cables)
    }
    for key, r in after.items():
        if r.kind not in _NOT_THEIRS and before.get(key) != r:
            found[key] = r
    return found


def _cables(known: Mapping[Key, Resource], freed: Collection[str]) -> set[tuple[str, str]]:
    """Both ends of every cable that leads to one of these namespaces."""
    return {
        end
        for r in known.values()
        if type(r) is Veth and (r.ns in freed or r.peer_ns in freed)
        for end in ((r.ns, r.name), (r.peer_ns, r.peer))
    }


def _device(r: Resource) -> str:
    """The interface that a resource is or stands on, or empty."""
    return str(getattr(r, "name" if type(r) in (Interface, Veth) else "dev", ""))


def _called(r: Resource) -> str:
    """By its interface where it has one, or else the first line of its text."""
    device = r.name if type(r) is Bridge else _device(r)
    return f"{r.ns} {device}" if device else line(r).partition("\n")[0]


def broken(a: Attachment, result: Result, observed: State) -> Iterator[str]:
    """What a result of ADD promises and the kernel does not hold."""

    def missing(resource: Resource, found: Resource | None) -> str:
        instead = f", found {line(found)}" if found else ""
        return f"{a.ns}: pod {a.pod}: {a.network} promised {line(resource)}{instead}"

    for one in result.interfaces:
        ns = a.pod if one.sandbox else a.ns
        there = observed.get((ns, "interface", one.name))
        if type(there) is not Interface:
            yield f"{a.ns}: pod {a.pod}: {a.network} promised the interface {one.name} in {ns}"
        elif one.mac and there.mac != one.mac:
            yield missing(there._replace(mac=one.mac), there)
        elif one.mtu and there.mtu != one.mtu:
            yield missing(there._replace(mtu=one.mtu), there)
    for address, device in _own(a, result):
        promised = Addr(a.pod, device, address)
        if device and observed.get(promised.key) is None:
            yield missing(promised, None)
    routes = {(r.dst, r.via) for r in observed.values() if type(r) is Route and r.ns == a.pod}
    destinations = {dst for dst, _ in routes}
    for route in result.routes:
        dst = "default" if route.dst == "0.0.0.0/0" else route.dst
        if ":" not in dst and (
            (dst, route.gateway) not in routes if route.gateway else dst not in destinations
        ):
            via = f" via {route.gateway}" if route.gateway else ""
            yield f"{a.ns}: pod {a.pod}: {a.network} promised the route {dst}{via} in {a.pod}"


def _own(a: Attachment, result: Result) -> Iterator[tuple[str, str]]:
    """The addresses of a result with the pod's interface that each is on, or nothing."""
    for ip in result.ips:
        on = result.interfaces[ip.interface] if ip.interface >= 0 else None
        yield ip.address, on.name if on and on.sandbox else ""


__all__ = ["Attachments", "broken", "left"]
