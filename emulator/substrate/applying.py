"""Carrying out operations: what creation has left, messages in the right order, one batch
for each namespace.

(Over 300 lines: one order of work, from making namespaces to writing their files.)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from emulator.plan import Op
from emulator.plan.resources import (
    Addr,
    Bridge,
    Fdb,
    File,
    Interface,
    Neigh,
    Netns,
    NftTable,
    Process,
    Qdisc,
    Resource,
    Route,
    Rule,
    Sysctl,
    Veth,
    Vxlan,
)
from emulator.substrate import encode, ethtool, nft, rtnl
from emulator.substrate.namespaces import Namespaces
from emulator.substrate.netlink import Message, Netlink, Refusal
from emulator.substrate.refusal import guard, refused
from emulator.substrate.stack import IPV6
from emulator.substrate.sysctl import Sysctls

_DEVICES = (Bridge, Veth, Vxlan)


class Applier:
    """Applies operations to the namespaces of one lab."""

    def __init__(self, spaces: Namespaces, sysctls: Sysctls) -> None:
        self.spaces = spaces
        self._index = spaces.index
        self._sysctls = sysctls
        self._born: dict[str, tuple[bool, bool, bool]] = {}

    def apply(self, ops: Sequence[Op], progress: Callable[[int, int], None]) -> None:
        deletes = [op for op in ops if op.action == "delete"]
        makes = [op for op in ops if op.action != "delete"]
        for ns, group in groupby(deletes, key=lambda op: op.resource.ns):
            self._delete(ns, list(group))
        configs = {(r.ns, r.name): r for op in makes if type(r := op.resource) is Interface}
        born: dict[tuple[str, str], str] = {}
        devices: dict[str, list[Op]] = {}
        tunnels: dict[str, list[Op]] = {}
        rest: dict[str, list[Op]] = {}
        for op in makes:
            r = op.resource
            kind = type(r)
            if kind is Netns:
                guard(r, lambda r=r: self.spaces.create(r.ns))  # type: ignore[misc]
            elif kind is Vxlan:
                tunnels.setdefault(r.ns, []).append(op)
            elif kind in _DEVICES:
                devices.setdefault(self._creator(r, configs), []).append(op)
            elif kind is not Process:
                rest.setdefault(r.ns, []).append(op)
        # tunnels last: the parent may be an end that another namespace makes
        for ns, group_ops in (*devices.items(), *tunnels.items()):
            self._create_devices(ns, [op.resource for op in group_ops], configs, born)
        done, total = len(makes) - sum(map(len, rest.values())), len(makes)
        for ns, group_ops in rest.items():
            self._configure(ns, group_ops, born)
            done += len(group_ops)
            progress(done, total)

    @staticmethod
    def _creator(r: Resource, configs: Mapping[tuple[str, str], Interface]) -> str:
        """A pair is made from the end that becomes a bridge port: one message does both."""
        if type(r) is Veth:
            config = configs.get((r.peer_ns, r.peer))
            if config and config.master:
                return r.peer_ns
        return r.ns

    def _create_devices(
        self,
        ns: str,
        resources: list[Resource],
        configs: Mapping[tuple[str, str], Interface],
        born: dict[tuple[str, str], str],
    ) -> None:
        resources.sort(key=lambda r: _DEVICES.index(type(r)))
        batch: list[tuple[Message, Resource]] = []
        relocations: dict[int, str] = {}

        def config(*key: str) -> Interface | None:
            return configs.get((key[0], key[1]))

        for r in resources:
            if type(r) is Bridge:
                batch.append((encode.bridge(r, self._index, config(ns, r.name)), r))
                born[ns, r.name] = "bridge"
            elif type(r) is Vxlan:
                batch.append((encode.vxlan(r, self._index, config(ns, r.name)), r))
                born[ns, r.name] = "vxlan"
            elif type(r) is Veth:
                near, far = (r.ns, r.name), (r.peer_ns, r.peer)
                if near[0] != ns:
                    near, far = far, near
                relocations[len(batch)] = far[0]
                message = encode.veth(near, far, self.spaces.fd(far[0]), self._index, config)
                batch.append((message, r))
                born[near] = "veth port" if self._has_master(configs, near) else "veth"
                born[far] = "veth"
        self._send(ns, batch, relocations)

    @staticmethod
    def _has_master(configs: Mapping[tuple[str, str], Interface], key: tuple[str, str]) -> bool:
        config = configs.get(key)
        return bool(config and config.master)

    def _configure(self, ns: str, ops: list[Op], born: Mapping[tuple[str, str], str]) -> None:
        """Everything in one namespace: offloads, links, addresses, tables, sysctls, nft, files."""
        socket = self.spaces.socket(ns)
        inet: dict[str, dict[int, int]] = {}
        interfaces: list[tuple[Op, Interface]] = []
        sysctls: list[Sysctl] = []
        tables: list[NftTable] = []
        files: list[File] = []
        others: list[tuple[Message, Resource]] = []
        for op in ops:
            r = op.resource
            if type(r) is Interface:
                interfaces.append((op, r))
            elif type(r) is Sysctl:
                number = _inet_setting(r.name)
                if number is None:
                    sysctls.append(r)
                elif not self._born_with(r):
                    inet.setdefault(r.name.split("/")[3], {})[number] = int(r.value)
            elif type(r) is NftTable:
                tables.append(r)
            elif type(r) is File:
                files.append(r)
            else:
                for message in self._messages(op):
                    others.append((message, r))
        batch: list[tuple[Message, Resource]] = []
        for op, want in interfaces:
            have = self._have(op, want, born, socket)
            self._offload(ns, socket, want, have)
            own = inet.pop(want.name, {})
            for message in encode.configure(want, have, self._index, own, IPV6):
                batch.append((message, want))
        for dev, settings in inet.items():
            have = Interface(ns, dev, True, 0)
            for message in encode.configure(have, have, self._index, settings, IPV6):
                batch.append((message, have))
        self._send(ns, batch + others, {})
        for sysctl in sysctls:
            self._write_sysctl(sysctl)
        self._add_tables(ns, tables)
        for file in files:
            guard(file, lambda file=file: self._write_file(file))  # type: ignore[misc]

    def _have(
        self,
        op: Op,
        want: Interface,
        born: Mapping[tuple[str, str], str],
        socket: Netlink,
    ) -> Interface:
        """What the kernel holds now: the observed value, or what creation has left."""
        if type(op.before) is Interface:
            return op.before
        if want.name == "lo":
            return want._replace(up=False)
        birth = born.get((want.ns, want.name), "")
        kind = birth.partition(" ")[0]
        if kind not in self._born:
            try:
                self._born[kind] = ethtool.requested(socket.socket, want.name)
            except OSError as error:
                raise refused(want, error.errno or 0, "offloads") from error
        tso, gso, gro = self._born[kind]
        master = want.master if birth == "veth port" else ""
        return Interface(
            want.ns, want.name, False, want.mtu, want.mac, master, False, tso, gso, gro
        )

    def _offload(self, ns: str, socket: Netlink, want: Interface, have: Interface) -> None:
        """Before the interface is up: a veth that is up would restart its queues."""
        if (want.tso, want.gso, want.gro) == (have.tso, have.gso, have.gro):
            return
        bits = ethtool.feature_bits()
        on = off = 0
        for wanted, had, mask in (
            (want.tso, have.tso, bits.tso),
            (want.gso, have.gso, bits.gso),
            (want.gro, have.gro, bits.gro),
        ):
            if wanted != had:
                on, off = (on | mask, off) if wanted else (on, off | mask)
        try:
            request = ethtool.change(socket.socket, want.name, on, off)
        except OSError as error:
            raise refused(want, error.errno or 0, f"offloads: {error.strerror}") from error
        if self.spaces.trace:
            self.spaces.trace.ethtool(ns, want.name, bytes(request))

    def _messages(self, op: Op) -> Iterable[Message]:
        r, index = op.resource, self._index
        if type(r) is Route:
            return (encode.route(r, index, op.action),)
        if type(r) is Neigh:
            return (encode.neigh(r, index, True),)
        if type(r) is Fdb:
            return (encode.fdb(r, index, True),)
        if type(r) is Addr:
            return (encode.addr(r, index, True),)
        if type(r) is Rule:
            return (encode.rule(r, index, True),)
        return encode.qdisc(r, index, True) if type(r) is Qdisc else ()

    def _delete(self, ns: str, ops: list[Op]) -> None:
        batch: list[tuple[Message, Resource]] = []
        for op in ops:
            r, index = op.resource, self._index
            if type(r) in (Bridge, Veth, Vxlan):
                batch.append((encode.delete_device(ns, r.name, index), r))  # type: ignore[union-attr]
            elif type(r) is Addr:
                batch.append((encode.addr(r, index, False), r))
            elif type(r) is Route:
                batch.append((encode.route(r, index, "delete"), r))
            elif type(r) is Rule:
                batch.append((encode.rule(r, index, False), r))
            elif type(r) is Neigh:
                batch.append((encode.neigh(r, index, False), r))
            elif type(r) is Fdb:
                batch.append((encode.fdb(r, index, False), r))
            elif type(r) is Qdisc:
                batch.extend((m, r) for m in encode.qdisc(r, index, False))
            elif type(r) is NftTable:
                self.spaces.enter(ns)
                guard(r, lambda r=r: nft.run(f"delete table {r.family} {r.name}"))  # type: ignore[misc]
            elif type(r) is File:
                self.spaces.file(r.ns, r.path).unlink(missing_ok=True)
        self._send(ns, batch, {})
        for op in ops:
            r = op.resource
            if type(r) in (Bridge, Vxlan, Veth):
                self.spaces.unlearn(r.ns, r.name)  # type: ignore[union-attr]
            if type(r) is Veth:
                self.spaces.unlearn(r.peer_ns, r.peer)
            if type(r) is Netns:
                self.spaces.forget(ns)
                for _ in range(2):  # a program that still runs there may write meanwhile
                    shutil.rmtree(self.spaces.files / ns, ignore_errors=True)

    def _send(
        self, ns: str, batch: list[tuple[Message, Resource]], relocations: dict[int, str]
    ) -> None:
        if not batch:
            return
        socket = self.spaces.socket(ns)
        messages = [message for message, _ in batch]
        refusals: list[Refusal] = []
        done = 0
        for buffer, first, count in socket.pack(messages):
            if self.spaces.trace:
                self.spaces.trace.netlink(ns, buffer, _places(messages, relocations, done, count))
            refusals += socket.transact(buffer, first, count, done)
            done += count
        if refusals:
            index, number, words = refusals[0]
            raise refused(batch[index][1], number, words)

    def _write_sysctl(self, r: Sysctl) -> None:
        if self._born_with(r):
            return
        guard(r, lambda: self._sysctls.write(r))
        if self.spaces.trace:
            self.spaces.trace.sysctl(r.ns, r.name, r.value)

    def _born_with(self, r: Sysctl) -> bool:
        """Whether the namespace is new and has the value from birth."""
        return r.ns in self.spaces.fresh and self._sysctls.born_with(r)

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
        target.write_text(r.text)


def _places(
    messages: Sequence[Message], relocations: Mapping[int, str], start: int, count: int
) -> list[tuple[int, str]]:
    """(offset in the buffer, namespace) of every descriptor in a packed buffer."""
    out: list[tuple[int, str]] = []
    at = 0
    for index in range(start, start + count):
        message = messages[index]
        if message.fd_at:
            out.append((at + 16 + message.fd_at, relocations[index]))
        at += 16 + len(message.body)
    return out


def _inet_setting(name: str) -> int | None:
    """The number of ``net/ipv4/conf/<interface>/<setting>`` where a link message can set it."""
    parts = name.split("/")
    if len(parts) != 5 or parts[:3] != ["net", "ipv4", "conf"] or parts[3] in ("all", "default"):
        return None
    return rtnl.INET_DEVCONF.get(parts[4])
