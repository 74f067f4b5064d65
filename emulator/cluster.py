"""A running cluster for programs: the Python API, and what the command line is made of.

::

    with Cluster.from_file("topologies/flannel-vxlan.yaml") as c:
        print(c.pod("n1-p1").ping("n2-p1").rtt_p50_us)
        assert c.verify().good

A cluster made by ``with`` lives as long as the block, and at most as long as the process.
``up(keep=True)`` leaves it running for other programs, which find it by
:meth:`Cluster.attach`. (Over 300 lines: one interface of many short methods, read whole.)
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, TypeVar

from emulator.compile import compile_spec
from emulator.doctor import require
from emulator.errors import LabGone, PodwireError, Problem, SpecError
from emulator.ipam import Addressing, allocate
from emulator.measure import capture, ping, tool
from emulator.measure.ping import Pings
from emulator.place import Completed
from emulator.plan import Plan
from emulator.settle import daemons, settled
from emulator.spec import load
from emulator.spec.resolved import ResolvedSpec
from emulator.standing import Facts
from emulator.substrate import control, inside, lab, process, runtime, stack
from emulator.substrate.keeper import State
from emulator.substrate.process import Process
from emulator.substrate.runtime import World
from emulator.supervisor import Supervisor
from emulator.topo import read as read_topo
from emulator.verify import Report, restarted, troubles

if TYPE_CHECKING:
    from emulator.substrate.mininet import Cable

Progress = Callable[[str, int, int], None]
"""Hears (what, done, all) while something long goes on."""

T = TypeVar("T")


class Home(ABC):
    """What a place needs of the lab that it is in."""

    _programs: Sequence[Process] = ()

    @property
    @abstractmethod
    def world(self) -> World:
        """The running lab."""

    @abstractmethod
    def address(self, name: str) -> str:
        """The address of a place by its name."""

    def begun(self, program: Process) -> None:
        """Told of every program that is started."""
        self._programs = [*(p for p in self._programs if p.poll() is None), program]

    def end_programs(self) -> None:
        """End what still runs of them, and reap it: a lab ends when all its programs have."""
        for program in self._programs:
            program.kill()
        self._programs = ()


class Place:
    """A pod, node, router, switch or outside host of a running cluster: run programs there."""

    def __init__(self, cluster: Home, name: str, ns: str, ip: str, ips: Sequence[str] = ()) -> None:
        self._cluster = cluster
        self.name = name
        self.ns = ns
        self.ip = ip
        self.ips = tuple(ips) or ((ip,) if ip else ())
        """One of each family, ``ip`` first."""

    def start(
        self,
        argv: Sequence[str],
        *,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a program; it ends with this *thread*. Unsupported when it is not installed."""
        started = process.spawn(self._cluster.world, self.ns, argv, cpus=cpus, env=env)
        self._cluster.begun(started)
        return started

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 60.0,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run a program to its end. PodwireError past the deadline."""
        started = self.start(argv, cpus=cpus, env=env)
        try:
            return started.wait(timeout_s)
        except BaseException:  # Ctrl-C: a program with pipes does not hear it
            started.kill()
            raise

    def interactive(self, argv: Sequence[str], seconds: float | None = None) -> int:
        """Run a program on this terminal, interrupted after ``seconds``; its code as in a shell."""
        return process.run_on_terminal(self._cluster.world, self.ns, argv, seconds=seconds)

    def capture(
        self,
        interface: str,
        file: IO[bytes] | None = None,
        *,
        count: int | None = None,
        seconds: float | None = None,
        words: Sequence[str] = (),
    ) -> int:
        """tcpdump at an interface until ``count`` packets, ``seconds`` or Ctrl-C; its code.

        Into ``file`` as a pcap, or as text on this process's terminal. ``words``: a filter.
        """
        argv = capture.argv(interface, count=count, into="-" if file else "", words=words)
        world = self._cluster.world
        if file is None:
            return process.run_on_terminal(world, self.ns, argv, seconds=seconds, setgroups=False)
        child = process.spawn(world, self.ns, argv, setgroups=False)
        try:
            done = child.stream(file, seconds)
        finally:
            child.kill()
        if done.returncode:
            raise PodwireError(
                Problem(
                    f"{self.name}:{interface}",
                    done.stderr.decode(errors="replace").strip() or f"code {done.returncode}",
                    "tcpdump to capture",
                )
            )
        return 0

    def record(self, interface: str, path: str, words: Sequence[str] = ()) -> Process:
        """Start tcpdump at an interface, into a file of this place's own: a pcap, of frames as the
        kernel copied them when they passed. It ends when it is interrupted."""
        argv = capture.argv(interface, into=path, words=words)
        started = process.spawn(self._cluster.world, self.ns, argv, setgroups=False)
        self._cluster.begun(started)
        return started

    def read_file(self, path: str) -> bytes:
        """A file as this place sees it. PodwireError."""
        return inside.inside(self._cluster.world, lambda: inside.read_file(self.ns, path))

    def write_file(self, path: str, data: bytes) -> None:
        """Write a file of this place's own (/run, /tmp, /var/lib, /var/log …). PodwireError."""
        inside.inside(self._cluster.world, lambda: inside.write_file(self.ns, path, data))

    def listening(self, protocol: str, port: int) -> bool:
        """Whether a ``tcp`` or ``udp`` socket of this namespace listens on the port."""
        return stack.listening(self._proc_net, protocol, port)

    def counters(self, interface: str) -> Mapping[str, int]:
        """Kernel counters of an interface: rx/tx_bytes, _packets, _dropped, _errors."""
        return stack.counters(self._proc_net, interface)

    def snmp(self) -> Mapping[str, int]:
        """Counters of the IP stack: ``Tcp.RetransSegs``, ``Udp.InErrors``, …"""
        return stack.snmp(self._proc_net)

    def _proc_net(self, name: str) -> str:
        return inside.proc_net(self._cluster.world, self.ns, name)

    def ping(self, target: str | Place, count: int = 3, interval_s: float = 0.2) -> Pings:
        """Echo requests to another place (by name) or an address; round trips in microseconds."""
        address = target.ip if isinstance(target, Place) else self._cluster.address(target)
        argv = ping.argv(address, count, interval_s, 56, False)
        done = self.run(argv, timeout_s=count * interval_s + 10.0, env=tool.SURROUNDINGS)
        return ping.parse(done.stdout, done.stderr)


