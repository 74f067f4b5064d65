"""The exchange of datagrams between namespaces, from one epoll loop.

Sending is in bursts: most datagrams are at their server, or back, when the call that
sent them returns, so after each burst everything that waits is served.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from emulator.measure import datagram
from emulator.measure.datagram import LARGEST, SMALLEST
from emulator.measure.whereabouts import Whereabouts
from emulator.oracle import Probe

_BURST_PACKETS, _BURST_BYTES = 64, 65_536
"""Sent before the servers are read: less than the receive buffer of a single one."""


class State:
    """All that has been learnt of one probe."""

    __slots__ = ("answer", "arrived", "failed", "notes", "passed", "refused", "too_big")

    def __init__(self) -> None:
        self.answer: tuple[str, str, str, int] | None = None  # by, source, own, ttl
        self.passed: set[int] = set()
        self.too_big: dict[int, int] = {}  # size tried -> what would pass
        self.refused = self.failed = self.arrived = ""
        self.notes: dict[str, None] = {}

    def settled(self, size: int) -> bool:
        return bool(size in self.passed or size in self.too_big or self.refused)


class Exchange:
    """The sockets of the batch at hand and the states of all probes."""

    def __init__(
        self,
        probes: Sequence[Probe],
        places: Mapping[str, Whereabouts],
        sizes: Mapping[Probe, int],
        port: int,
    ) -> None:
        self._run = os.urandom(4)
        self._probes = probes
        self._family_of = [datagram.family(p.address) for p in probes]
        self._families = sorted(set(self._family_of))
        self._client_of = [places[p.client].namespace for p in probes]
        self._server_of = [places[p.server].namespace for p in probes]
        self._sizes = [sizes[p] for p in probes]
        self._sent_to: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, probe in enumerate(probes):
            self._sent_to[self._client_of[i], probe.address].append(i)
        self._port = port
        self.states: list[State] = [State() for _ in probes]
        self._names = list(dict.fromkeys(w.namespace for w in places.values()))
        self._number = {name: i for i, name in enumerate(self._names)}
        self._clients: dict[tuple[str, int], socket.socket] = {}
        self._servers: dict[int, tuple[socket.socket, int]] = {}
        self._readers: dict[int, tuple[socket.socket, str]] = {}
        self._unopened: dict[str, str] = {}

    @contextmanager
    def opened(
        self, namespaces: Iterable[str], enter: Callable[[str], None]
    ) -> Iterator[list[str]]:
        """Hold the sockets of these namespaces open; gives those where it worked."""
        self._epoll = select.epoll()
        try:
            for namespace in namespaces:
                self._open(namespace, enter)
            yield list(dict.fromkeys(namespace for namespace, _ in self._clients))
        finally:
            self._close()

    def _open(self, namespace: str, enter: Callable[[str], None]) -> None:
        # That it fails is a fact about the probes of this namespace, not about the run.
        try:
            enter(namespace)
            for family in self._families:
                server = datagram.open_server(family, self._port)
                self._servers[server.fileno()] = (server, self._number[namespace])
                self._epoll.register(server, select.EPOLLIN)
                client = datagram.open_client(family)
                self._clients[namespace, family] = client
                self._readers[client.fileno()] = (client, namespace)
                self._epoll.register(client, select.EPOLLIN)
        except OSError as error:
            self._unopened[namespace] = f"{_name(error)} when opening port {self._port}/udp"

    def _close(self) -> None:
        self._epoll.close()
        for opened in [*self._clients.values(), *(s for s, _ in self._servers.values())]:
            opened.close()
        self._clients, self._servers, self._readers = {}, {}, {}
        self._unopened = {}

    def probe(self, batch: Sequence[int], waits_s: Sequence[float]) -> None:
        """Send these probes, by number, as often as there are waits.

        Four steps: the expected size once; small where that failed; the size again where
        only small passed; one byte more where the size passed.
        """
        alive = []
        for i in batch:
            ends = (self._client_of[i], self._server_of[i])
            missing = next((ns for ns in ends if ns in self._unopened), "")
            if missing:
                self.states[i].failed = f"{missing}: {self._unopened[missing]}"
            else:
                alive.append(i)
        sized = [i for i in alive if self._sizes[i]]
        self._try([(i, self._sizes[i]) for i in sized], waits_s[:1])
        self._try([(i, SMALLEST) for i in alive if not self.states[i].answer], waits_s)
        answered = [i for i in sized if self.states[i].answer]
        self._try([(i, self._sizes[i]) for i in answered], waits_s)
        whole = [i for i in answered if self._sizes[i] in self.states[i].passed]
        over = [(i, self._sizes[i] + 1) for i in whole if self._sizes[i] < LARGEST]
        self._try(over, waits_s)

    def finished(self, i: int) -> bool:
        """Whether more tries could teach nothing new about a probe."""
        state, size = self.states[i], self._sizes[i]
        if state.refused or (state.answer is not None and not size):
            return True
        if size in state.passed:
            return size == LARGEST or state.settled(size + 1)
        return state.answer is not None and size in state.too_big

    def _try(self, wanted: Sequence[tuple[int, int]], waits_s: Sequence[float]) -> None:
        left = list(wanted)
        for wait_s in waits_s:
            left = [(i, size) for i, size in left if not self.states[i].settled(size)]
            if not left:
                return
            packets = size_sum = 0
            for i, size in left:
                self._send(i, size)
                packets, size_sum = packets + 1, size_sum + size
                if packets == _BURST_PACKETS or size_sum >= _BURST_BYTES:
                    self._read(0.0)
                    packets = size_sum = 0
            self._read_until_quiet(left, wait_s)

    def _send(self, i: int, size: int) -> None:
        state, client = self.states[i], self._clients[self._client_of[i], self._family_of[i]]
        data = datagram.request(client, self._run, i, size)
        where = (self._probes[i].address, self._port)
        # With IP_RECVERR the error of an earlier datagram fails the next send once.
        for last in (False, True):
            try:
                client.sendto(data, where)
                state.failed = ""
                return
            except OSError as error:
                code = error.errno
            local = self._hear(client)
            if code == errno.EMSGSIZE and local:
                state.too_big[size] = local
                return
            if not last:
                continue
            # EINVAL is what a blackhole route answers to those who send
            if code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL):
                state.notes[f"{self._client_of[i]} has no route ({errno.errorcode[code]})"] = None
            else:
                state.failed = errno.errorcode.get(code or 0, str(code))

    def _read_until_quiet(self, wanted: Sequence[tuple[int, int]], wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while any(not self.states[i].settled(size) for i, size in wanted):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            if self._read(left_s):
                deadline = time.monotonic() + wait_s

    def _read(self, timeout_s: float) -> bool:
        """Serve what waits, at most ``timeout_s`` for the first of it. Whether there was any."""
        some = False
        while events := self._epoll.poll(timeout_s):
            some, timeout_s = True, 0.0
            for fd, event in events:
                if fd in self._servers:
                    self._serve(*self._servers[fd])
                    continue
                client, namespace = self._readers[fd]
                if event & select.EPOLLERR:
                    self._hear(client)
                if event & select.EPOLLIN:
                    self._learn(client, namespace)
        return some

    def _serve(self, server: socket.socket, number: int) -> None:
        try:
            got = datagram.receive_request(server, self._run)
        except BlockingIOError:
            return
        if got is None:
            return
        state = self.states[got.number]
        state.arrived = f"the request came to {self._names[number]} from {got.source[0]}"
        try:
            datagram.send_answer(server, self._run, got, number)
        except OSError as error:
            state.notes[f"{self._names[number]} cannot answer ({_name(error)})"] = None

    def _learn(self, client: socket.socket, namespace: str) -> None:
        try:
            answer = datagram.receive_answer(client, self._run)
        except BlockingIOError:
            return
        except OSError:
            self._hear(client)
            return
        if answer is None:
            return
        state = self.states[answer.number]
        if self._client_of[answer.number] != namespace:
            state.notes[f"an answer went to {namespace}"] = None
            return
        state.answer = (self._names[answer.by], answer.source, answer.own, answer.ttl)
        state.passed.add(answer.size)

    def _hear(self, client: socket.socket) -> int:
        """Take in what stands on the error queue; the MTU of a local complaint, or 0."""
        local = 0
        for trouble in datagram.troubles(client, self._run):
            if trouble.number < 0 and trouble.to:
                self._too_big(client, trouble.to, trouble.mtu)
                continue
            if trouble.number < 0:
                local = trouble.mtu
                continue
            state = self.states[trouble.number]
            if trouble.what == "too big":
                state.too_big[trouble.size] = trouble.mtu
            elif trouble.what == "refused":
                state.refused = trouble.words
            else:
                state.notes[trouble.words] = None
        return local

    def _too_big(self, client: socket.socket, address: str, mtu: int) -> None:
        """A complaint that quotes eight bytes, as RFC 792 asks for and no more: it is about what
        this client has sent to the address and is longer."""
        _, namespace = self._readers[client.fileno()]
        for i in self._sent_to[namespace, address]:
            for size in (self._sizes[i], self._sizes[i] + 1):
                if size > mtu:
                    self.states[i].too_big[size] = mtu


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))
