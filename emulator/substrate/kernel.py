"""The running kernel behind two verbs: apply operations, observe the same resources.

The one class that holds a lab's namespaces. Interface indices are chosen here, unique in
the whole lab: nothing is looked up while building, and the two ends of a veth pair find
each other when reading. (Over 300 lines: applying and observing share the tables of
namespaces, indices and birth values, and reading them side by side is the point.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

from emulator.errors import KernelRefused, Problem, Unsupported
from emulator.plan import Op
from emulator.plan.resources import (
    Addr,
    Bridge,
    Fdb,
    File,
    Foreign,
    Interface,
    Key,
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
from emulator.plan.text import line
from emulator.substrate import decode, encode, ethtool, libc, nft, rtnl
from emulator.substrate.netlink import Message, Netlink, Refusal, attr, attr_u32
from emulator.substrate.pairs import pairs
from emulator.substrate.sysctl import Sysctls

_DEVICES = (Bridge, Veth, Vxlan)


class Trace(Protocol):
    """Hears every operation that reaches the kernel (the replay experiment records them)."""

    def netns(self, ns: str) -> None: ...
    def enter(self, ns: str) -> None: ...
    def netlink(self, ns: str, buffer: bytes, relocations: list[tuple[int, str]]) -> None: ...
    def ethtool(self, ns: str, dev: str, request: bytes) -> None: ...
    def sysctl(self, ns: str, name: str, value: str) -> None: ...
    def nft(self, ns: str, text: str) -> None: ...


class Kernel:
    """Namespaces of one lab. To be used from one thread of the process that holds them."""

    def __init__(self, names: Path, files: Path, trace: Trace | None = None) -> None:
        """``names``: where namespaces get a name (``/run/netns``); ``files``: where each
        namespace's own files lie."""
        self.names = names
        self.files = files
        self.trace = trace
        self.fds: dict[str, int] = {}
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._index: dict[str, dict[str, int]] = {}
        self._next_index = 2
        self._sockets: dict[str, Netlink] = {}
        self._sysctls = Sysctls()
        self._features: ethtool.FeatureBits | None = None
        self._born: dict[str, tuple[bool, bool, bool]] = {}
        self._fresh: set[str] = set()

    # --- namespaces -----------------------------------------------------------------

    def enter(self, ns: str) -> None:
        """Put the calling thread into a namespace of the lab. KernelRefused when it has none
        of that name."""
        libc.setns(self._fd(ns), libc.CLONE_NEWNET)
        if self.trace:
            self.trace.enter(ns)

    def adopt(self, ns: str, path: Path) -> None:
        """Take in a namespace that somebody else made and holds (``/run/netns/<ns>``)."""
        self.fds[ns] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def leave(self) -> None:
        """Put the calling thread back into the namespace that the lab was made from."""
        libc.setns(self._home, libc.CLONE_NEWNET)

    def after_fork(self) -> None:
        """In a forked child: sockets are not shared with the parent, whose replies they'd steal."""
        self._close_sockets()
        self._sysctls = Sysctls()

    def fresh_procfs_at(self, folder: Path) -> None:
        """Write sysctls through fresh procfs mounts (needs a mount namespace of our own)."""
        self._sysctls.refresh_at(folder)

    def close(self) -> None:
        """Let every namespace go; the kernel removes what nobody else holds."""
        self._close_sockets()
        for ns in list(self.fds):
            self._forget(ns)
        os.close(self._home)

    def index(self, ns: str, name: str) -> int:
        """The index of an interface, chosen at the first question. ``lo`` is always 1."""
        if name == "lo":
            return 1
        own = self._index.setdefault(ns, {})
        found = own.get(name)
        if found is None:
            found = own[name] = self._next_index
            self._next_index += 1
        return found

    def _socket(self, ns: str) -> Netlink:
        """A route socket of a namespace; the thread is in that namespace afterwards."""
        self.enter(ns)
        found = self._sockets.get(ns)
        if found is None:
            if len(self._sockets) >= 256:
                self._close_sockets()
            found = self._sockets[ns] = Netlink()
        return found

    def _close_sockets(self) -> None:
        for found in self._sockets.values():
            found.close()
        self._sockets.clear()

    def _fd(self, ns: str) -> int:
        found = self.fds.get(ns)
        if found is None:
            words = "no such namespace in the lab"
            raise KernelRefused(Problem(f"{ns} netns", f"ENOENT ({words})", "one of the lab's"))
        return found

    def _create_netns(self, ns: str) -> None:
        if ns in self.fds:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), ns)
        libc.unshare(libc.CLONE_NEWNET)
        fd = self.fds[ns] = _high(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        os.symlink(f"/proc/{os.getpid()}/fd/{fd}", f"{self.names}/{ns}")
        self._fresh.add(ns)
        if self.trace:
            self.trace.netns(ns)

    def _forget(self, ns: str) -> None:
        fd = self._fd(ns)
        found = self._sockets.pop(ns, None)
        if found:
            found.close()
        os.close(fd)
        del self.fds[ns]
        name = self.names / ns
        if name.is_symlink():  # not so where the namespace was adopted
            name.unlink()
        self._index.pop(ns, None)

    # --- apply ----------------------------------------------------------------------

    def apply(self, ops: Sequence[Op], progress: Callable[[int, int], None] | None = None) -> None:
        """Carry out operations (without processes, which the supervisor keeps).

        KernelRefused with the resource and the kernel's words; what was done until then
        stays. ``progress`` hears (done, all) now and then.
        """
        self._fresh.clear()
        try:
            self._apply(ops, progress or (lambda done, total: None))
        finally:
            self._close_sockets()
            self.leave()

    def _apply(self, ops: Sequence[Op], progress: Callable[[int, int], None]) -> None:
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
                self._guard(r, lambda r=r: self._create_netns(r.ns))  # type: ignore[misc]
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
                batch.append((encode.bridge(r, self.index, config(ns, r.name)), r))
                born[ns, r.name] = "bridge"
            elif type(r) is Vxlan:
                batch.append((encode.vxlan(r, self.index, config(ns, r.name)), r))
                born[ns, r.name] = "vxlan"
            elif type(r) is Veth:
                near, far = (r.ns, r.name), (r.peer_ns, r.peer)
                if near[0] != ns:
                    near, far = far, near
                relocations[len(batch)] = far[0]
                message = encode.veth(near, far, self._fd(far[0]), self.index, config)
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
        socket = self._socket(ns)
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
            for message in encode.configure(want, have, self.index, inet.pop(want.name, {})):
                batch.append((message, want))
        for dev, settings in inet.items():
            have = Interface(ns, dev, True, 0)
            for message in encode.configure(have, have, self.index, settings):
                batch.append((message, have))
        self._send(ns, batch + others, {})
        for sysctl in sysctls:
            self._write_sysctl(sysctl)
        self._add_tables(ns, tables)
        for file in files:
            self._guard(file, lambda file=file: self._write_file(file))  # type: ignore[misc]

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
            bits = self._feature_bits(socket)
            try:
                self._born[kind] = ethtool.requested(socket.socket, want.name, bits)
            except OSError as error:
                raise _refused(want, error.errno or 0, "offloads") from error
        tso, gso, gro = self._born[kind]
        master = want.master if birth == "veth port" else ""
        return Interface(
            want.ns, want.name, False, want.mtu, want.mac, master, False, tso, gso, gro
        )

    def _feature_bits(self, socket: Netlink) -> ethtool.FeatureBits:
        if self._features is None:
            self._features = ethtool.feature_bits(socket.socket)
        return self._features

    def _offload(self, ns: str, socket: Netlink, want: Interface, have: Interface) -> None:
        """Before the interface is up: a veth that is up would restart its queues."""
        if (want.tso, want.gso, want.gro) == (have.tso, have.gso, have.gro):
            return
        bits = self._feature_bits(socket)
        on = off = 0
        for wanted, had, mask in (
            (want.tso, have.tso, bits.tso),
            (want.gso, have.gso, bits.gso),
            (want.gro, have.gro, bits.gro),
        ):
            if wanted != had:
                on, off = (on | mask, off) if wanted else (on, off | mask)
        try:
            request = ethtool.change(socket.socket, want.name, bits, on, off)
        except OSError as error:
            raise _refused(want, error.errno or 0, f"offloads: {error.strerror}") from error
        if self.trace:
            self.trace.ethtool(ns, want.name, bytes(request))

    def _messages(self, op: Op) -> Iterable[Message]:
        r, index = op.resource, self.index
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
            r, index = op.resource, self.index
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
                self.enter(ns)
                self._guard(r, lambda r=r: nft.run(f"delete table {r.family} {r.name}"))  # type: ignore[misc]
            elif type(r) is File:
                self.file(r.ns, r.path).unlink(missing_ok=True)
        self._send(ns, batch, {})
        for op in ops:
            r = op.resource
            if type(r) in (Bridge, Vxlan, Veth):
                self._index.get(r.ns, {}).pop(r.name, None)  # type: ignore[union-attr]
            if type(r) is Veth:
                self._index.get(r.peer_ns, {}).pop(r.peer, None)
            if type(r) is Netns:
                self._forget(ns)
                if (self.files / ns).exists():
                    shutil.rmtree(self.files / ns)

    def _send(
        self, ns: str, batch: list[tuple[Message, Resource]], relocations: dict[int, str]
    ) -> None:
        if not batch:
            return
        socket = self._socket(ns)
        messages = [message for message, _ in batch]
        refusals: list[Refusal] = []
        done = 0
        for buffer, first, count in socket.pack(messages):
            if self.trace:
                self.trace.netlink(ns, buffer, _places(messages, relocations, done, count))
            refusals += socket.transact(buffer, first, count, done)
            done += count
        if refusals:
            index, number, words = refusals[0]
            raise _refused(batch[index][1], number, words)

    def _write_sysctl(self, r: Sysctl) -> None:
        if self._born_with(r):
            return
        self._guard(r, lambda: self._sysctls.write(r))
        if self.trace:
            self.trace.sysctl(r.ns, r.name, r.value)

    def _born_with(self, r: Sysctl) -> bool:
        """Whether the namespace is new and has the value from birth."""
        return r.ns in self._fresh and self._sysctls.born_with(r)

    def _add_tables(self, ns: str, tables: list[NftTable]) -> None:
        """All in one transaction: a context of the library costs more than what it sends."""
        if not tables:
            return
        texts = []
        for r in tables:
            if ns not in self._fresh:
                # "add" first makes "delete" legal whether or not the table is there
                words = f"table {r.family} {r.name}\n"
                texts.append(f"add {words}delete {words}")
            texts.append(r.text)
        text = "".join(texts)
        try:
            nft.run(text)
        except OSError as error:
            if len(tables) == 1:
                raise _refused(tables[0], error.errno or 0, error.strerror or "") from error
            for r in tables:  # nothing was taken: one by one, the culprit gets a name
                self._add_tables(ns, [r])
            return
        if self.trace:
            self.trace.nft(ns, text)

    def file(self, ns: str, path: str) -> Path:
        """Where a file of a namespace lies for the supervisor."""
        return self.files / ns / path.lstrip("/")

    def _write_file(self, r: File) -> None:
        target = self.file(r.ns, r.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(r.text)

    @staticmethod
    def _guard(r: Resource, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            raise _refused(r, error.errno or 0, error.strerror or str(error)) from error

    # --- observe --------------------------------------------------------------------

    def observe(self, known: Iterable[Resource]) -> dict[Key, Resource]:
        """All state of all namespaces as resources, derived state left out.

        ``known`` says which sysctls and files to read (those of a plan); links, addresses,
        routes, tables and qdiscs are read whole, whoever made them.
        """
        try:
            return {r.key: r for r in self._observe(known)}
        finally:
            self._close_sockets()
            self.leave()

    def _observe(self, known: Iterable[Resource]) -> Iterator[Resource]:
        asked: dict[str, list[Resource]] = {}
        for r in known:
            if type(r) in (Sysctl, File):
                asked.setdefault(r.ns, []).append(r)
        veths: dict[str, list[decode.Link]] = {}
        for ns in self.fds:
            yield Netns(ns)
            socket = self._socket(ns)
            link_body = encode.ifinfo(0) + attr_u32(
                rtnl.IFLA_EXT_MASK, rtnl.RTEXT_FILTER_SKIP_STATS
            )
            links = list(decode.links(socket.dump(rtnl.RTM_GETLINK, link_body)))
            names = {link.number: link.name for link in links}
            for link in links:
                self._index.setdefault(ns, {})[link.name] = link.number
                if link.kind == "veth":
                    veths.setdefault(ns, []).append(link)
                yield from self._observe_link(ns, link, names, socket)
            yield from self._observe_tables(ns, socket, links, names)
            for r in asked.get(ns, ()):
                found = self._observe_asked(r)
                if found is not None:
                    yield found
        highest = max((i for own in self._index.values() for i in own.values()), default=1)
        self._next_index = max(self._next_index, highest + 1)
        yield from pairs(veths, self._numbers)

    def _numbers(self, ns: str, others: Sequence[str]) -> dict[str, int]:
        """The numbers by which ``ns`` knows other namespaces of the lab, those it knows."""
        messages = [encode.namespace_number(self.fds[other]) for other in others]
        answers = self._socket(ns).ask(messages)
        found = zip(others, map(decode.namespace_number, answers), strict=True)
        return {other: number for other, number in found if number >= 0}

    def _observe_link(
        self, ns: str, link: decode.Link, names: Mapping[int, str], socket: Netlink
    ) -> Iterator[Resource]:
        if link.kind == "bridge":
            yield Bridge(ns, link.name)
        elif link.kind == "vxlan":
            yield _vxlan(ns, link, names)
        elif link.kind != "veth" and link.name != "lo":
            yield Foreign(ns, "device", link.name, link.kind or "device")
        tso, gso, gro = ethtool.requested(socket.socket, link.name, self._feature_bits(socket))
        yield Interface(
            ns,
            link.name,
            link.up,
            link.mtu,
            link.mac,
            names.get(link.master, ""),
            link.hairpin,
            tso,
            gso,
            gro,
        )

    @staticmethod
    def _observe_tables(
        ns: str, socket: Netlink, links: list[decode.Link], names: Mapping[int, str]
    ) -> Iterator[Resource]:
        inet = b"\2" + bytes(11)
        yield from decode.addrs(ns, socket.dump(rtnl.RTM_GETADDR, b"\2" + bytes(7)), names)
        yield from decode.neighbours(ns, socket.dump(rtnl.RTM_GETNEIGH, inet), names)
        yield from decode.routes(ns, socket.dump(rtnl.RTM_GETROUTE, inet), names)
        yield from decode.rules(ns, socket.dump(rtnl.RTM_GETRULE, inet))
        vxlans = {link.number: link.name for link in links if link.kind == "vxlan"}
        if vxlans:
            bridge = bytes([rtnl.AF_BRIDGE]) + bytes(11)
            yield from decode.forwarding(ns, socket.dump(rtnl.RTM_GETNEIGH, bridge), vxlans)

        def classes() -> Iterator[tuple[int, bytes]]:
            # a class dump is per interface
            for link in links:
                head = bytes(4) + link.number.to_bytes(4, "little") + bytes(12)
                yield from socket.dump(rtnl.RTM_GETTCLASS, head)

        roots = list(socket.dump(rtnl.RTM_GETQDISC, bytes(20)))
        yield from decode.qdiscs(ns, roots, classes(), names)
        for (family, name), text in nft.tables().items():
            yield NftTable(ns, family, name, text)

    def _observe_asked(self, r: Resource) -> Resource | None:
        if type(r) is Sysctl:
            value = self._sysctls.read(r.name)
            return None if value is None else r._replace(value=value)
        assert type(r) is File
        try:
            return r._replace(text=self.file(r.ns, r.path).read_text())
        except FileNotFoundError:
            return None

    def flush_neighbours(self, ns: str) -> None:
        """Remove the learnt neighbour entries of a namespace (permanent ones stay)."""
        socket = self._socket(ns)
        messages = [
            Message(
                rtnl.RTM_DELNEIGH,
                0,
                decode.NDMSG.pack(2, 0, index, 0, 0, 0) + attr(rtnl.NDA_DST, address),
            )
            for index, address in decode.dynamic_neighbours(
                socket.dump(rtnl.RTM_GETNEIGH, b"\2" + bytes(11))
            )
        ]
        if messages:
            # one may have aged away since the dump: a refusal is as good as a removal
            socket.send(messages)


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


def _high(fd: int) -> int:
    """The same descriptor with a number that leaves the low ones free.

    libnftables waits by select(2), which aborts the process for a socket above 1023.
    """
    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 1024)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return fd  # the limit on open files is lower: then no number is too high
    os.close(fd)
    return high


def _inet_setting(name: str) -> int | None:
    """The number of ``net/ipv4/conf/<interface>/<setting>`` where a link message can set it."""
    parts = name.split("/")
    if len(parts) != 5 or parts[:3] != ["net", "ipv4", "conf"] or parts[3] in ("all", "default"):
        return None
    return rtnl.INET_DEVCONF.get(parts[4])


def _vxlan(ns: str, link: decode.Link, names: Mapping[int, str]) -> Vxlan:
    data = link.data
    local = data.get(rtnl.IFLA_VXLAN_LOCAL, b"")
    return Vxlan(
        ns,
        link.name,
        int.from_bytes(data[rtnl.IFLA_VXLAN_ID][:4], "little"),
        names.get(int.from_bytes(data.get(rtnl.IFLA_VXLAN_LINK, b"")[:4], "little"), ""),
        ".".join(str(byte) for byte in local[:4]),
        int.from_bytes(data[rtnl.IFLA_VXLAN_PORT][:2], "big"),
        data.get(rtnl.IFLA_VXLAN_LEARNING, b"\0")[:1] == b"\1",
    )


_HINTS = {
    errno.EEXIST: "something outside of Podwire made it; remove it or take the lab down",
    errno.ENETUNREACH: "the gateway is not in a connected network of that interface",
    errno.EXFULL: "a bridge takes at most 1023 ports: use more nodes with fewer pods each",
    errno.EMFILE: "raise the limit on open files: ulimit -n",
    errno.ENFILE: "raise fs.file-max",
    errno.ENOSPC: "raise user.max_net_namespaces (sysctl), or take other labs down",
    errno.ENOMEM: "the machine is out of memory for this lab",
    errno.EPERM: "podwire doctor says what this privilege can do",
    errno.ENOBUFS: "the neighbour table may be full: podwire doctor",
}


def _refused(r: Resource, number: int, words: str) -> KernelRefused | Unsupported:
    place = line(r).partition("\n")[0]
    name = errno.errorcode.get(number, str(number))
    found = f"{name} ({words or os.strerror(number)})"
    if number == errno.EOPNOTSUPP and r.kind in ("vxlan", "veth", "bridge"):
        return Unsupported(
            Problem(
                place,
                found,
                f"a kernel with {r.kind} devices",
                f"load it with: sudo modprobe {r.kind}; or use a kernel that has it",
            )
        )
    if number == errno.ENOENT and r.kind == "qdisc":
        return Unsupported(
            Problem(place, found, "a kernel with this qdisc", "sudo modprobe sch_tbf sch_htb")
        )
    return KernelRefused(Problem(place, found, "the kernel to accept it", _HINTS.get(number, "")))
