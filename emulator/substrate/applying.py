"""Carrying out operations: namespaces, then devices, then one namespace after the other."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Mapping, Sequence
from socket import if_nametoindex

from emulator.errors import Unsupported
from emulator.plan import Op
from emulator.plan.ovs import KINDS as OVS_KINDS
from emulator.plan.ovs import OvsDatapath, OvsVxlan
from emulator.plan.resources import (
    File,
    Interface,
    Netns,
    NftTable,
    Resource,
    Sysctl,
    Tunnel,
)
from emulator.secrets import Secrets
from emulator.substrate import ethtool, fallback, fou, nft, ovs, tun, wireguard, xfrm
from emulator.substrate.deleting import Deleter
from emulator.substrate.ethtool import Offloads
from emulator.substrate.namespaces import Namespaces
from emulator.substrate.netlink import Batch, Netlink, Refusal
from emulator.substrate.preparing import Birth, End, Prepared, Work, prepare, split
from emulator.substrate.refusal import guard, refused
from emulator.substrate.sysctl import Sysctls

_FD = struct.Struct("=i")


def _wanted(r: Interface) -> Offloads:
    return Offloads(r.tso, r.gso, r.gro, r.tx)


class Applier:
    """Applies operations to the namespaces of one lab."""

    def __init__(self, spaces: Namespaces, sysctls: Sysctls, secrets: Secrets) -> None:
        self.spaces = spaces
        self._index = spaces.index
        self._sysctls = sysctls
        self._secrets = secrets
        self._wireguards = wireguard.Controls(secrets)
        self._deleter = Deleter(spaces, sysctls, self._wireguards)
        self._born: dict[str, Offloads] = {}
        self._protects = False

    def apply(self, ops: Sequence[Op], progress: Callable[[int, int], None]) -> None:
        self._deleter.delete([op.resource for op in ops if op.action == "delete"])
        every = [op for op in ops if op.action != "delete"]
        makes, late = split(every)
        names = [op.resource.ns for op in makes if type(op.resource) is Netns]
        taken = [r for op in makes if type(r := op.resource) is Tunnel and r.fallback]
        with self.spaces.creating(names):
            if names:
                self._sysctls.learn_birth(r for op in makes if type(r := op.resource) is Sysctl)
            if not taken:
                prepared = prepare(makes, self._index, self._sysctls, frozenset(names))
        if taken:  # whose index nobody knows but the kernel
            for tunnel in taken:
                fallback.take(self.spaces, tunnel)
            prepared = prepare(makes, self._index, self._sysctls, frozenset(names))
        done = self._make(prepared, progress, len(every), len(makes))
        if late:
            for op in late:
                self._add_port(op.resource)
            prepared = prepare(late, self._index, self._sysctls, frozenset(names))
            self._make(prepared, progress, len(every), done + len(late))

    def _make(
        self, prepared: Prepared, progress: Callable[[int, int], None], total: int, last: int
    ) -> int:
        """Devices, then one namespace after the other; ``last``: steps done when all of it is."""
        for port in prepared.ports:
            self.spaces.enter(port.ns)
            guard(port, lambda port=port: fou.add(port))  # type: ignore[misc]
        for group_devices in prepared.devices:
            self._send(*group_devices)
        for one in prepared.tuns:
            self.spaces.enter(one.ns)
            guard(one, lambda one=one: tun.create(one.name, self._index(one.ns, one.name)))  # type: ignore[misc]
        done = last - sum(work.steps for work in prepared.works)
        for work in prepared.works:
            self._carry_out(work, prepared.births)
            done += work.steps
            progress(done, total)
        return done

    def _add_port(self, r: Resource) -> None:
        """A datapath or a port of one; the kernel chooses the number of its interface."""
        if not isinstance(r, OVS_KINDS):
            return
        self.spaces.enter(r.ns)
        guard(r, lambda: ovs.create(r))
        if isinstance(r, OvsDatapath | OvsVxlan):
            self.spaces.learn(r.ns, r.name, if_nametoindex(r.name))

    def _carry_out(self, work: Work, births: Mapping[End, Birth]) -> None:
        """Everything in one namespace: offloads, links, addresses, tables, nft, sysctls, files."""
        ns = work.ns
        socket = self.spaces.socket(ns)
        for op, want in work.interfaces:
            # before the interface is up: a veth that is up would restart its queues
            self._offload(socket, want, self._offloads(op, want, births, socket))
        if work.wireguards and self.spaces.trace:
            raise Unsupported("what is said to WireGuard devices is not recorded")
        if work.wireguards:  # before one is up: it would listen on another port
            self._wireguards.configure(work.wireguards)
        self._send(ns, work.asked, work.batches)
        self._protect(ns, work.xfrm)
        self._add_tables(ns, work.tables)
        for sysctl in work.sysctls:  # a rule can load the module that has them
            self._write_sysctl(sysctl)
        for file in work.files:
            guard(file, lambda file=file: self._write_file(file))  # type: ignore[misc]

    def _offloads(
        self, op: Op, want: Interface, births: Mapping[End, Birth], socket: Netlink
    ) -> Offloads:
        """As they are now: observed, or what a device of the kind is born with."""
        if type(op.before) is Interface:
            return _wanted(op.before)
        if want.name == "lo":
            return _wanted(want)
        birth = births.get((want.ns, want.name))
        kind = birth.kind if birth else ""
        if kind not in self._born:
            try:
                self._born[kind] = ethtool.requested(socket.socket, want.name)
            except OSError as error:
                raise refused(want, error.errno or 0, "offloads") from error
        return self._born[kind]

    def _offload(self, socket: Netlink, want: Interface, have: Offloads) -> None:
        wanted = _wanted(want)
        if wanted == have:
            return
        bits = ethtool.feature_bits()
        before, after = bits.mask(have), bits.mask(wanted)
        try:
            request = ethtool.change(socket.socket, want.name, after & ~before, before & ~after)
        except OSError as error:
            raise refused(want, error.errno or 0, f"offloads: {error.strerror}") from error
        if self.spaces.trace:
            self.spaces.trace.ethtool(want.ns, want.name, bytes(request))

    def _send(
        self,
        ns: str,
        asked: Sequence[Resource],
        batches: Sequence[Batch],
        homes: Sequence[Sequence[tuple[int, str]]] = (),
    ) -> None:
        """``asked`` and ``homes`` as for devices that were prepared."""
        if not batches:
            return
        socket = self.spaces.socket(ns)
        refusals: list[Refusal] = []
        for place, batch in enumerate(batches):
            places = homes[place] if homes else ()
            if places:
                buffer = bytearray(batch.buffer)
                for at, home in places:
                    _FD.pack_into(buffer, at, self.spaces.fd(home))
                batch = batch._replace(buffer=bytes(buffer))
            if self.spaces.trace:
                self.spaces.trace.netlink(ns, batch.buffer, list(places))
            refusals += socket.transact(batch)
        if refusals:
            index, number, words = refusals[0]
            raise refused(asked[index], number, words)

    def _protect(self, ns: str, ops: Sequence[Op]) -> None:
        """IPsec's policies and states, which have a socket of their own."""
        if not ops:
            return
        reveal = self._secrets.reveal
        messages = [xfrm.message(op.resource, op.action, reveal) for op in ops]
        try:
            with self.spaces.other_socket(ns, xfrm.PROTOCOL) as socket:
                for _, _, words in () if self._protects else socket.send(xfrm.attempt()):
                    raise OSError(errno.EPROTONOSUPPORT, words or "no ESP with AES-GCM")
                self._protects = True
                refusals = socket.send(messages)
        except OSError as error:
            raise refused(ops[0].resource, error.errno or 0, error.strerror or "") from error
        for index, number, words in refusals[:1]:
            raise refused(ops[index].resource, number, words)

    def _write_sysctl(self, r: Sysctl) -> None:
        guard(r, lambda: self._sysctls.write(r))
        if self.spaces.trace:
            self.spaces.trace.sysctl(r.ns, r.name, r.value)

    def _add_tables(self, ns: str, tables: list[NftTable]) -> None:
        """All in one transaction: a context of the library costs more than what it sends."""
        if not tables:
            return
        texts = []
        for r in tables:
            if ns not in self.spaces.fresh:
                # "add" first makes "delete" legal whether or not the table is there
                words = f"table {r.family} {r.name}\n"
                texts.append(f"add {words}delete {words}")
            texts.append(r.text)
        text = "".join(texts)
        try:
            nft.run(text)
        except OSError as error:
            if len(tables) == 1:
                raise refused(tables[0], error.errno or 0, error.strerror or "") from error
            for r in tables:  # nothing was taken: one by one, the culprit gets a name
                self._add_tables(ns, [r])
            return
        if self.spaces.trace:
            self.spaces.trace.nft(ns, text)

    def _write_file(self, r: File) -> None:
        target = self.spaces.file(r.ns, r.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self._secrets.reveal(r.text))