class Cluster(Home):
    """A cluster, before and while it runs."""

    def __init__(self, spec: ResolvedSpec, name: str | None = None) -> None:
        """SpecError, PodwireError: what compiling finds."""
        self._become(spec)
        self.name = name or spec.name
        self.timings: dict[str, float] = {}
        self.warnings: Sequence[Problem] = ()
        self._world: World | None = None
        self._own = False
        self.plan  # noqa: B018 - compiled now, for its errors

    def _become(self, spec: ResolvedSpec) -> None:
        self.spec = spec
        self.addressing: Addressing = allocate(spec)
        self.__dict__.pop("plan", None)

    @cached_property
    def plan(self) -> Plan:
        """The desired state of the kernel, without faults."""
        return compile_spec(self.spec, self.addressing)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        overrides: Mapping[str, object] | None = None,
        name: str | None = None,
    ) -> Cluster:
        """A cluster from a YAML file. SpecError with everything that is wrong in it."""
        return cls(load(path, overrides, read_topo), name)

    @classmethod
    def attach(cls, name: str | None = None) -> Cluster:
        """A cluster that runs already, by name, or the only one. LabGone, SpecError."""
        world = runtime.find(name)
        facts: Facts = control.ask(world, "facts")
        cluster = cls.__new__(cls)
        cluster._become(facts.spec)
        cluster.addressing = facts.addressing
        cluster.name = world.name
        cluster.timings = facts.timings
        cluster.warnings = ()
        cluster._world = world
        cluster._own = False
        return cluster

    # --- life -----------------------------------------------------------------------

    @property
    def world(self) -> World:
        """The running lab. LabGone before ``up`` and after ``down``."""
        if self._world is None:
            raise LabGone(
                Problem(f"cluster {self.name}", "not up", "a running cluster", "call up() first")
            )
        return self._world

    def up(self, *, keep: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
        """Bring it up and wait until it is ready. With ``keep`` it outlives this process.

        Unsupported when this machine cannot carry it; what it will carry with pain is in
        ``warnings``. SpecError when a lab of its name runs.
        """
        if self._world is not None and self._world.alive():
            raise PodwireError(
                Problem(f"cluster {self.name}", "up already", "one that is down", "call down()")
            )
        self.warnings = require(self.spec, daemons(self.plan))
        supervisor = Supervisor(self.spec, self.plan)
        self._world, facts = lab.start(self.name, supervisor.run, keep=keep, progress=progress)
        self.timings = facts["timings"]
        self.addressing = facts["addressing"]
        self._own = not keep

    def down(self) -> None:
        """End it: every process, namespace and mount of it is gone when this returns."""
        self.end_programs()
        lab.end(self.world)
        self._world = None

    def __enter__(self) -> Cluster:
        if self._world is None:
            self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._own and self._world is not None:
            self.down()

    def facts(self) -> Facts:
        """What the lab says of itself: faults, processes, timings."""
        facts: Facts = control.ask(self.world, "facts")
        return facts

    # --- places ---------------------------------------------------------------------

    def pod(self, name: str) -> Place:
        """A pod by its id (``web``, or ``team.web`` outside namespace default)."""
        for pod in self.spec.pods:
            if pod.id == name:
                ns = pod.node if pod.host_network else pod.id
                return Place(self, name, ns, *self._ips(lambda at: at.pod[name]))
        raise self._unknown("pod", name, [pod.id for pod in self.spec.pods])

    def node(self, name: str) -> Place:
        """A node of the cluster."""
        if name not in self.addressing.node:
            raise self._unknown("node", name, list(self.addressing.node))
        return Place(self, name, name, *self._ips(lambda at: at.node[name]))

    def host(self, name: str) -> Place:
        """A host outside the cluster."""
        if name not in self.addressing.host:
            raise self._unknown("host", name, list(self.addressing.host))
        return Place(self, name, name, *self._ips(lambda at: at.host[name]))

    def place(self, name: str) -> Place:
        """Anything of that name: pod, node, outside host, router or switch."""
        pods = [pod.id for pod in self.spec.pods]
        if name in pods:
            return self.pod(name)
        if name in self.addressing.node:
            return self.node(name)
        if name in self.addressing.host:
            return self.host(name)
        for router in self.spec.routers:
            if router.name == name:
                end = (name, router.segments[0])
                return Place(self, name, name, *self._ips(lambda at, end=end: at.router[end]))  # type: ignore[misc]
        switches = [switch.name for s in self.spec.segments for switch in s.tree]
        if name in switches:
            return Place(self, name, name, "")
        routers = [router.name for router in self.spec.routers]
        known = [*pods, *self.addressing.node, *self.addressing.host, *routers, *switches]
        raise self._unknown("place", name, known)

    def address(self, name: str) -> str:
        """The primary address of a place by its name; what looks like an address is one."""
        if ":" in name or (name.count(".") == 3 and name.replace(".", "").isdigit()):
            return name
        return self.place(name).ip

    def _ips(self, of: Callable[[Addressing], str]) -> tuple[str, tuple[str, ...]]:
        """The primary address, and all."""
        found = tuple(of(at) for at in self.addressing.families)
        return found[0], found

    def _unknown(self, what: str, name: str, known: Sequence[str]) -> SpecError:
        from difflib import get_close_matches

        near = get_close_matches(name, known, 1)
        return SpecError(
            Problem(
                f"cluster {self.name}",
                f"{what} {name!r}",
                f"one of {', '.join(known[:12])}{', …' if len(known) > 12 else ''}",
                f"did you mean {near[0]}?" if near else "",
            )
        )

    # --- what can be done with it ---------------------------------------------------

    def verify(
        self, *, probes: bool = True, wait_s: float = 10.0, progress: Progress | None = None
    ) -> Report:
        """Compare kernel with plan and probes with oracle.

        ``wait_s``: how long daemons may take until those that have died run again, and the
        kernel holds what they should write.
        """
        deadline = time.monotonic() + wait_s

        def dead() -> list[State]:
            return [s for s in self.facts().processes if s.daemon and s.state == "waiting"]

        settled(dead, wait_s)
        left_s = max(0.0, deadline - time.monotonic())
        report: Report = control.ask(self.world, "verify", probes, left_s, progress=progress)
        states = self.facts().processes
        notes = (*report.notes, *restarted(states))
        processes = (*report.processes, *troubles(states))
        return report._replace(processes=processes, notes=notes)

    def apply(self, spec: ResolvedSpec) -> list[str]:
        """Turn the running cluster into another; returns what was done, line by line.

        Pods that stay keep their addresses; one that was gone and comes again is a new one. Faults
        stand where there still is something of their name. When it fails, the lab is brought back
        to what it was: PodwireError says so.
        """
        compiled = compile_spec(spec, allocate(spec, self.addressing.ledger))
        self.warnings = require(spec, daemons(compiled))
        try:
            done: list[str] = control.ask(self.world, "apply", spec)
        except PodwireError:
            self.addressing = self.facts().addressing  # pods may have been attached anew
            raise
        self._become(spec)
        self.addressing = self.facts().addressing
        return done

    def preview(self, spec: ResolvedSpec) -> list[str]:
        """What ``apply`` would do, line by line; nothing is done."""
        steps: list[str] = control.ask(self.world, "preview", spec)
        return steps

    def fail(self, kind: str, target: str) -> list[str]:
        """Break ``link n1``, ``interface n1:flannel.1``, ``node n1`` or ``daemon n1:bird``.

        Returns what was done. What daemons make of it takes its time: ``verify`` waits for it.
        """
        done: list[str] = control.ask(self.world, "fail", kind, target)
        return done

    def heal(self, kind: str | None = None, target: str | None = None) -> list[str]:
        """Mend one fault, or all; what was done."""
        done: list[str] = control.ask(self.world, "heal", kind, target)
        return done

    def cni(self, verb: str, place: str = "") -> list[str]:
        """``add``, ``del``, ``check``, ``status``, ``gc`` or ``version`` with the conflist's
        binaries, for a pod, a node, or all; ``forget`` gives up a DEL that never succeeds. What
        was done and answered. PodwireError.
        """
        lines: list[str] = control.ask(self.world, "cni", verb, place)
        self.addressing = self.facts().addressing
        return lines

    def observed(self) -> str:
        """What the kernel holds, as text in the form of a plan."""
        text: str = control.ask(self.world, "observed")
        return text

    def cables(self) -> Sequence[Cable]:
        """Every veth pair between two places, with the addresses of its ends."""
        from emulator.stations import cables

        if self.spec.network.plugin != "cni":
            return cables(self.spec, self.plan)
        made: Sequence[Cable] = control.ask(self.world, "cables")
        return made

    def beside(self, node: str) -> tuple[Place, str]:
        """The switch that a node's uplink ends at, and the interface of its port. PodwireError."""
        for one in self.cables():
            ends = (one.station1, one.interface1), (one.station2, one.interface2)
            for (here, interface), (other, port) in (ends, ends[::-1]):
                if (here, interface) == (node, "eth0"):
                    return self.place(other), port
        raise self._unknown("node with an uplink", node, list(self.addressing.node))

    def inside(self, work: Callable[[Any], T]) -> T:
        """Run ``work(net)`` in the lab on a Mininet view of it; its result comes back pickled.

        It runs in a child of this process that has entered the lab's namespaces.
        """
        spec, wires = self.spec, self.cables()

        def child() -> T:
            from emulator.stations import stations
            from emulator.substrate.mininet import view

            net = view(stations(spec), wires)
            try:
                return work(net)
            finally:
                net.stop()

        return inside.inside(self.world, child, own_pid=True)

    def mininet_cli(self) -> int:
        """Mininet's own command line on this terminal; returns its exit code."""
        wires = self.cables()

        def child() -> None:
            from emulator.stations import stations
            from emulator.substrate.mininet import interactive, view

            interactive(view(stations(self.spec), wires))

        return inside.foreground(self.world, child)


def running() -> list[tuple[World, Facts | PodwireError]]:
    """Every lab of this user with what it says of itself (or why it does not answer)."""
    out: list[tuple[World, Facts | PodwireError]] = []
    for world in runtime.worlds():
        try:
            out.append((world, control.ask(world, "facts", timeout_s=5.0)))
        except PodwireError as error:
            out.append((world, error))
    return out


__all__ = ["Cluster", "Home", "Place", "running"]
